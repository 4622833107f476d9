"""Everything a trial reads, frozen for a study, and kept in a folder without pickle."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from textclf.arrays import IntArray, array_digest, text_digest
from textclf.config import Columns, Task
from textclf.embeddings import WordVectors
from textclf.encode import Encoded, Lexicon, encode
from textclf.folds import FoldPlan
from textclf.table import Table, TrainTable

INPUTS_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What every trial of a study reads.

    labels: as in TrainTable. vectors: only words that the study can meet. holdout: rows that no trial sees.
    folder: where the inputs are kept, if they are; it is no part of the digest.
    """

    task: Task
    columns: Columns
    train: Table
    labels: IntArray
    test: Table
    folds: FoldPlan
    vectors: tuple[WordVectors, ...] = ()
    holdout: TrainTable | None = None
    folder: Path | None = None

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 over task, columns, all rows, labels and vectors, as hex; the folds have their own digest."""
        parts = [json.dumps([asdict(self.task), asdict(self.columns)], sort_keys=True)]
        parts += [_table_digest(self.train), array_digest(self.labels), _table_digest(self.test)]
        parts += [source.digest for source in self.vectors]
        if self.holdout is not None:
            parts += [_table_digest(self.holdout.table), array_digest(self.holdout.labels)]
        return text_digest(*parts)

    def encoded(self, *, cleaning: str, max_tokens: int) -> tuple[Encoded, Encoded, Lexicon]:
        """Training rows, test rows and lexicon under a cleaning recipe, from the folder where they are there."""
        return encode(self.train, self.test, cleaning=cleaning, max_tokens=max_tokens)


def _table_digest(table: Table) -> str:
    cells = [*table.row_ids, *table.texts, *table.categorical.ravel().tolist(), *(table.groups or ())]
    return text_digest(*cells, array_digest(table.numeric), str(table.categorical.shape), str(table.groups is None))
