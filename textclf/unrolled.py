"""Recurrent layers in plain torch operations, for CPUs without the native engine.

Both directions run at once: the reverse one reads each row back to front, so that at every step the same rows are
alive in both. The backward pass is written out; what does not depend on the step is computed for all tokens at once.
Faster than torch's own layers on ragged batches, which record every operation of every step for autograd.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textclf.ragged import RaggedBatch


def run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU, *, low_precision: bool = False) -> Tensor:
    """Run a bidirectional layer over a ragged batch.

    x: (n_packed, input_size); low_precision: project the input in bfloat16
    returns: (n_packed, 2 * hidden_size) of x's dtype
    """
    steps = Steps.of(batch)
    weights = tuple(layer.parameters())
    w_ih, w_hh, b_ih, b_hh = (torch.stack(pair) for pair in zip(weights[:4], weights[4:], strict=True))
    if isinstance(layer, nn.LSTM):
        shares = _project(x, w_ih, b_ih + b_hh, low_precision=low_precision)
        states = _Lstm.apply(steps, _mirrored(steps, shares), w_hh)  # type: ignore[no-untyped-call]
    else:
        shares = _project(x, w_ih, b_ih, low_precision=low_precision)
        states = _Gru.apply(steps, _mirrored(steps, shares), w_hh, b_hh)  # type: ignore[no-untyped-call]
    return torch.cat(tuple(_mirrored(steps, states)), 1)


def pool(batch: RaggedBatch, h: Tensor) -> Tensor:
    """Reduce states to [last forward | last backward | mean | max]: (n_rows, 6 * hidden_size)."""
    hidden = h.shape[1] // 2
    mean, top = _MeanAndTop.apply(batch, h)  # type: ignore[no-untyped-call]
    return torch.cat((h[batch.last_token, :hidden], h[batch.first_token, hidden:], mean, top), 1)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Where the steps of a ragged batch lie.

    slabs: (begin, end) of each step in the flat sequence
    mirror: (n_packed,) int64, for each token the one at the same distance from its row's other end
    before: (n_packed - n_rows,) int64, for each token beyond the first step the one before it in its row
    """

    slabs: tuple[tuple[int, int], ...]
    mirror: Tensor
    before: Tensor

    @classmethod
    def of(cls, batch: RaggedBatch) -> "Steps":
        """Find them."""
        row, step = batch.row_of_token, batch.step_of_token
        later = torch.arange(batch.n_rows, batch.n_packed)
        return cls(
            slabs=tuple(itertools.pairwise(batch.step_start.tolist())),
            mirror=batch.step_start[batch.lengths[row] - 1 - step] + batch.first_token[row],
            before=later - batch.alive[step[later] - 1],
        )


def _project(x: Tensor, weight: Tensor, bias: Tensor, *, low_precision: bool) -> Tensor:
    """(n_packed, dim) -> (2, n_packed, n_gates * hidden)."""
    if low_precision:
        return (x.bfloat16() @ weight.bfloat16().transpose(1, 2)).to(x.dtype) + bias[:, None]
    return torch.baddbmm(bias[:, None], x.expand(2, *x.shape), weight.transpose(1, 2))


def _mirrored(steps: Steps, both: Tensor) -> Tensor:
    """Turn the reverse direction's rows around, (2, n_packed, n)."""
    return torch.stack((both[0], both[1].index_select(0, steps.mirror)))


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Steps, shares: Tensor, w_hh: Tensor) -> Tensor:
        hidden = w_hh.shape[2]
        gates = shares.clone()  # (2, n_packed, 4H), becomes i, f, g, o
        cells, squashed, states = (shares.new_empty(2, shares.shape[1], hidden) for _ in range(3))
        weight = w_hh.transpose(1, 2)
        before = None
        for begin, end in steps.slabs:
            gate = gates[:, begin:end]
            i, f, g, o = gate.chunk(4, 2)
            cell = cells[:, begin:end]
            if before is not None:
                gate.baddbmm_(states[:, before : before + end - begin], weight)
            i.sigmoid_(), f.sigmoid_(), g.tanh_(), o.sigmoid_()
            torch.mul(i, g, out=cell)
            if before is not None:
                cell.addcmul_(f, cells[:, before : before + end - begin])
            torch.tanh(cell, out=squashed[:, begin:end])
            torch.mul(o, squashed[:, begin:end], out=states[:, begin:end])
            before = begin
        ctx.steps = steps
        ctx.save_for_backward(gates, cells, squashed, states, w_hh)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, cells, squashed, states, w_hh = ctx.saved_tensors
        steps: Steps = ctx.steps
        hidden = w_hh.shape[2]
        n_first = steps.slabs[0][1]
        i, f, g, o = gates.chunk(4, 2)
        grads = torch.empty_like(gates)  # first each gate's slope, then its gradient
        slopes = grads.chunk(4, 2)
        torch.mul(g, i * (1 - i), out=slopes[0])
        slopes[1][:, :n_first] = 0
        torch.mul(cells.index_select(1, steps.before), (f * (1 - f))[:, n_first:], out=slopes[1][:, n_first:])
        torch.mul(i, 1 - g * g, out=slopes[2])
        torch.mul(squashed, o * (1 - o), out=slopes[3])
        cell_slope = o * (1 - squashed * squashed)
        grad_states = grad.clone()
        carried = carried_cell = None
        for begin, end in reversed(steps.slabs):
            grad_state = grad_states[:, begin:end]
            if carried is not None:
                grad_state[:, : carried.shape[1]] += carried
            grad_cell = grad_state * cell_slope[:, begin:end]
            if carried_cell is not None:
                grad_cell[:, : carried_cell.shape[1]] += carried_cell
            slab = grads[:, begin:end]
            slab[..., : 3 * hidden].view(2, end - begin, 3, hidden).mul_(grad_cell[:, :, None])
            slab[..., 3 * hidden :].mul_(grad_state)
            carried, carried_cell = torch.bmm(slab, w_hh), grad_cell.mul_(f[:, begin:end])
        grad_w = torch.bmm(grads[:, n_first:].transpose(1, 2), states.index_select(1, steps.before))
        return None, grads, grad_w


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: Steps, shares: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        hidden = w_hh.shape[2]
        gates = shares.clone()  # (2, n_packed, 3H), becomes r, z, n
        recurrent = torch.empty_like(shares)  # the state's share
        states = shares.new_zeros(2, shares.shape[1], hidden)
        weight = w_hh.transpose(1, 2)
        before = None
        for begin, end in steps.slabs:
            gate, share = gates[:, begin:end], recurrent[:, begin:end]
            if before is None:
                previous = states[:, begin:end]
                share.copy_(b_hh[:, None].expand_as(share))
            else:
                previous = states[:, before : before + end - begin]
                torch.baddbmm(b_hh[:, None], previous, weight, out=share)
            n = gate[..., 2 * hidden :]
            rz = gate[..., : 2 * hidden].add_(share[..., : 2 * hidden]).sigmoid_()
            n.addcmul_(rz[..., :hidden], share[..., 2 * hidden :]).tanh_()
            states[:, begin:end] = torch.lerp(n, previous, rz[..., hidden:])
            before = begin
        ctx.steps = steps
        ctx.save_for_backward(gates, recurrent[..., 2 * hidden :], states, w_hh)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, shares, states, w_hh = ctx.saved_tensors
        steps: Steps = ctx.steps
        hidden = w_hh.shape[2]
        n_first = steps.slabs[0][1]
        r, z, n = gates.chunk(3, 2)
        before = states.index_select(1, steps.before)
        change = -n
        change[:, n_first:] += before
        n_slope, z_slope, r_slope = (1 - z) * (1 - n * n), change * z * (1 - z), shares * r * (1 - r)
        grads, grad_shares = torch.empty_like(gates), torch.empty_like(gates)  # of the input's and of the state's share
        grad_states = grad.clone()
        carried = None
        for begin, end in reversed(steps.slabs):
            grad_state = grad_states[:, begin:end]
            if carried is not None:
                grad_state[:, : carried.shape[1]] += carried
            slab, share = grads[:, begin:end], grad_shares[:, begin:end]
            grad_n = torch.mul(grad_state, n_slope[:, begin:end], out=slab[..., 2 * hidden :])
            torch.mul(grad_n, r_slope[:, begin:end], out=share[..., :hidden])
            torch.mul(grad_state, z_slope[:, begin:end], out=share[..., hidden : 2 * hidden])
            torch.mul(grad_n, r[:, begin:end], out=share[..., 2 * hidden :])
            carried = torch.baddbmm(grad_state * z[:, begin:end], share, w_hh)
        grads[..., : 2 * hidden] = grad_shares[..., : 2 * hidden]
        grad_w = torch.bmm(grad_shares[:, n_first:].transpose(1, 2), before)
        return None, grads, grad_w, grad_shares.sum(1)


class _MeanAndTop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: RaggedBatch, h: Tensor) -> tuple[Tensor, Tensor]:
        total, top = h[: batch.n_rows].clone(), h[: batch.n_rows].clone()  # by place in the sorted order
        step_of_top = torch.zeros(top.shape, dtype=torch.int16)
        for step, (begin, end) in enumerate(itertools.pairwise(batch.step_start[1:].tolist()), start=1):
            states, highest = h[begin:end], top[: end - begin]
            total[: end - begin] += states
            step_of_top[: end - begin].masked_fill_(states > highest, step)
            torch.maximum(highest, states, out=highest)
        ctx.batch = batch
        ctx.save_for_backward(step_of_top)
        return total[batch.first_token] / batch.lengths[:, None], top[batch.first_token]

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_top: Tensor) -> tuple[Tensor | None, ...]:
        (step_of_top,) = ctx.saved_tensors
        batch: RaggedBatch = ctx.batch
        row = batch.row_of_token
        is_top = step_of_top[batch.first_token[row]] == batch.step_of_token[:, None]
        grad = (grad_mean / batch.lengths[:, None])[row]
        return None, grad.addcmul_(grad_top[row], is_top.to(grad.dtype))
