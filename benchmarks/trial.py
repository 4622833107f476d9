"""Time a whole trial of the network of record on real Quora questions: ``python -m benchmarks.trial``.

A trial is what a study runs: k-fold training, validation after every epoch, predictions of the test rows of every
fold. Engines alternate; the texts are encoded once, inside the first trial. The table goes to
``benchmarks/results/trial.md``.
"""

import argparse
import itertools
import os
import shlex
import sys
import time
from dataclasses import dataclass, replace

import torch

from benchmarks.tables import describe_machine, spread, write_table
from benchmarks.variants import Timing
from benchmarks.workloads import QUORA, read_inputs
from textclf.build import FoldRequest
from textclf.config import RecurrentConfig
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
    """One trial: its seconds, and AUC over its OOF predictions."""

    timing: Timing
    auc: float


def main() -> None:
    """Run the trials in turns and write the table."""
    options = _parse()
    torch.set_num_threads(options.threads)
    inputs = read_inputs("quora", QUORA, folds=FoldRequest(n_folds=5))
    config = RecurrentConfig(family="bilstm_bigru", hidden_size=options.hidden, batch_size=512, n_epochs=4)
    load = os.getloadavg()[0]
    runs: dict[str, list[Run]] = {name: [] for name in options.variants}
    for _, name in itertools.product(range(options.repeats), options.variants):
        runs[name].append(run := time_trial(inputs, config, name))
        print(
            f"{name}: {run.timing.wall:.1f} s, {run.timing.processor:.1f} s of processor time, AUC {run.auc:.4f}",
            flush=True,
        )
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
    timing = Timing(wall=time.perf_counter() - wall, processor=time.process_time() - processor)
    return Run(timing=timing, auc=run.score)


def _cells(runs: list[Run]) -> tuple[str, str, str]:
    walls, processors = [run.timing.wall for run in runs], [run.timing.processor for run in runs]
    return spread(walls, digits=1), spread(processors, digits=1), f"{runs[0].auc:.4f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


if __name__ == "__main__":
    main()
