"""Small inputs that tests make: a toy language in which some words speak for a class."""

import numpy as np

from textclf.arrays import IntArray
from textclf.config import Columns, Task
from textclf.embeddings import make_vectors
from textclf.folds import plan_folds
from textclf.inputs import Inputs
from textclf.table import Table

FILLER = [f"w{number}" for number in range(40)]
MARKERS = [[f"c{label}x{number}" for number in range(6)] for label in range(3)]
TASKS = {
    "binary": Task(kind="binary", class_names=("no", "yes")),
    "multiclass": Task(kind="multiclass", class_names=("a", "b", "c")),
    "multilabel": Task(kind="multilabel", class_names=("x", "y", "z")),
}


def make_table(labels: IntArray, *, seed: int, first_id: int = 0) -> Table:
    """Texts of 1 to 12 words; each holds two or so words of its class (multilabel: of each of its labels)."""
    rng = np.random.default_rng(seed)
    texts = []
    for row in labels:
        own = np.flatnonzero(row) if labels.ndim == 2 else [row]
        words = list(rng.choice(FILLER, rng.integers(1, 10)))
        for label in own:
            words += list(rng.choice(MARKERS[label], 2))
        texts.append(" ".join(rng.permutation(words)))
    n_rows = len(labels)
    return Table(
        row_ids=tuple(f"row{first_id + number}" for number in range(n_rows)),
        texts=tuple(texts),
        numeric=np.zeros((n_rows, 0)),
        categorical=np.zeros((n_rows, 0), dtype=object),
    )


def make_labels(kind: str, n_rows: int, *, seed: int) -> IntArray:
    """Random labels of a kind of task."""
    rng = np.random.default_rng(seed)
    if kind == "multilabel":
        return rng.integers(0, 2, (n_rows, 3))
    return rng.integers(0, TASKS[kind].n_outputs, n_rows)


def make_inputs(
    kind: str = "binary", *, n_rows: int = 120, n_folds: int = 3, n_repeats: int = 1, seed: int = 0
) -> Inputs:
    """Inputs of a toy study with random vectors for its words."""
    labels = make_labels(kind, n_rows, seed=seed)
    words = [*FILLER, *(word for group in MARKERS for word in group)]
    matrix = np.random.default_rng(seed + 1).normal(size=(len(words), 12)).astype(np.float32)
    return Inputs(
        task=TASKS[kind],
        columns=Columns(text="text", targets=TASKS[kind].class_names if kind == "multilabel" else ("label",)),
        train=make_table(labels, seed=seed + 2),
        labels=labels,
        test=make_table(make_labels(kind, 30, seed=seed + 3), seed=seed + 4, first_id=n_rows),
        folds=plan_folds(labels, TASKS[kind], n_folds=n_folds, seed=seed, n_repeats=n_repeats),
        vectors=(make_vectors("toy", words, matrix),),
    )
