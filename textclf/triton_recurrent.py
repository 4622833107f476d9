# ruff: noqa: ANN001, ANN201, ANN202, PLR0917  kernel arguments are pointers and numbers of Triton's own
# mypy: disable-error-code="untyped-decorator,no-untyped-def"
"""Recurrent layers on a GPU: a whole recurrence in one launch, written in Triton.

Each program owns some rows and one direction, keeps its recurrent weights and its rows' states on the chip, and runs
its own time loop; programs never wait for each other and never add to the same numbers. Used for CUDA tensors where
``TEXTCLF_GPU_RECURRENCE=triton`` asks for it (cuDNN is the default). Checked in Triton's interpreter and compiled for
GPUs from compute capability 8.0 on, but run on none yet.
"""

from typing import Any

import torch
import triton
from torch import Tensor, nn
from triton import language as tl

from textclf.ragged import RaggedBatch

ROWS = 16  # rows of a program: the smallest height of a matrix product on the chip
LEAST_WIDTH = 16
LARGEST_HIDDEN = 64  # weights of more units do not fit the memory of a multiprocessor (99 kB on the smallest)


def run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU) -> Tensor:
    """Run a bidirectional layer over a ragged batch in float32.

    x: (n_packed, input_size)
    returns: (n_packed, 2 * hidden_size)
    """
    weights = tuple(layer.parameters())
    w_ih, w_hh, b_ih, b_hh = (torch.stack(pair) for pair in zip(weights[:4], weights[4:], strict=True))
    bias = b_ih + b_hh if isinstance(layer, nn.LSTM) else b_ih
    shares = torch.baddbmm(bias[:, None], x.expand(2, *x.shape), w_ih.transpose(1, 2))  # (2, n_packed, gates)
    function, more = (_Lstm, ()) if isinstance(layer, nn.LSTM) else (_Gru, (b_hh,))
    states = function.apply(batch, shares, w_hh, *more)  # type: ignore[no-untyped-call]
    return torch.cat((states[0], states[1]), 1)


class _Launch:
    """The sizes of a launch, and where the steps of the batch lie on the device."""

    def __init__(self, batch: RaggedBatch, hidden: int, device: torch.device) -> None:
        firsts = torch.arange(0, batch.n_rows, ROWS)
        steps = (batch.alive[None] > firsts[:, None]).sum(1)  # the longest row of each program
        self.grid = (len(firsts), 2)
        self.layout = tuple(part.to(device, non_blocking=True) for part in (steps, batch.alive, batch.step_start))
        self.sizes = (batch.n_packed, hidden, ROWS, max(LEAST_WIDTH, triton.next_power_of_2(hidden)))
        later = torch.arange(batch.n_rows, batch.n_packed, device=device)
        step = batch.step_of_token[later]
        self.later, self.before = later, later - self.layout[1][step - 1]

    def weight_gradient(self, grads: Tensor, states: Tensor) -> Tensor:
        """Products of gate gradients with the states before them, (2, gates, hidden)."""
        forward = grads[0, self.later].T @ states[0, self.before]
        reverse = grads[1, self.before].T @ states[1, self.later]
        return torch.stack((forward, reverse))


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, shares: Tensor, w_hh: Tensor) -> Tensor:
        launch = _Launch(batch, w_hh.shape[2], shares.device)
        shares, w_hh = shares.contiguous(), w_hh.contiguous()
        gates = torch.empty_like(shares)
        cells, states = (shares.new_empty(*shares.shape[:2], w_hh.shape[2]) for _ in range(2))
        lstm_forward[launch.grid](shares, w_hh, gates, cells, states, *launch.layout, *launch.sizes)
        ctx.launch = launch
        ctx.save_for_backward(gates, cells, states, w_hh)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, cells, states, w_hh = ctx.saved_tensors
        launch: _Launch = ctx.launch
        grads = torch.empty_like(gates)
        lstm_backward[launch.grid](grad.contiguous(), w_hh, gates, cells, grads, *launch.layout, *launch.sizes)
        return None, grads, launch.weight_gradient(grads, states)


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, shares: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        launch = _Launch(batch, w_hh.shape[2], shares.device)
        shares, w_hh, b_hh = shares.contiguous(), w_hh.contiguous(), b_hh.contiguous()
        gates = torch.empty_like(shares)
        memory, states = (shares.new_empty(*shares.shape[:2], w_hh.shape[2]) for _ in range(2))
        gru_forward[launch.grid](shares, w_hh, b_hh, gates, memory, states, *launch.layout, *launch.sizes)
        ctx.launch = launch
        ctx.save_for_backward(gates, memory, states, w_hh)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, memory, states, w_hh = ctx.saved_tensors
        launch: _Launch = ctx.launch
        grads, grad_shares = torch.empty_like(gates), torch.empty_like(gates)
        arguments = (grad.contiguous(), w_hh, gates, memory, states, grads, grad_shares)
        gru_backward[launch.grid](*arguments, *launch.layout, *launch.sizes)
        return None, grads, launch.weight_gradient(grad_shares, states), grad_shares.sum(1)


# In the kernels, a tile is (rows, units). Pointers: shares, gates and their gradients (2, n_tokens, gates * hidden),
# cells, states, memory (2, n_tokens, hidden), weight (2, gates * hidden, hidden). `steps` holds each program's number
# of steps. Rows that are not alive are masked out, so a tile of zeros stands for "no state before".


@triton.jit
def _squash(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def lstm_forward(
    shares,
    weight,
    gates,
    cells,
    states,
    steps,
    alive,
    step_start,
    n_tokens,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Run an LSTM over the rows of a program; gates become i, f, g, o."""
    program, direction = tl.program_id(0), tl.program_id(1)
    rows, units = program * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    turned = weight + direction * 4 * hidden * hidden + units[None, :] * hidden + units[:, None]
    size = hidden * hidden
    w_i = tl.load(turned, mask=square, other=0.0)
    w_f = tl.load(turned + size, mask=square, other=0.0)
    w_g = tl.load(turned + 2 * size, mask=square, other=0.0)
    w_o = tl.load(turned + 3 * size, mask=square, other=0.0)
    state, cell = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    n_steps = tl.load(steps + program)
    for k in range(n_steps):
        step = tl.where(direction == 0, k, n_steps - 1 - k)
        token = direction * n_tokens + tl.load(step_start + step) + rows
        mask = (rows < tl.load(alive + step))[:, None] & (units < hidden)[None, :]
        at = token[:, None] * 4 * hidden + units[None, :]
        i = tl.load(shares + at, mask=mask, other=0.0) + tl.dot(state, w_i, input_precision="ieee")
        f = tl.load(shares + at + hidden, mask=mask, other=0.0) + tl.dot(state, w_f, input_precision="ieee")
        g = tl.load(shares + at + 2 * hidden, mask=mask, other=0.0) + tl.dot(state, w_g, input_precision="ieee")
        o = tl.load(shares + at + 3 * hidden, mask=mask, other=0.0) + tl.dot(state, w_o, input_precision="ieee")
        i, f, g, o = tl.sigmoid(i), tl.sigmoid(f), _squash(g), tl.sigmoid(o)
        cell = tl.where(mask, f * cell + i * g, cell)
        state = tl.where(mask, o * _squash(cell), state)
        tl.store(gates + at, i, mask=mask)
        tl.store(gates + at + hidden, f, mask=mask)
        tl.store(gates + at + 2 * hidden, g, mask=mask)
        tl.store(gates + at + 3 * hidden, o, mask=mask)
        tl.store(cells + token[:, None] * hidden + units[None, :], cell, mask=mask)
        tl.store(states + token[:, None] * hidden + units[None, :], state, mask=mask)


@triton.jit
def lstm_backward(
    grad_states,
    weight,
    gates,
    cells,
    grads,
    steps,
    alive,
    step_start,
    n_tokens,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Undo an LSTM step by step; grads become the gradients of the gates' inputs."""
    program, direction = tl.program_id(0), tl.program_id(1)
    rows, units = program * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    straight = weight + direction * 4 * hidden * hidden + units[:, None] * hidden + units[None, :]
    size = hidden * hidden
    w_i = tl.load(straight, mask=square, other=0.0)
    w_f = tl.load(straight + size, mask=square, other=0.0)
    w_g = tl.load(straight + 2 * size, mask=square, other=0.0)
    w_o = tl.load(straight + 3 * size, mask=square, other=0.0)
    carried, carried_cell = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    n_steps = tl.load(steps + program)
    for k in range(n_steps):
        step = tl.where(direction == 0, n_steps - 1 - k, k)
        before = tl.where(direction == 0, step - 1, step + 1)
        has_before = (before >= 0) & (before < n_steps)
        token = direction * n_tokens + tl.load(step_start + step) + rows
        token_before = direction * n_tokens + tl.load(step_start + before, mask=has_before, other=0) + rows
        mask = (rows < tl.load(alive + step))[:, None] & (units < hidden)[None, :]
        mask_before = mask & (rows < tl.load(alive + before, mask=has_before, other=0))[:, None]
        at = token[:, None] * 4 * hidden + units[None, :]
        here = token[:, None] * hidden + units[None, :]
        i = tl.load(gates + at, mask=mask, other=0.0)
        f = tl.load(gates + at + hidden, mask=mask, other=0.0)
        g = tl.load(gates + at + 2 * hidden, mask=mask, other=0.0)
        o = tl.load(gates + at + 3 * hidden, mask=mask, other=0.0)
        squashed = _squash(tl.load(cells + here, mask=mask, other=0.0))
        cell_before = tl.load(cells + token_before[:, None] * hidden + units[None, :], mask=mask_before, other=0.0)
        grad = tl.load(grad_states + here, mask=mask, other=0.0) + carried
        grad_cell = grad * o * (1 - squashed * squashed) + carried_cell
        grad_i, grad_f = grad_cell * g * i * (1 - i), grad_cell * cell_before * f * (1 - f)
        grad_g, grad_o = grad_cell * i * (1 - g * g), grad * squashed * o * (1 - o)
        tl.store(grads + at, grad_i, mask=mask)
        tl.store(grads + at + hidden, grad_f, mask=mask)
        tl.store(grads + at + 2 * hidden, grad_g, mask=mask)
        tl.store(grads + at + 3 * hidden, grad_o, mask=mask)
        back = tl.dot(grad_i, w_i, input_precision="ieee") + tl.dot(grad_f, w_f, input_precision="ieee")
        back += tl.dot(grad_g, w_g, input_precision="ieee") + tl.dot(grad_o, w_o, input_precision="ieee")
        carried, carried_cell = tl.where(mask, back, carried), tl.where(mask, grad_cell * f, carried_cell)


@triton.jit
def gru_forward(
    shares,
    weight,
    bias,
    gates,
    memory,
    states,
    steps,
    alive,
    step_start,
    n_tokens,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Run a GRU over the rows of a program; gates become r, z, n and memory the state's share of n."""
    program, direction = tl.program_id(0), tl.program_id(1)
    rows, units = program * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    turned = weight + direction * 3 * hidden * hidden + units[None, :] * hidden + units[:, None]
    size = hidden * hidden
    w_r = tl.load(turned, mask=square, other=0.0)
    w_z = tl.load(turned + size, mask=square, other=0.0)
    w_n = tl.load(turned + 2 * size, mask=square, other=0.0)
    biases = bias + direction * 3 * hidden + units
    b_r = tl.load(biases, mask=units < hidden, other=0.0)
    b_z = tl.load(biases + hidden, mask=units < hidden, other=0.0)
    b_n = tl.load(biases + 2 * hidden, mask=units < hidden, other=0.0)
    state = tl.zeros((ROWS, WIDTH), tl.float32)
    n_steps = tl.load(steps + program)
    for k in range(n_steps):
        step = tl.where(direction == 0, k, n_steps - 1 - k)
        token = direction * n_tokens + tl.load(step_start + step) + rows
        mask = (rows < tl.load(alive + step))[:, None] & (units < hidden)[None, :]
        at = token[:, None] * 3 * hidden + units[None, :]
        here = token[:, None] * hidden + units[None, :]
        r = tl.load(shares + at, mask=mask, other=0.0) + tl.dot(state, w_r, input_precision="ieee") + b_r[None, :]
        z = tl.load(shares + at + hidden, mask=mask, other=0.0) + b_z[None, :]
        z += tl.dot(state, w_z, input_precision="ieee")
        m = tl.dot(state, w_n, input_precision="ieee") + b_n[None, :]
        r, z = tl.sigmoid(r), tl.sigmoid(z)
        n = _squash(tl.load(shares + at + 2 * hidden, mask=mask, other=0.0) + r * m)
        state = tl.where(mask, n + z * (state - n), state)
        tl.store(gates + at, r, mask=mask)
        tl.store(gates + at + hidden, z, mask=mask)
        tl.store(gates + at + 2 * hidden, n, mask=mask)
        tl.store(memory + here, m, mask=mask)
        tl.store(states + here, state, mask=mask)


@triton.jit
def gru_backward(
    grad_states,
    weight,
    gates,
    memory,
    states,
    grads,
    grad_shares,
    steps,
    alive,
    step_start,
    n_tokens,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Undo a GRU step by step; grads and grad_shares are of the input's and of the state's share of the gates."""
    program, direction = tl.program_id(0), tl.program_id(1)
    rows, units = program * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    straight = weight + direction * 3 * hidden * hidden + units[:, None] * hidden + units[None, :]
    size = hidden * hidden
    w_r = tl.load(straight, mask=square, other=0.0)
    w_z = tl.load(straight + size, mask=square, other=0.0)
    w_n = tl.load(straight + 2 * size, mask=square, other=0.0)
    carried = tl.zeros((ROWS, WIDTH), tl.float32)
    n_steps = tl.load(steps + program)
    for k in range(n_steps):
        step = tl.where(direction == 0, n_steps - 1 - k, k)
        before = tl.where(direction == 0, step - 1, step + 1)
        has_before = (before >= 0) & (before < n_steps)
        token = direction * n_tokens + tl.load(step_start + step) + rows
        token_before = direction * n_tokens + tl.load(step_start + before, mask=has_before, other=0) + rows
        mask = (rows < tl.load(alive + step))[:, None] & (units < hidden)[None, :]
        mask_before = mask & (rows < tl.load(alive + before, mask=has_before, other=0))[:, None]
        at = token[:, None] * 3 * hidden + units[None, :]
        here = token[:, None] * hidden + units[None, :]
        r = tl.load(gates + at, mask=mask, other=0.0)
        z = tl.load(gates + at + hidden, mask=mask, other=0.0)
        n = tl.load(gates + at + 2 * hidden, mask=mask, other=0.0)
        m = tl.load(memory + here, mask=mask, other=0.0)
        state_before = tl.load(states + token_before[:, None] * hidden + units[None, :], mask=mask_before, other=0.0)
        grad = tl.load(grad_states + here, mask=mask, other=0.0) + carried
        grad_n = grad * (1 - z) * (1 - n * n)
        grad_z = grad * (state_before - n) * z * (1 - z)
        grad_r = grad_n * m * r * (1 - r)
        tl.store(grads + at, grad_r, mask=mask)
        tl.store(grads + at + hidden, grad_z, mask=mask)
        tl.store(grads + at + 2 * hidden, grad_n, mask=mask)
        tl.store(grad_shares + at, grad_r, mask=mask)
        tl.store(grad_shares + at + hidden, grad_z, mask=mask)
        tl.store(grad_shares + at + 2 * hidden, grad_n * r, mask=mask)
        back = grad * z + tl.dot(grad_r, w_r, input_precision="ieee")
        back += tl.dot(grad_z, w_z, input_precision="ieee") + tl.dot(grad_n * r, w_n, input_precision="ieee")
        carried = tl.where(mask, back, carried)
