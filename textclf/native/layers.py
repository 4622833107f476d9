"""The native engine's functions, differentiable, over the flat sequence of a ragged batch."""

import threading
from typing import Any, Literal

import torch
from torch import Tensor, nn

from textclf.native.build import Storage
from textclf.native.library import STORED, Job, library_for
from textclf.native.rows import WordInput, find_words, look_up_ids, summarise_mask
from textclf.ragged import RaggedBatch

Cell = Literal["lstm", "gru"]

# Up to what sum of distinct words per token and share of dropped channels it pays to project distinct words: measured
WORDS_PAY_BELOW: dict[Storage, float] = {"fp32": 0.65, "bf16": 0.5, "fp64": 0.65}

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU, *, storage: Storage) -> Tensor:
    """Run a bidirectional layer over a ragged batch.

    x: (n_packed, input_size)
    returns: (n_packed, 2 * hidden_size) of the storage type
    """
    return _run(batch, x.to(STORED[storage]), None, layer)


def run_words(
    batch: RaggedBatch,
    table: Tensor,
    mask: Tensor | None,
    caps: Tensor | None,
    layer: nn.LSTM | nn.GRU,
    *,
    storage: Storage,
) -> Tensor | None:
    """Run a layer over ``look_up`` of the same arguments, with each distinct word projected once.

    returns: as ``run_layer``, or None where it would not pay (few repeated words, many dropped channels)
    """
    summary = summarise_mask(mask, storage)
    if summary.n_zero + summary.n_kept < summary.n_cells:
        return None  # no mask of dropout
    dropped = summary.n_zero / max(summary.n_cells, 1)
    if storage == "bf16":
        dropped = 1 - (1 - dropped) ** 2  # channels are taken off in pairs
    if dropped >= WORDS_PAY_BELOW[storage]:
        return None  # however few words there are
    words = find_words(batch, len(table), caps, mask, summary.scale)
    if words.n_words / batch.n_packed + dropped > WORDS_PAY_BELOW[storage]:
        return None
    flags = None if caps is None else words.caps[: words.n_words]
    return _run(batch, look_up_ids(words.ids[: words.n_words], table, flags, storage), words, layer)


def _run(batch: RaggedBatch, x: Tensor, words: WordInput | None, layer: nn.LSTM | nn.GRU) -> Tensor:
    cell: Cell = "lstm" if isinstance(layer, nn.LSTM) else "gru"
    weights = tuple(weight.contiguous() for weight in layer.parameters())
    number = torch.float64 if x.dtype == torch.float64 else torch.float32
    if x.shape[1] != layer.input_size or any(weight.dtype != number for weight in weights):
        raise ValueError(
            f"{layer} with weights of {weights[0].dtype} cannot read an input of {x.dtype} {tuple(x.shape)}"
        )
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)):
        return _Layer.apply(batch, words, cell, x, *weights)  # type: ignore[no-untyped-call]
    call = _Call(batch, words, cell, x, weights)
    call.give_back()
    return call.output()


class _Call:
    """A forward pass that has run, with what its backward pass needs."""

    def __init__(
        self, batch: RaggedBatch, words: WordInput | None, cell: Cell, x: Tensor, weights: tuple[Tensor, ...]
    ) -> None:
        self.library, self.cell, self.kept = library_for(x.dtype), cell, (batch, words)
        n_packed, n_inputs, n_hidden = batch.n_packed, x.shape[1], weights[1].shape[1]
        padded = -(-n_hidden // self.library.lanes) * self.library.lanes
        uneven = x.dtype == torch.bfloat16 and n_inputs % 2  # bfloat16 is read in pairs
        self.x = nn.functional.pad(x, (0, 1)) if uneven else x.contiguous()
        self.states = x.new_empty(n_packed, 2, padded)
        self.gates = _spare.take(n_packed * 8 * padded, x.dtype)
        self.cells = _spare.take(n_packed * 2 * padded, weights[0].dtype)
        self.job = Job(
            n_tokens=n_packed,
            n_steps=batch.longest,
            n_inputs=n_inputs,
            n_hidden=n_hidden,
            n_threads=torch.get_num_threads(),
            alive=batch.alive.data_ptr(),
            step_start=batch.step_start.data_ptr(),
            input=self.x.data_ptr(),
            input_stride=self.x.shape[1],
            gates=self.gates.data_ptr(),
            states=self.states.data_ptr(),
            cells=self.cells.data_ptr(),
        )
        if words:
            words.point(self.job, batch)
        _point_pairs(self.job, "", weights)
        self.library.run(f"{cell}_forward", self.job)

    def output(self) -> Tensor:
        """The states without their padding, (n_packed, 2 * hidden_size)."""
        return self.states[:, :, : self.job.n_hidden].reshape(len(self.states), -1)

    def backward(self, grad: Tensor, grad_x: Tensor | None, grad_weights: tuple[Tensor, ...]) -> None:
        """Fill the gradients; the forward pass's buffers are used up."""
        padding = self.states.shape[2] - self.job.n_hidden
        grad_states = grad.reshape(len(self.states), 2, -1)
        grad_states = (nn.functional.pad(grad_states, (0, padding)) if padding else grad_states).contiguous()
        self.job.grad_states = grad_states.data_ptr()
        self.job.grad_input = None if grad_x is None else grad_x.data_ptr()
        self.job.n_threads = torch.get_num_threads()
        _point_pairs(self.job, "grad_", grad_weights)
        self.library.run(f"{self.cell}_backward", self.job)
        self.give_back()

    def give_back(self) -> None:
        """Offer the big buffers to the next call."""
        _spare.give_back(self.gates, self.cells)
        del self.gates, self.cells


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, batch: RaggedBatch, words: WordInput | None, cell: Cell, x: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.batch, ctx.words, ctx.cell = batch, words, cell
        ctx.call = _Call(batch, words, cell, x, weights)
        ctx.save_for_backward(x, *weights)
        return ctx.call.output()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        # a backward pass uses its call up
        call = ctx.call or _Call(ctx.batch, ctx.words, ctx.cell, x, tuple(weights))
        ctx.call = None
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[3] else None
        grad_weights = tuple(torch.empty_like(weight) for weight in weights)
        call.backward(grad, grad_x, grad_weights)
        return None, None, None, grad_x, *grad_weights


def _point_pairs(job: Job, prefix: str, tensors: Any) -> None:
    """Set the pairs of pointers (forward, reverse) to a layer's weights or their gradients, in torch's order."""
    for at, name in enumerate(_WEIGHTS):
        pair = getattr(job, prefix + name)
        pair[0], pair[1] = tensors[at].data_ptr(), tensors[at + len(_WEIGHTS)].data_ptr()


class _Spare:
    """Big buffers between calls: memory fresh from the system costs a page fault for every 4 kB."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self._lock = threading.Lock()

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """A buffer of at least that size, with anything in it."""
        with self._lock:
            fitting = [i for i, buffer in enumerate(self._free) if buffer.dtype == dtype and buffer.numel() >= size]
            if fitting:
                return self._free.pop(min(fitting, key=lambda i: self._free[i].numel()))
        return torch.empty(size * 5 // 4, dtype=dtype)

    def give_back(self, *buffers: Tensor) -> None:
        """Offer buffers for the next call; a few are kept, the latest."""
        with self._lock:
            self._free.extend(buffers)
            del self._free[:-6]

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._free.clear()


_spare = _Spare()


def release_buffers() -> None:
    """Give the big buffers that are kept between calls back to the system."""
    _spare.clear()
