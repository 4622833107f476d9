"""Pools made by adding noise to the logits of the truth, so that what members know is known."""

import numpy as np

from ensemble.mixtures import Evidence
from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.metrics import get_metric

BINARY = Task(kind="binary", class_names=("no", "yes"))
THREE = Task(kind="multiclass", class_names=("a", "b", "c"))
LABELS = Task(kind="multilabel", class_names=("x", "y"))
TASKS = {task.kind: task for task in (BINARY, THREE, LABELS)}


def truth(task: Task, *, n_rows: int, seed: int) -> IntArray:
    """Labels of the task's shape, every class present."""
    rng = np.random.default_rng(seed)
    if task.kind == "multilabel":
        labels = (rng.random((n_rows, task.n_outputs)) < 0.3).astype(np.int64)
        labels[:2] = [[0], [1]]
        return labels
    labels = rng.integers(0, task.n_outputs, n_rows)
    labels[: task.n_outputs] = np.arange(task.n_outputs)
    return labels


def noisy_proba(labels: IntArray, task: Task, *, knowledge: float, seed: int) -> FloatArray:
    """Probabilities (n_rows, n_outputs) from logits ``knowledge * truth + noise``; zero knowledge is chance."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(labels), task.n_outputs))
    if task.kind == "multilabel":
        return np.asarray(1 / (1 + np.exp(-(knowledge * (labels - 0.5) + noise))))
    powers = np.exp(knowledge * np.eye(task.n_outputs)[labels] + noise)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def evidence(
    task: Task = BINARY,
    *,
    metric: str = "log_loss",
    knowledge: tuple[float, ...] = (1.5, 1.0, 1.0, 0.5),
    n_rows: int = 300,
    n_folds: int = 4,
    seed: int = 0,
) -> Evidence:
    """Members with this much knowledge each, their noise independent."""
    labels = truth(task, n_rows=n_rows, seed=seed)
    proba = [noisy_proba(labels, task, knowledge=known, seed=100 * seed + k + 1) for k, known in enumerate(knowledge)]
    folds = np.random.default_rng(seed + 7).permutation(np.arange(n_rows) % n_folds)
    return Evidence(
        proba=np.stack(proba), labels=labels, fold_of_row=folds[None], metric=get_metric(metric, task), seed=seed
    )
