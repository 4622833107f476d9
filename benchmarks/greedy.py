"""Greedy selection beside other libraries': same OOF matrices, same metric, same 25 rounds; score and time.

    python -m benchmarks.greedy [--peers /path/to/python] [--study DIR ...]

The matrices are pools of linear members trained here on real data, or those of studies (--study, a folder that
``python -m search.run`` wrote). --peers names the interpreter of an environment with ``autogluon.core`` or ``phem``;
without it only the plain version of tests/oracles.py is compared with. Writes benchmarks/results/greedy.md.
"""

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from benchmarks.linear_pool import read_data_set, train_pool
from benchmarks.tables import RESULTS, describe_machine
from ensemble.members import read_pool
from ensemble.scoring import make_objective
from ensemble.selection import N_ROUNDS, greedy_weights
from tests.oracles import greedy_by_the_book
from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.metrics import Metric, get_metric
from textclf.place import only_study, open_study_store

CASES = (
    ("quora", "roc_auc", 40_000),
    ("sst2", "roc_auc", 6_920),
    ("spooky", "log_loss", 8_000),
    ("trec", "accuracy", 5_452),
)
OURS, BOOK = "this project", "by the book (tests/oracles.py)"
N_RUNS = 3

PREFACE = """\
# Greedy ensemble selection, side by side

{n_rounds} rounds with replacement and the best prefix (Caruana et al. 2004) on the same out-of-fold matrices. Processor
seconds on one thread, the fastest of {n_runs} runs (by the book: one run). Scores are of the found weights, on the
rows they were found on, by scikit-learn through one function for all. Written by `python -m benchmarks.greedy`;
{machine}

AutoGluon rounds scores to six decimals while it searches, so that it may take another path among near ties; with the
rounding taken out it finds the same weights on the Quora matrices.

The first four are pools of linear members; any others are the trials of real studies, read from the prediction store
(`--study`).

| matrices | metric | members | rows | implementation | score | behind ours | seconds | ours is faster by |
|:--|:--|--:|--:|:--|--:|--:|--:|--:|
"""


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """Real OOF probabilities: oof (n_members, n_rows, n_classes)."""

    name: str
    metric: Metric
    oof: FloatArray
    labels: IntArray


def linear_matrices(name: str, metric: str, n_rows: int) -> Matrices:
    """A pool of linear members trained by 5 folds on 90% of a data set."""
    data = read_data_set(name, n_most=n_rows)
    rows, held_out = next(StratifiedShuffleSplit(1, test_size=0.1, random_state=0).split(data.labels, data.labels))
    pool = train_pool(data, rows, held_out, seed=0)
    return Matrices(name=name, metric=get_metric(metric, data.task), oof=pool.oof, labels=pool.labels)


def study_matrices(folder: Path) -> Matrices:
    """The complete trials of a study; the peers know no thresholds, so F1 is compared as ROC AUC."""
    with open_study_store(folder, storage=None) as store:
        pool = read_pool(store, [only_study(store)])
    task: Task = pool.study.task
    metric = pool.study.metric if pool.study.metric in ("roc_auc", "log_loss", "accuracy") else "roc_auc"
    return Matrices(
        name=f"study in {folder.name}", metric=get_metric(metric, task), oof=pool.oof, labels=pool.study.labels
    )


def ask_peers(python: Path, matrices: Matrices) -> dict[str, dict[str, Any]]:
    """Weights and seconds of every library that the other interpreter has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrices.npz"
        np.savez(path, oof=matrices.oof, labels=matrices.labels)
        script = Path(__file__).with_name("greedy_peers.py")
        done = subprocess.run(
            [python, script, path, matrices.metric.name, str(N_ROUNDS)], capture_output=True, text=True, check=True
        )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def ours(matrices: Matrices) -> dict[str, Any]:
    """Our weights and seconds, the preparation of the matrices included."""
    seconds, weights = [], np.zeros(0)
    for _ in range(N_RUNS):
        began = time.process_time()
        weights = greedy_weights(make_objective(matrices.metric, matrices.labels, matrices.oof))
        seconds.append(time.process_time() - began)
    return {"weights": weights, "seconds": min(seconds)}


def by_the_book(matrices: Matrices) -> dict[str, Any]:
    """The plain version's weights and seconds."""
    began = time.process_time()
    weights, _ = greedy_by_the_book(
        matrices.oof, lambda proba: matrices.metric.score(matrices.labels, proba), n_rounds=N_ROUNDS
    )
    return {"weights": weights, "seconds": time.process_time() - began}


def lines_of(matrices: Matrices, peers: Path | None) -> str:
    """Every implementation on one set of matrices."""
    found = {OURS: ours(matrices), BOOK: by_the_book(matrices)}
    if peers is not None:
        found |= ask_peers(peers, matrices)
    scores = {
        name: matrices.metric.score(matrices.labels, np.tensordot(one["weights"], matrices.oof, 1))
        for name, one in found.items()
    }
    head = f"| {matrices.name} | {matrices.metric.name} | {len(matrices.oof)} | {len(matrices.labels):,}"
    lines = ""
    for name, one in found.items():
        faster = "" if name == OURS else f"{one['seconds'] / found[OURS]['seconds']:.0f}x"
        behind = "" if name == OURS else f"{scores[OURS] - scores[name]:+.1e}"
        lines += f"{head} | {name} | {scores[name]:.6f} | {behind} | {one['seconds']:.3f} | {faster} |\n"
    return lines


def main() -> None:
    """Compare on all matrices and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with autogluon.core or phem")
    parser.add_argument("--study", type=Path, action="append", default=[], help="folder of a study")
    options = parser.parse_args()
    table = ""
    for matrices in [*(linear_matrices(*case) for case in CASES), *map(study_matrices, options.study)]:
        table += lines_of(matrices, options.peers)
        print(table.splitlines()[-1], flush=True)
    preface = PREFACE.format(n_rounds=N_ROUNDS, n_runs=N_RUNS, machine=describe_machine("numpy"))
    (RESULTS / "greedy.md").write_text(preface + table, encoding="utf-8")


if __name__ == "__main__":
    main()
