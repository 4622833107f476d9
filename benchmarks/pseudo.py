"""What pseudo-labels inside the fold give: the same folds and seeds without them and with two shares.

    python -m benchmarks.pseudo --data ../shared/data

Per data set and family the change against no pseudo-labels, mean and standard deviation over seeds: accuracy and minus
the log loss out of fold, and accuracy on the test rows, whose labels no fit sees.
"""

import argparse
import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tables import describe_machine, write_table
from textclf.arrays import FloatArray, IntArray
from textclf.build import FoldRequest, build_inputs
from textclf.config import Columns
from textclf.crossval import cross_validate
from textclf.families import parse_config
from textclf.inputs import Inputs
from textclf.metrics import get_metric

EMBEDDINGS = "glove.6B.100d.top100k.txt.gz"
SHARES = (0.3, 0.6, 1.0)
FAMILIES = ("tfidf_logreg", "dan")
NOTE = """`python -m benchmarks.pseudo --data DATA`: {n_seeds} seeds of labelled rows, folds and training, 3 folds,
GloVe 100d, default settings, batches of 32. Share 0 gives the scores without pseudo-labels; the others give the change
on the same folds and seeds, mean ± standard deviation, in hundredths. Scores are out of fold; `test` is the accuracy of
the averaged fold models on the test rows, whose labels no fit sees and from which the pseudo-labelled rows come."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set; n_labelled: training rows that keep their labels, the others become test rows; None: as given."""

    name: str
    folder: str
    n_labelled: int | None


CASES = (
    Case(name="trec", folder="trec", n_labelled=None),
    Case(name="trec, 1,000 labelled", folder="trec", n_labelled=1000),
    Case(name="sst2, 1,000 labelled", folder="sst2", n_labelled=1000),
)


def make_case(case: Case, *, data: Path, seed: int) -> tuple[Inputs, IntArray]:
    """Inputs of a case, and the true labels of its test rows."""
    train, test = (read_rows(data / case.folder / f"{part}.csv") for part in ("train", "test"))
    if case.n_labelled is not None:
        order = np.random.default_rng(seed).permutation(len(train))
        shuffled = [train[row] for row in order]
        train, test = shuffled[: case.n_labelled], shuffled[case.n_labelled :]
    with tempfile.TemporaryDirectory() as folder:
        inputs, _ = build_inputs(
            write_rows(train, Path(folder) / "train.csv"),
            write_rows(test, Path(folder) / "test.csv"),
            Columns(text="text", targets=("label",)),
            folds=FoldRequest(n_folds=3, seed=seed),
            embeddings=[data / EMBEDDINGS],
        )
    return inputs, np.array([inputs.task.class_names.index(label) for _, label in test])


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Texts with their labels."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def write_rows(rows: Sequence[tuple[str, str]], path: Path) -> Path:
    """Write texts with their labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def scores_of(inputs: Inputs, test_labels: IntArray, *, family: str, share: float, seed: int) -> FloatArray:
    """Out-of-fold accuracy and minus log loss, and accuracy on the test rows."""
    raw = {"family": family, "pseudo_share": share} | ({"batch_size": 32} if family == "dan" else {})
    config = parse_config(raw, source="benchmark")
    run = cross_validate(inputs, config, metric=get_metric("accuracy", inputs.task), seed=seed)
    log_loss = get_metric("log_loss", inputs.task).score(inputs.labels, run.oof)
    return np.array([run.score, log_loss, (run.test_proba.argmax(axis=1) == test_labels).mean()])


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n-seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for case in CASES:
        made = [make_case(case, data=options.data, seed=seed) for seed in range(options.n_seeds)]
        for family in FAMILIES:
            scores = {
                share: np.array(
                    [scores_of(*one, family=family, share=share, seed=seed) for seed, one in enumerate(made)]
                )
                for share in (0.0, *SHARES)
            }
            plain = scores[0.0].mean(axis=0)
            rows.append((case.name, family, "0", *(f"{score:.4f}" for score in plain)))
            for share in SHARES:
                change = 100 * (scores[share] - scores[0.0])
                cells = zip(change.mean(axis=0), change.std(axis=0, ddof=1), strict=True)
                rows.append((case.name, family, f"{share}", *(f"{mean:+.2f} ± {spread:.2f}" for mean, spread in cells)))
            print(*rows[-1 - len(SHARES) :], sep="\n", flush=True)
    write_table(
        "pseudo",
        title="Pseudo-labels inside the fold",
        notes=[NOTE.format(n_seeds=options.n_seeds), describe_machine("torch", "scikit-learn", "numpy")],
        header=("data", "family", "share", "accuracy", "-log loss", "test"),
        rows=rows,
    )


if __name__ == "__main__":
    main()
