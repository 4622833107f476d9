"""The native engine's functions, differentiable, over the flat sequence of a ragged batch."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from textclf.native.build import Storage, chosen_isa
from textclf.native.library import Job, Library, Lookup, Pooling, open_library
from textclf.ragged import RaggedBatch

Cell = Literal["lstm", "gru"]

_STORED: dict[Storage, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_STORAGE: dict[torch.dtype, Storage] = {dtype: storage for storage, dtype in _STORED.items()}
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def look_up(batch: RaggedBatch, table: Tensor, mask: Tensor | None, caps: Tensor | None, *, storage: Storage) -> Tensor:
    """Rows of a frozen table, then the flag of each token, times the row's mask: (n_packed, width)."""
    width = table.shape[1] + (caps is not None)
    output = torch.empty(batch.n_packed, width, dtype=_STORED[storage])
    job = Lookup(
        n_tokens=batch.n_packed,
        n_channels=table.shape[1],
        n_threads=torch.get_num_threads(),
        caps=None if caps is None else caps.data_ptr(),
        token_ids=batch.token_ids.data_ptr(),
        row_of_token=batch.row_of_token.data_ptr(),
        table=table.data_ptr(),
        mask=None if mask is None else mask.data_ptr(),
        output=output.data_ptr(),
    )
    _library(output.dtype).run("look_up", job)
    return output


def run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU, *, storage: Storage) -> Tensor:
    """Run a bidirectional layer over a ragged batch.

    x: (n_packed, input_size)
    returns: (n_packed, 2 * hidden_size) of the storage type
    """
    cell: Cell = "lstm" if isinstance(layer, nn.LSTM) else "gru"
    weights = tuple(weight.contiguous() for weight in layer.parameters())
    x = x.to(_STORED[storage])
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)):
        return _Layer.apply(batch, cell, x, *weights)  # type: ignore[no-untyped-call]
    call = _Call(batch, cell, x, weights)
    call.give_back()
    return call.output()


def pool(batch: RaggedBatch, states: Tensor) -> Tensor:
    """Reduce states to features: (n_rows, 6 * hidden_size)."""
    return _Pool.apply(batch, states)  # type: ignore[no-untyped-call]


class _Call:
    """A forward pass that has run, with what its backward pass needs."""

    def __init__(self, batch: RaggedBatch, cell: Cell, x: Tensor, weights: tuple[Tensor, ...]) -> None:
        self.library, self.cell, self.batch = _library(x.dtype), cell, batch
        n_inputs, n_hidden = x.shape[1], weights[1].shape[1]
        padded = -(-n_hidden // self.library.lanes) * self.library.lanes
        even = x.dtype == torch.bfloat16 and n_inputs % 2  # bfloat16 is read in pairs
        self.x = nn.functional.pad(x, (0, 1)) if even else x.contiguous()
        self.states = x.new_empty(len(x), 2, padded)
        self.gates = _spare.take(len(x) * 8 * padded, x.dtype)
        self.cells = _spare.take(len(x) * 2 * padded, weights[0].dtype)
        self.job = Job(
            n_tokens=len(x),
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
        _point_pairs(self.job, "", weights)
        self.library.run(f"{cell}_forward", self.job)

    def output(self) -> Tensor:
        """The states without their padding, (n_packed, 2 * hidden_size)."""
        return self.states[:, :, : self.job.n_hidden].reshape(len(self.x), -1)

    def backward(self, grad: Tensor, grad_x: Tensor | None, grad_weights: tuple[Tensor, ...]) -> None:
        """Fill the gradients; the forward pass's buffers are used up."""
        padding = self.states.shape[2] - self.job.n_hidden
        grad_states = grad.reshape(len(self.x), 2, -1)
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
    def forward(ctx: Any, batch: RaggedBatch, cell: Cell, x: Tensor, *weights: Tensor) -> Tensor:
        ctx.batch, ctx.cell, ctx.call = batch, cell, _Call(batch, cell, x, weights)
        ctx.save_for_backward(x, *weights)
        return ctx.call.output()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        call = ctx.call or _Call(ctx.batch, ctx.cell, x, tuple(weights))  # a backward pass uses its call up
        ctx.call = None
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        grad_weights = tuple(torch.empty_like(weight) for weight in weights)
        call.backward(grad, grad_x, grad_weights)
        return None, None, grad_x, *grad_weights


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, states: Tensor) -> Tensor:
        states = states.contiguous()
        n_rows, width = batch.n_rows, states.shape[1]
        number = torch.float64 if states.dtype == torch.float64 else torch.float32
        features = torch.empty(n_rows, 3 * width, dtype=number)
        highest = torch.empty(n_rows, width, dtype=torch.int32)
        job = Pooling(
            n_rows=n_rows,
            n_hidden=width // 2,
            n_threads=torch.get_num_threads(),
            lengths=batch.lengths.data_ptr(),
            first_token=batch.first_token.data_ptr(),
            step_start=batch.step_start.data_ptr(),
            states=states.data_ptr(),
            features=features.data_ptr(),
            highest=highest.data_ptr(),
        )
        _library(states.dtype).run("pool", job)
        ctx.job, ctx.kept = job, (batch, highest)
        ctx.shape, ctx.dtype = states.shape, states.dtype
        return features

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.contiguous()
        grad_states = torch.empty(ctx.shape, dtype=ctx.dtype)
        job: Pooling = ctx.job
        job.grad_features, job.grad_states = grad.data_ptr(), grad_states.data_ptr()
        job.n_threads = torch.get_num_threads()
        _library(ctx.dtype).run("pool_backward", job)
        return None, grad_states


def _library(dtype: torch.dtype) -> Library:
    return open_library(_STORAGE[dtype], chosen_isa())


def _point_pairs(job: Job, prefix: str, tensors: Any) -> None:
    """Set the pairs of pointers (forward, reverse) to a layer's weights or their gradients, in torch's order."""
    for at, name in enumerate(_WEIGHTS):
        pair = getattr(job, prefix + name)
        pair[0], pair[1] = tensors[at].data_ptr(), tensors[at + len(_WEIGHTS)].data_ptr()


class _Spare:
    """Big buffers between calls: memory fresh from the system costs a page fault for every 4 kB."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """A buffer of at least that size, with anything in it."""
        fitting = [i for i, buffer in enumerate(self._free) if buffer.dtype == dtype and buffer.numel() >= size]
        if not fitting:
            return torch.empty(size * 5 // 4, dtype=dtype)
        return self._free.pop(min(fitting, key=lambda i: self._free[i].numel()))

    def give_back(self, *buffers: Tensor) -> None:
        """Offer buffers for the next call; a few are kept, the latest."""
        self._free.extend(buffers)
        del self._free[:-6]


_spare = _Spare()
