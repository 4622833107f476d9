"""The recurrent layers and pools as torch sees them: shapes, buffers and gradients around the kernels."""

from functools import cache
from typing import Any, Literal

import torch
import triton
from torch import Tensor, nn

from textclf.gpu import kernels
from textclf.ragged import RaggedBatch

LARGEST_HIDDEN = 64  # weights of more units do not fit a multiprocessor
N_WARPS = 8  # of a recurrence: so many hold its weights in registers
ROOM_FOR_TERMS = 144 * 1024  # bytes of shared memory that weights in terms of TF32 need
MOST_PARTS = 16  # of a sum over tokens, computed side by side

Precision = Literal["fp32", "bf16"]


def run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU, *, precision: Precision) -> Tensor:
    """Run a bidirectional layer over a ragged batch.

    x: (n_packed, input_size)
    precision: "bf16" multiplies and keeps numbers for the way back in bfloat16; sums and cells are float32
    returns: (n_packed, 2 * hidden_size) float32, or bfloat16; of positions beyond the batch's last token, zeros
    """
    function = _Lstm if isinstance(layer, nn.LSTM) else _Gru
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return function.apply(batch, dtype, torch.is_grad_enabled(), x, *layer.parameters())  # type: ignore[no-untyped-call]


def pool(batch: RaggedBatch, h: Tensor) -> Tensor:
    """As ``textclf.recurrent.pool_states``; where a maximum is met twice its gradient goes to the first."""
    return _Pool.apply(batch, torch.is_grad_enabled(), h)  # type: ignore[no-untyped-call]


class _Layout:
    """Where the rows of a batch lie, on the device, and how many programs share them."""

    def __init__(self, batch: RaggedBatch, hidden: int, device: torch.device, dtype: torch.dtype) -> None:
        self.where = (batch.lengths, batch.order, batch.step_start.to(device, non_blocking=True))
        self.grid = (triton.cdiv(batch.n_rows, kernels.ROWS), 2)
        width = max(kernels.LEAST_WIDTH, triton.next_power_of_2(hidden))
        self.sizes = (batch.n_rows, hidden, kernels.ROWS, width, _product(device, dtype))


@cache
def _product(device: torch.device, dtype: torch.dtype) -> str:
    """How a device multiplies; a GPU that is short of shared memory does float32 without its matrix units."""
    if dtype == torch.bfloat16:
        return "bf16" if device.type == "cuda" else "rounded"
    if device.type != "cuda":
        return "ieee"
    properties = torch.cuda.get_device_properties(device)
    room = properties.shared_memory_per_block_optin  # type: ignore[attr-defined]  # its stub lacks the field
    return "tf32x3" if room >= ROOM_FOR_TERMS else "ieee"


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, dtype: torch.dtype, learns: bool, x: Tensor, *weights: Tensor) -> Tensor:  # noqa: FBT001
        w_ih, w_hh, b_ih, b_hh = _both_directions(weights, dtype)
        hidden, layout = w_hh.shape[2], _Layout(batch, w_hh.shape[2], x.device, dtype)
        x = x.to(dtype)
        shares = torch.addmm((b_ih + b_hh).to(dtype), x, w_ih.T)  # (n_packed, 8 * hidden)
        states = x.new_zeros(len(x), 2 * hidden)
        kept = len(x) if learns else 0
        gates, before = torch.empty_like(shares[:kept]), torch.zeros_like(states[:kept])
        cells = torch.empty_like(before, dtype=torch.float32)
        arguments = (shares, w_hh, gates, cells, states, before, *layout.where, *layout.sizes, learns)
        kernels.lstm_forward[layout.grid](*arguments, num_warps=N_WARPS)
        ctx.layout = layout
        ctx.save_for_backward(x, w_ih, w_hh, gates, cells, before)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, cells, before = ctx.saved_tensors
        layout: _Layout = ctx.layout
        grads = torch.zeros_like(gates)
        arguments = (grad.contiguous(), w_hh, gates, cells, grads, *layout.where, *layout.sizes)
        kernels.lstm_backward[layout.grid](*arguments, num_warps=N_WARPS)
        of_bias = grads.sum(0, dtype=torch.float32)
        of_input, of_state = _sum_products(grads, x), _of_recurrent_weights(grads, before)
        of_x = grads @ w_ih if ctx.needs_input_grad[3] else None
        return None, None, None, of_x, *_by_direction(of_input, of_state, of_bias, of_bias)


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, dtype: torch.dtype, learns: bool, x: Tensor, *weights: Tensor) -> Tensor:  # noqa: FBT001
        w_ih, w_hh, b_ih, b_hh = _both_directions(weights, dtype)
        hidden, layout = w_hh.shape[2], _Layout(batch, w_hh.shape[2], x.device, dtype)
        x = x.to(dtype)
        shares = torch.addmm(b_ih.to(dtype), x, w_ih.T)  # (n_packed, 6 * hidden)
        states = x.new_zeros(len(x), 2 * hidden)
        kept = len(x) if learns else 0
        gates, before = torch.empty_like(shares[:kept]), torch.zeros_like(states[:kept])
        memory = torch.empty_like(before)
        arguments = (shares, w_hh, b_hh, gates, memory, states, before, *layout.where, *layout.sizes, learns)
        kernels.gru_forward[layout.grid](*arguments, num_warps=N_WARPS)
        ctx.layout = layout
        ctx.save_for_backward(x, w_ih, w_hh, gates, memory, before)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, memory, before = ctx.saved_tensors
        layout: _Layout = ctx.layout
        grads, state_grads = torch.zeros_like(gates), torch.zeros_like(gates)
        arguments = (grad.contiguous(), w_hh, gates, memory, before, grads, state_grads, *layout.where, *layout.sizes)
        kernels.gru_backward[layout.grid](*arguments, num_warps=N_WARPS)
        of_input, of_state = _sum_products(grads, x), _of_recurrent_weights(state_grads, before)
        of_biases = (part.sum(0, dtype=torch.float32) for part in (grads, state_grads))
        of_x = grads @ w_ih if ctx.needs_input_grad[3] else None
        return None, None, None, of_x, *_by_direction(of_input, of_state, *of_biases)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, learns: bool, h: Tensor) -> Tensor:  # noqa: FBT001
        hidden, h = h.shape[1] // 2, h.contiguous()
        layout = _Layout(batch, hidden, h.device, h.dtype)
        pooled = torch.empty(batch.n_rows, 6 * hidden, dtype=torch.float32, device=h.device)
        step_of_top = torch.empty(batch.n_rows if learns else 0, 2 * hidden, dtype=torch.int32, device=h.device)
        ctx.sizes = (hidden, kernels.STEPS, triton.next_power_of_2(2 * hidden))
        arguments = (h, pooled, step_of_top, *layout.where, *ctx.sizes, learns)
        kernels.pool_forward[batch.n_rows,](*arguments)
        ctx.layout, ctx.kind = layout, (h.shape, h.dtype)
        ctx.save_for_backward(step_of_top)
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (step_of_top,), layout, (shape, dtype) = ctx.saved_tensors, ctx.layout, ctx.kind
        grad_states = torch.zeros(shape, dtype=dtype, device=grad.device)
        arguments = (grad.contiguous(), step_of_top, grad_states, *layout.where, *ctx.sizes)
        kernels.pool_backward[len(grad),](*arguments)
        return None, None, grad_states


def _both_directions(weights: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(2 * gates, input_size), (2, gates, hidden) of dtype; biases (2 * gates,) float32."""
    w_ih, w_hh, b_ih, b_hh = (torch.cat(pair) for pair in zip(weights[:4], weights[4:], strict=True))
    return w_ih.to(dtype), w_hh.to(dtype).view(2, -1, w_hh.shape[1]), b_ih, b_hh


def _by_direction(*both: Tensor) -> tuple[Tensor, ...]:
    """Gradients in the order of a layer's parameters: all of the forward direction, then all of the reverse."""
    halves = [part.chunk(2) for part in both]
    return tuple(half[direction] for direction in (0, 1) for half in halves)


def _of_recurrent_weights(grads: Tensor, before: Tensor) -> Tensor:
    """(n, 2 * gates), (n, 2 * hidden) -> (2 * gates, hidden)."""
    pairs = zip(grads.chunk(2, 1), before.chunk(2, 1), strict=True)
    return torch.cat([_sum_products(of_gates, of_states) for of_gates, of_states in pairs])


def _sum_products(a: Tensor, b: Tensor) -> Tensor:
    """a.T @ b in float32, (n, k), (n, m) -> (k, m): few rows and columns over many tokens, so cut by tokens."""
    n_parts = next(parts for parts in range(MOST_PARTS, 0, -1) if len(a) % parts == 0)
    a, b = (part.view(n_parts, -1, part.shape[1]) for part in (a.contiguous(), b.contiguous()))
    return torch.bmm(a.transpose(1, 2), b).sum(0, dtype=torch.float32)
