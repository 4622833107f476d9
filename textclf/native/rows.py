"""The native engine's work on whole rows and tokens: embeddings looked up, words found, states pooled."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from textclf.native.build import Storage
from textclf.native.library import STORED, Job, Lookup, MaskSummary, Pooling, Vocabulary, library_for
from textclf.ragged import RaggedBatch


def look_up(batch: RaggedBatch, table: Tensor, mask: Tensor | None, caps: Tensor | None, *, storage: Storage) -> Tensor:
    """Rows of a frozen table, then the flag of each token, times the row's mask: (n_packed, width)."""
    return look_up_ids(batch.token_ids, table, caps, storage, masked=(batch.row_of_token, mask))


def pool(batch: RaggedBatch, states: Tensor) -> Tensor:
    """Reduce states to features: (n_rows, 6 * hidden_size)."""
    return _Pool.apply(batch, states)  # type: ignore[no-untyped-call]


def summarise_mask(mask: Tensor | None, storage: Storage) -> MaskSummary:
    """Count a mask's zeros and its other value."""
    summary = MaskSummary(n_cells=0, scale=1.0)
    if mask is not None:
        summary.n_cells, summary.mask = mask.numel(), mask.data_ptr()
        library_for(STORED[storage]).run("summarise_mask", summary)
    return summary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordInput:
    """How the tokens of a batch refer to distinct words; ``native/job.h`` says what the fields are."""

    n_words: int
    ids: Tensor
    caps: Tensor
    word_of_token: Tensor
    occurrence_start: Tensor
    occurrences: Tensor
    mask: Tensor | None
    scale: float

    def point(self, job: Job, batch: RaggedBatch) -> None:
        """Tell a job."""
        job.words.n_words = self.n_words
        job.words.word_of_token = self.word_of_token.data_ptr()
        job.words.occurrence_start = self.occurrence_start.data_ptr()
        job.words.occurrences = self.occurrences.data_ptr()
        job.words.row_at = batch.order.data_ptr()
        job.words.lengths = batch.lengths.data_ptr()
        job.words.mask = None if self.mask is None else self.mask.data_ptr()
        job.words.scale = self.scale


def find_words(batch: RaggedBatch, n_ids: int, caps: Tensor | None, mask: Tensor | None, scale: float) -> WordInput:
    """Number the distinct words of a batch; caps tell equal words apart."""
    ids, word_of_token, occurrences = (torch.empty(batch.n_packed, dtype=torch.int64) for _ in range(3))
    occurrence_start = torch.empty(batch.n_packed + 1, dtype=torch.int64)
    caps_of_word = torch.empty(batch.n_packed, dtype=torch.uint8)
    job = Vocabulary(
        n_tokens=batch.n_packed,
        n_ids=n_ids,
        token_ids=batch.token_ids.data_ptr(),
        caps=None if caps is None else caps.data_ptr(),
        word_of_token=word_of_token.data_ptr(),
        id_of_word=ids.data_ptr(),
        caps_of_word=caps_of_word.data_ptr(),
        occurrence_start=occurrence_start.data_ptr(),
        occurrences=occurrences.data_ptr(),
    )
    library_for(torch.float32).run("find_words", job)
    return WordInput(
        n_words=job.n_words,
        ids=ids,
        caps=caps_of_word,
        word_of_token=word_of_token,
        occurrence_start=occurrence_start,
        occurrences=occurrences,
        mask=mask,
        scale=scale,
    )


def look_up_ids(
    ids: Tensor,
    table: Tensor,
    caps: Tensor | None,
    storage: Storage,
    masked: tuple[Tensor, Tensor | None] = (torch.empty(0), None),
) -> Tensor:
    """Rows of a table, then the flags; masked: (row of each token, mask of each row)."""
    row_of_token, mask = masked
    output = torch.empty(len(ids), table.shape[1] + (caps is not None), dtype=STORED[storage])
    job = Lookup(
        n_tokens=len(ids),
        n_channels=table.shape[1],
        n_threads=torch.get_num_threads(),
        caps=None if caps is None else caps.data_ptr(),
        token_ids=ids.data_ptr(),
        row_of_token=row_of_token.data_ptr(),
        table=table.data_ptr(),
        mask=None if mask is None else mask.data_ptr(),
        output=output.data_ptr(),
    )
    library_for(output.dtype).run("look_up", job)
    return output


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
        library_for(states.dtype).run("pool", job)
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
        library_for(ctx.dtype).run("pool_backward", job)
        return None, grad_states
