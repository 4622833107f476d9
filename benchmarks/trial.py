"""Time a whole trial of the network of record on real Quora questions: ``python -m benchmarks.trial [--device cuda]``.

A trial is what a study runs: k-fold training, validation after every epoch, predictions of the test rows of every
fold. Variants alternate, after one short trial of each; the texts are encoded once, before. The reference loops train
and validate the same folds, and are spared the test rows. The table goes to ``benchmarks/results/trial_DEVICE.md``.
"""

import argparse
import itertools
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import torch

from benchmarks.reference import FoldData, train_packed, train_padded
from benchmarks.tables import describe_machine, spread, write_table
from benchmarks.variants import Timing
from benchmarks.workloads import QUORA, read_inputs
from textclf.build import FoldRequest
from textclf.config import RecurrentConfig
from textclf.crossval import cross_validate
from textclf.determinism import seeded
from textclf.engine import Engine, set_engine
from textclf.gpu import GpuEngine
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.recurrent import Precision
from textclf.train import prepare

ROWS_TO_WARM_UP = 2_000
MAX_TOKENS = 70

Trial = Callable[[Inputs, RecurrentConfig, str], float]
"""(inputs, config, device) -> AUC over the OOF predictions."""


def _with_engine(precision: Precision, *, engine: Engine | None = None, gpu: GpuEngine = "cudnn") -> Trial:
    def run(inputs: Inputs, config: RecurrentConfig, device: str) -> float:
        set_engine(engine)
        metric = get_metric("roc_auc", inputs.task)
        with mock.patch.dict(os.environ, TEXTCLF_GPU_RECURRENCE=gpu):
            return cross_validate(
                inputs, replace(config, precision=precision), metric=metric, seed=0, device=device
            ).score

    return run


def _one_fold_at_a_time(trial: Trial) -> Trial:
    def run(inputs: Inputs, config: RecurrentConfig, device: str) -> float:
        with mock.patch("textclf.crossval.fits_at_once", return_value=1):
            return trial(inputs, config, device)

    return run


def _reference(train: Callable[..., np.ndarray]) -> Trial:
    def run(inputs: Inputs, config: RecurrentConfig, device: str) -> float:
        prepared, oof = prepare(inputs, config), np.zeros((len(inputs.train), 2))
        for fold in range(inputs.folds.n_folds):
            held_out = inputs.folds.fold_of_row[0] == fold
            data = FoldData(
                train=prepared.train.rows(~held_out),
                labels=inputs.labels[~held_out],
                held_out=prepared.train.rows(held_out),
                words=prepared.shared,
                max_tokens=config.max_tokens,
            )
            with seeded(fold, device=device):
                oof[held_out, 1] = train(data, config, seed=fold, device=device)
        oof[:, 0] = 1 - oof[:, 1]
        return get_metric("roc_auc", inputs.task).score(inputs.labels, oof)

    return run


LOOPS: dict[str, Trial] = {"padded loop": _reference(train_padded), "packed torch layers": _reference(train_packed)}
CPU: dict[str, Trial] = {
    "torch engine": _with_engine("fp32", engine="torch"),
    "native fp32": _with_engine("fp32", engine="native"),
    "native bf16": _with_engine("bf16", engine="native"),
}
CUDA: dict[str, Trial] = {
    "cudnn": _with_engine("fp32"),
    "triton fp32, one fold at a time": _one_fold_at_a_time(_with_engine("fp32", gpu="triton")),
    "triton fp32": _with_engine("fp32", gpu="triton"),
    "triton bf16": _with_engine("bf16", gpu="triton"),
}
VARIANTS = LOOPS | CPU | CUDA


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trial: its seconds, AUC over its OOF predictions, and the most memory its tensors had on a GPU, in MB."""

    timing: Timing
    auc: float
    gpu_memory: float


def main() -> None:
    """Run the trials in turns and write the table."""
    options = _parse()
    torch.set_num_threads(options.threads)
    inputs = first_rows(read_inputs("quora", QUORA, folds=FoldRequest(n_folds=5)), options.rows)
    config = RecurrentConfig(
        family="bilstm_bigru",
        hidden_size=options.hidden,
        batch_size=512,
        n_epochs=4,
        max_tokens=MAX_TOKENS,
        caps_flag=False,
    )
    prepare(inputs, config)
    load = os.getloadavg()[0]
    for name in options.variants:
        time_trial(name, first_rows(inputs, ROWS_TO_WARM_UP), replace(config, n_epochs=1), options.device)
    runs: dict[str, list[Run]] = {name: [] for name in options.variants}
    for _, name in itertools.product(range(options.repeats), options.variants):
        runs[name].append(run := time_trial(name, inputs, config, options.device))
        print(
            f"{name}: {run.timing.wall:.1f} s, {run.timing.processor:.1f} s of processor time, AUC {run.auc:.4f}",
            flush=True,
        )
    path = write_table(
        f"trial_{options.device}",
        title="A whole trial on Quora",
        notes=[
            (
                f"{len(inputs.train):,} training and {len(inputs.test):,} test rows, GloVe 100d, 5 folds, hidden "
                f"{options.hidden}, batch 512, 4 epochs; {options.threads} threads, {options.repeats} repeats: "
                f"median (min to max); load {load:.1f} before the first."
            ),
            describe_machine("torch") + _gpu(options.device),
            f"`python -m benchmarks.trial {shlex.join(sys.argv[1:])}`",
        ],
        header=("variant", "wall s", "processor s", f"{options.variants[0]} / own, wall", "GPU MB", "OOF AUC"),
        rows=[(name, *_cells(of, runs[options.variants[0]])) for name, of in runs.items()],
    )
    print(path)


def first_rows(inputs: Inputs, n_rows: int | None) -> Inputs:
    """A smaller study of the same test rows."""
    chosen = np.arange(len(inputs.train))[:n_rows]
    train, labels, folds = inputs.train.rows(chosen), inputs.labels[chosen], inputs.folds.rows(chosen)
    return replace(inputs, train=train, labels=labels, folds=folds)


def time_trial(name: str, inputs: Inputs, config: RecurrentConfig, device: str) -> Run:
    """Cross-validate once."""
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    wall, processor = time.perf_counter(), time.process_time()
    auc = VARIANTS[name](inputs, config, device)
    timing = Timing(wall=time.perf_counter() - wall, processor=time.process_time() - processor)
    return Run(timing=timing, auc=auc, gpu_memory=torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0)


def _cells(runs: list[Run], first: list[Run]) -> tuple[str, ...]:
    walls, processors = [run.timing.wall for run in runs], [run.timing.processor for run in runs]
    ratios = [base.timing.wall / wall for base, wall in zip(first, walls, strict=True)]
    memory = f"{max(run.gpu_memory for run in runs):.0f}" if runs[0].gpu_memory else ""
    return (
        spread(walls, digits=1),
        spread(processors, digits=1),
        spread(ratios, digits=1),
        memory,
        f"{runs[0].auc:.4f}",
    )


def _gpu(device: str) -> str:
    return "" if device == "cpu" else f" {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}."


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), help="ratios are taken to the first")
    parser.add_argument("--rows", type=int, help="train on the first rows only")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    options.variants = options.variants or [*LOOPS, *(CUDA if options.device == "cuda" else CPU)]
    return options


if __name__ == "__main__":
    main()
