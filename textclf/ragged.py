"""Rows of different length as one flat sequence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from textclf.arrays import IntArray
from textclf.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class RaggedBatch:
    """Rows of different length as one flat sequence, step by step, the longest row first inside each step.

    Token i of the flat sequence is token ``step_of_token[i]`` of row ``row_of_token[i]``; "row" always means the
    position in the caller's order. It is the layout of ``torch.nn.utils.rnn.PackedSequence``.

    lengths: (n_batch,) int64, tokens of each row
    order: (n_batch,) int64, the row at each place of the sorted order (by length, descending, stable)
    alive: (longest,) int64, rows that still have a token at each step; may lie on the host, the rest on the device
    step_start: (longest + 1,) int64, where each step begins in the flat sequence
    token_ids, row_of_token, step_of_token: (n_packed,) int64
    first_token, last_token: (n_batch,) int64, where a row's first and last token lie in the flat sequence
    caps: (n_packed,) uint8, the caller's flag of each token, or None
    """

    lengths: Tensor
    order: Tensor
    alive: Tensor
    step_start: Tensor
    token_ids: Tensor
    row_of_token: Tensor
    step_of_token: Tensor
    first_token: Tensor
    last_token: Tensor
    caps: Tensor | None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def n_packed(self) -> int:
        """Number of tokens of all rows together."""
        return len(self.token_ids)

    @property
    def longest(self) -> int:
        """Number of tokens of the longest row."""
        return len(self.alive)


def pack(
    tokens: Tensor | NDArray[np.int32],
    starts: Tensor | IntArray,
    rows: Tensor | IntArray,
    *,
    caps: Tensor | NDArray[np.uint8] | None = None,
) -> RaggedBatch:
    """Pack the selected rows of a token table in host memory (``textclf.gpu.batches`` does it on a GPU).

    tokens: (n_tokens,) int32, the tokens of all rows one after the other
    starts: (n_rows + 1,) int64 in host memory, row i is tokens[starts[i]:starts[i + 1]]
    rows: (n_batch,) int64 in host memory, the selected rows, in any order
    caps: (n_tokens,) uint8, a flag of each token
    raises: DataError if no row is selected or a selected row has no token
    """
    first, rows = np.asarray(starts), np.asarray(rows)
    if len(rows) == 0:
        raise DataError("a batch needs at least one row; none was selected")
    begin = first[rows]
    lengths = first[rows + 1] - begin
    if lengths.min() < 1:
        raise DataError(f"row {rows[lengths.argmin()]} has no token; give empty texts one unknown token")
    order = np.argsort(-lengths, kind="stable")
    alive = lengths[order] > np.arange(lengths.max())[:, None]  # (longest, n_batch)
    step, place = np.nonzero(alive)
    n_alive = alive.sum(1)
    row = order[place]
    where = begin[row] + step
    place_of_row = np.empty_like(order)
    place_of_row[order] = np.arange(len(order))
    step_start = np.concatenate(([0], np.cumsum(n_alive)))

    def take(flat: Tensor | NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.asarray(flat)[where])

    return RaggedBatch(
        lengths=torch.from_numpy(lengths),
        order=torch.from_numpy(order),
        alive=torch.from_numpy(n_alive),
        step_start=torch.from_numpy(step_start),
        token_ids=take(tokens).long(),
        row_of_token=torch.from_numpy(row),
        step_of_token=torch.from_numpy(step),
        first_token=torch.from_numpy(place_of_row),
        last_token=torch.from_numpy(step_start[lengths - 1] + place_of_row),
        caps=None if caps is None else take(caps),
    )


def unpack(batch: RaggedBatch, h: Tensor) -> tuple[Tensor, Tensor]:
    """Lay the flat sequence out as a padded table, for layers that want one.

    h: (n_packed, dim)
    returns: (n_batch, longest, dim) with zeros after each row's end, and its mask (n_batch, longest) bool
    """
    n_cells = batch.n_rows * batch.longest
    cell = batch.row_of_token * batch.longest + batch.step_of_token
    padded = h.new_zeros(n_cells, h.shape[1]).index_copy(0, cell, h)
    steps = torch.arange(batch.longest, device=h.device)
    return padded.view(batch.n_rows, batch.longest, -1), steps < batch.lengths[:, None]
