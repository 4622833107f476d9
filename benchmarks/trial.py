"""Time a whole trial of the network of record on real Quora questions: ``python -m benchmarks.trial``.

A trial is what a study runs: k-fold training, validation after every epoch, predictions of the test rows of every
fold. Engines alternate; encoding is inside the first figure and told apart from the fits. The table goes to
``benchmarks/results/trial.md``.
"""

import argparse
import itertools
import os
import shlex
import statistics
import sys
import time
from dataclasses import dataclass, replace

import torch

from benchmarks.tables import describe_machine, write_table
from benchmarks.workloads import DATA, GLOVE
from textclf.build import FoldRequest, build_inputs
from textclf.config import Columns, RecurrentConfig
from textclf.crossval import cross_validate
from textclf.engine import Engine, set_engine
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.recurrent import Precision

VARIANTS: dict[str, tuple[Engine, Precision]] = {
    "native fp32": ("native", "fp32"),
    "native bf16": ("native", "bf16"),
    "torch engine": ("torch", "fp32"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trial: seconds of wall and processor time, AUC over its OOF predictions."""

    wall: float
    processor: float
    auc: float


def main() -> None:
    """Run the trials in turns and write the table."""
    options = _parse()
    torch.set_num_threads(options.threads)
    folder = DATA / "quora"
    inputs, _ = build_inputs(
        folder / "train.csv",
        folder / "test.csv",
        Columns(text="question_text", targets=("target",), row_id="qid"),
        folds=FoldRequest(n_folds=5),
        embeddings=[DATA / GLOVE],
    )
    config = RecurrentConfig(family="bilstm_bigru", hidden_size=options.hidden, batch_size=512, n_epochs=4)
    load = os.getloadavg()[0]
    runs: dict[str, list[Run]] = {name: [] for name in options.variants}
    for _, name in itertools.product(range(options.repeats), options.variants):
        runs[name].append(run := time_trial(inputs, config, name))
        print(f"{name}: {run.wall:.1f} s, {run.processor:.1f} s of processor time, AUC {run.auc:.4f}", flush=True)
    path = write_table(
        "trial",
        title="A whole trial on Quora",
        notes=[
            (
                f"{len(inputs.train):,} training and {len(inputs.test):,} test rows, GloVe 100d, 5 folds, hidden "
                f"{options.hidden}, batch 512, 4 epochs; {options.threads} threads, {options.repeats} repeats: "
                f"median (min to max); load {load:.1f} before the first."
            ),
            describe_machine("torch"),
            f"`python -m benchmarks.trial {shlex.join(sys.argv[1:])}`",
        ],
        header=("engine", "wall s", "processor s", "OOF AUC"),
        rows=[(name, *_cells(of)) for name, of in runs.items()],
    )
    print(path)


def time_trial(inputs: Inputs, config: RecurrentConfig, name: str) -> Run:
    """Cross-validate once."""
    engine, precision = VARIANTS[name]
    set_engine(engine)
    wall, processor = time.perf_counter(), time.process_time()
    run = cross_validate(
        inputs, replace(config, precision=precision), metric=get_metric("roc_auc", inputs.task), seed=0
    )
    return Run(wall=time.perf_counter() - wall, processor=time.process_time() - processor, auc=run.score)


def _cells(runs: list[Run]) -> tuple[str, str, str]:
    walls, processors = [run.wall for run in runs], [run.processor for run in runs]
    spreads = [f"{statistics.median(of):.1f} ({min(of):.1f} to {max(of):.1f})" for of in (walls, processors)]
    return spreads[0], spreads[1], f"{runs[0].auc:.4f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


if __name__ == "__main__":
    main()
