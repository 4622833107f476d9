"""Batches of one shape, laid out on the device: what a recorded step can read again and again."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from textclf.arrays import IntArray
from textclf.ragged import RaggedBatch

POSITIONS = 512  # batches are as wide as their largest number of tokens, rounded up to a multiple of this


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedShape:
    """The shape that all batches of a fit share.

    n_rows: rows with a spare one: the last row of every batch, and each row that fills a short batch up, has one
        padding token and no weight, so that nothing divides by zero. The spare row owns the padding's tokens too.
    n_packed: positions for tokens; longest: steps
    """

    n_rows: int
    n_packed: int
    longest: int

    @classmethod
    def of(cls, lengths: IntArray, orders: list[IntArray], batch_size: int) -> "FixedShape":
        """The least shape for some rows in these orders. lengths: (n_all_rows,) tokens of each row."""
        n_rows = min(batch_size, len(lengths))
        begins = np.arange(0, len(lengths), n_rows)
        n_padding = 1 + n_rows - np.minimum(n_rows, len(lengths) - begins)  # rows of one token, in each batch
        most = max(int((np.add.reduceat(lengths[order], begins) + n_padding).max()) for order in orders)
        n_packed = -(-most // POSITIONS) * POSITIONS
        return cls(n_rows=n_rows + 1, n_packed=n_packed, longest=int(lengths.max()))


def fill_up(order: IntArray, shape: FixedShape) -> IntArray:
    """Cut an order of rows into batches: (n_batches, shape.n_rows) int64, -1 for rows of padding."""
    n_real = shape.n_rows - 1
    filled = np.full((-(-len(order) // n_real), shape.n_rows), -1, dtype=np.int64)
    filled[:, :n_real] = np.pad(order, (0, -len(order) % n_real), constant_values=-1).reshape(-1, n_real)
    return filled


def lay_out(tokens: Tensor, caps: Tensor, starts: Tensor, rows: Tensor, *, n_packed: int, longest: int) -> Tensor:
    """Lay batches out as RaggedBatch wants them, all at once and without waiting for the device.

    tokens, caps: (n_tokens,); starts: (n_all_rows + 1,) int64; rows: (n_batches, n_rows) int64, -1 for padding; all on
        one device. Where a batch holds padding, its last row is padding.
    returns: (n_batches, size) int64, a line per batch, which ``take_up`` reads
    """
    real = rows >= 0
    begin = starts[rows.clamp(min=0)]  # (n_batches, n_rows)
    lengths = torch.where(real, starts[rows.clamp(min=0) + 1] - begin, 1)
    order = torch.sort(lengths, dim=1, descending=True, stable=True).indices
    steps = torch.arange(longest, device=rows.device)
    alive = (lengths[:, :, None] > steps).sum(1)  # (n_batches, longest)
    step_start = torch.nn.functional.pad(alive.cumsum(1), (1, 0))
    position = torch.arange(n_packed, device=rows.device).expand(len(rows), -1).contiguous()
    inside = position < step_start[:, -1:]
    step = torch.where(inside, torch.searchsorted(step_start, position, right=True) - 1, 0)
    place = torch.where(inside, position - step_start.gather(1, step), 0)
    row = torch.where(inside, order.gather(1, place), rows.shape[1] - 1)
    first_token = order.argsort(1)  # a row's place
    last_token = step_start.gather(1, lengths - 1) + first_token
    known = inside & real.gather(1, row)
    token = torch.where(known, begin.gather(1, row) + step, 0)
    ids, flags = torch.where(known, tokens[token], 0), torch.where(known, caps[token], 0)
    parts = (rows.clamp(min=0), lengths, order, first_token, last_token, alive, step_start, ids, flags, row, step)
    return torch.cat(parts, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaidOut:
    """One line of ``lay_out``. rows: (n_rows,) int64, which rows they are; 0 for padding."""

    rows: Tensor
    batch: RaggedBatch


def take_up(line: Tensor, *, n_rows: int, n_packed: int, longest: int) -> LaidOut:
    """Name the parts of a line, without a copy."""
    sizes = [*[n_rows] * 5, longest, longest + 1, *[n_packed] * 4]
    rows, lengths, order, first_token, last_token, alive, step_start, ids, flags, row, step = torch.split(line, sizes)
    batch = RaggedBatch(
        lengths=lengths,
        order=order,
        alive=alive,
        step_start=step_start,
        token_ids=ids,
        row_of_token=row,
        step_of_token=step,
        first_token=first_token,
        last_token=last_token,
        caps=flags,
    )
    return LaidOut(rows=rows, batch=batch)


def pack_on_device(tokens: Tensor, caps: Tensor, starts: Tensor, rows: IntArray, lengths: IntArray) -> RaggedBatch:
    """What ``textclf.ragged.pack`` makes, computed by the device. lengths: (n_rows,) int64 of the selected rows."""
    chosen = torch.from_numpy(rows).to(tokens.device, non_blocking=True)[None]
    n_packed, longest = int(lengths.sum()), int(lengths.max())
    lines = lay_out(tokens, caps, starts, chosen, n_packed=n_packed, longest=longest)
    batch = take_up(lines[0], n_rows=len(rows), n_packed=n_packed, longest=longest).batch
    alive = len(rows) - np.bincount(lengths, minlength=longest + 1).cumsum()[:longest]
    return replace(batch, alive=torch.from_numpy(alive))  # cuDNN wants it on the host
