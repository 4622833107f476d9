"""Ways to train a fold of the network of record, and how one is timed."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.reference import FoldData, train_packed, train_padded
from benchmarks.workloads import Workload, WorkloadName
from textclf.arrays import BoolArray, FloatArray
from textclf.config import RecurrentConfig, Task
from textclf.determinism import seeded
from textclf.engine import Engine, set_engine
from textclf.folds import plan_folds
from textclf.nets import BiLstmBiGru
from textclf.protocols import FitTask, Predict
from textclf.recurrent import Precision
from textclf.train import fit

BINARY = Task(kind="binary", class_names=("0", "1"))
N_FOLDS = 5

Train = Callable[[FoldData, RecurrentConfig, int], FloatArray]


def _with_engine(engine: Engine, precision: Precision) -> Train:
    def train(fold: FoldData, config: RecurrentConfig, seed: int) -> FloatArray:
        def validate(_epoch: int, _loss: float, predict: Predict) -> None:
            predict(fold.held_out)

        set_engine(engine)
        how = FitTask(
            task=BINARY,
            seed=seed,
            device="cpu",
            shared=fold.words,
            on_epoch=validate,
        )
        own = replace(config, precision=precision)
        fitted = fit(fold.train, fold.labels, own, how=how, network=BiLstmBiGru)
        return fitted.predict(fold.held_out)[:, 1]

    return train


def _reference(train: Callable[..., FloatArray]) -> Train:
    return lambda fold, config, seed: train(fold, config, seed=seed)


VARIANTS: dict[str, Train] = {
    "padded loop": _reference(train_padded),
    "packed torch layers": _reference(train_packed),
    "torch engine": _with_engine("torch", "fp32"),
    "native fp32": _with_engine("native", "fp32"),
    "native bf16": _with_engine("native", "bf16"),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is timed: n_rows are trained on and predicted in folds of five."""

    workload: WorkloadName
    hidden: int
    batch: int
    n_rows: int
    n_epochs: int
    n_repeats: int
    n_threads: int

    def config(self, workload: Workload) -> RecurrentConfig:
        """The network's parameters."""
        return RecurrentConfig(
            family="bilstm_bigru",
            hidden_size=self.hidden,
            batch_size=self.batch,
            n_epochs=self.n_epochs,
            max_tokens=workload.max_tokens,
            caps_flag=False,
        )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one fold."""

    wall: float
    processor: float


def split(workload: Workload, *, fold: int, seed: int = 0) -> tuple[FoldData, BoolArray]:
    """One fold of five, and the mask of its held-out rows."""
    held_out = plan_folds(workload.labels, BINARY, n_folds=N_FOLDS, seed=seed).fold_of_row[0] == fold
    data = FoldData(
        train=workload.rows.rows(~held_out),
        labels=workload.labels[~held_out],
        held_out=workload.rows.rows(held_out),
        words=workload.words,
        max_tokens=workload.max_tokens,
    )
    return data, held_out


def time_fold(train: Train, fold: FoldData, config: RecurrentConfig, *, seed: int) -> Timing:
    """Train and predict one fold."""
    wall, processor = time.perf_counter(), time.process_time()
    with seeded(seed, device="cpu"):
        train(fold, config, seed)
    return Timing(wall=time.perf_counter() - wall, processor=time.process_time() - processor)


def time_plan(plan: Plan, workload: Workload, names: Sequence[str]) -> dict[str, list[Timing]]:
    """Time all variants, alternating."""
    torch.set_num_threads(plan.n_threads)
    fold, _ = split(workload.first(plan.n_rows), fold=0)
    config = plan.config(workload)
    warm, _ = split(workload.first(min(plan.n_rows, 2 * plan.batch)), fold=0)
    for name in names:
        time_fold(VARIANTS[name], warm, replace(config, n_epochs=1), seed=0)
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    for repeat, name in itertools.product(range(plan.n_repeats), names):
        timings[name].append(time_fold(VARIANTS[name], fold, config, seed=repeat))
    return timings


def oof_auc(train: Train, workload: Workload, config: RecurrentConfig, *, seed: int) -> float:
    """AUC over all out-of-fold predictions of one seed."""
    oof = np.zeros(len(workload.labels))
    for number in range(N_FOLDS):
        fold, held_out = split(workload, fold=number)
        with seeded(seed, device="cpu"):
            oof[held_out] = train(fold, config, seed * N_FOLDS + number)
    return float(roc_auc_score(workload.labels, oof))
