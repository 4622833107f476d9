"""Rows for the speed benchmark: real texts where the data folder is there, else synthetic ones of like lengths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from textclf.arrays import IntArray
from textclf.build import FoldRequest, build_inputs
from textclf.config import Columns, RecurrentConfig
from textclf.encode import Encoded
from textclf.inputs import Inputs
from textclf.train import WordTable, prepare

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GLOVE = "glove.6B.100d.top100k.txt.gz"
QUORA = Columns(text="question_text", targets=("target",), row_id="qid")
WorkloadName = Literal["quora", "jigsaw", "quora-like", "jigsaw-like"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Encoded rows of a binary task. labels: (n_rows,) int64 of 0/1; max_tokens: what padded loops pad to."""

    name: WorkloadName
    rows: Encoded
    labels: IntArray
    words: WordTable
    max_tokens: int

    def first(self, n_rows: int) -> "Workload":
        """The first rows only."""
        keep = np.arange(min(n_rows, len(self.labels)))
        return Workload(
            name=self.name,
            rows=self.rows.rows(keep),
            labels=self.labels[keep],
            words=self.words,
            max_tokens=self.max_tokens,
        )


def load_workload(name: WorkloadName) -> Workload:
    """Quora questions (median 11 words, at most 70) or Jigsaw comments (at most 200), or rows of like lengths."""
    if name == "quora":
        return _read("quora", QUORA, max_tokens=70)
    if name == "jigsaw":
        return _read("jigsaw", Columns(text="comment_text", targets=("toxic",), row_id="id"), max_tokens=200)
    if name == "quora-like":
        return synthesize(name, n_rows=16_384, median=11, spread=0.565, max_tokens=70)
    return synthesize(name, n_rows=8_192, median=36, spread=1.0, max_tokens=200)


def read_inputs(name: Literal["quora", "jigsaw"], columns: Columns, *, folds: FoldRequest) -> Inputs:
    """A real data set with its GloVe vectors."""
    folder = DATA / name
    inputs, _ = build_inputs(folder / "train.csv", folder / "test.csv", columns, folds=folds, embeddings=[DATA / GLOVE])
    return inputs


def _read(name: Literal["quora", "jigsaw"], columns: Columns, *, max_tokens: int) -> Workload:
    inputs = read_inputs(name, columns, folds=FoldRequest(duplicates="exact"))
    prepared = prepare(inputs, RecurrentConfig(family="bilstm_bigru", max_tokens=max_tokens))
    return Workload(name=name, rows=prepared.train, labels=inputs.labels, words=prepared.shared, max_tokens=max_tokens)


def synthesize(
    name: WorkloadName,
    *,
    n_rows: int,
    median: float,
    spread: float,
    max_tokens: int,
    n_words: int = 50_000,
    dim: int = 300,
    seed: int = 7,
) -> Workload:
    """Rows of log-normal length with Zipf-distributed words; a row's class shows in its words and their order."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.round(np.exp(rng.normal(np.log(median), spread, n_rows))), 1, max_tokens).astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    share = 1 / (np.arange(n_words) + 3.7) ** 1.07
    tokens = (2 + rng.choice(n_words, starts[-1], p=share / share.sum())).astype(np.int32)
    matrix = (0.3 * rng.standard_normal((n_words + 2, dim))).astype(np.float32)
    matrix[0] = 0
    directions = rng.standard_normal((2, dim)) / np.sqrt(dim)
    weight, partner = (matrix @ directions.T / 0.3).T[:, tokens]
    order = weight * np.append(partner[1:], 0)  # what a token makes of the next one
    total = np.add.reduceat(weight + 0.5 * order, starts[:-1]) / np.sqrt(lengths)
    meta = rng.standard_normal((n_rows, 5))
    signal = total + 0.4 * meta[:, 0] + 0.6 * rng.standard_normal(n_rows)
    encoded = Encoded(
        tokens=tokens,
        starts=starts,
        caps=np.zeros(len(tokens), dtype=np.uint8),
        meta=meta,
        numeric=np.zeros((n_rows, 0)),
        categorical=np.zeros((n_rows, 0), dtype=object),
    )
    words = WordTable(matrix=matrix, known=np.ones(n_words + 2, dtype=bool), pretrained=True)
    labels = (signal > np.quantile(signal, 0.8)).astype(np.int64)
    return Workload(name=name, rows=encoded, labels=labels, words=words, max_tokens=max_tokens)
