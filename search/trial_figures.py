"""Figures of one trial's out-of-fold predictions: ROC, precision and recall, calibration, threshold, confusion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from search.figures import FULL_WIDTH, Look, new_figure
from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.metrics import row_losses
from textclf.records import StudyRecord, TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = Literal["upper left", "lower left", "lower right"]
N_CURVES = 6
N_BINS = 10
N_CLASSES_NAMED = 12
N_LETTERS_LEVEL = 40  # more letters than this under an axis are slanted
N_POINTS = 400  # of a curve: more cannot be seen


@dataclass(frozen=True, slots=True)
class Column:
    """One yes-or-no question of the task: a class against the rest, or a label.

    truth: (n_rows,) int64 of 0/1; proba: (n_rows,) float64
    """

    name: str
    truth: IntArray
    proba: FloatArray


def columns_of(task: Task, labels: IntArray, proba: FloatArray) -> list[Column]:
    """The questions that have rows of both answers: one if binary, else the most frequent ones."""
    if task.kind == "binary":
        columns = [Column(task.class_names[1], labels, proba[:, 1])]
    else:
        truths = labels if task.kind == "multilabel" else labels[:, None] == np.arange(task.n_outputs)
        columns = [
            Column(name, np.asarray(truths[:, place], dtype=np.int64), proba[:, place])
            for place, name in enumerate(task.class_names)
        ]
    columns = [column for column in columns if 0 < column.truth.sum() < len(column.truth)]
    return sorted(columns, key=lambda column: -int(column.truth.sum()))[:N_CURVES]


def draw_oof(study: StudyRecord, trial: TrialRecord, look: Look) -> "Figure":
    """Four panels of a complete trial: ROC, precision-recall, calibration, and threshold curve or confusion."""
    figure, panels = new_figure(FULL_WIDTH, 7.4, panels=(2, 2))
    for axes, draw in zip(panels, oof_panels(study, trial, look).values(), strict=True):
        draw(axes)
    return figure


def oof_panels(study: StudyRecord, trial: TrialRecord, look: Look) -> "dict[str, Callable[[Axes], None]]":
    """How to draw each panel of a trial's out-of-fold predictions, by name."""
    columns = columns_of(study.task, study.labels, trial.oof)
    panels: dict[str, Callable[[Axes], None]] = {
        "roc": partial(draw_roc, columns=columns, look=look),
        "precision_recall": partial(draw_precision_recall, columns=columns, look=look),
        "calibration": partial(draw_calibration, columns=columns, look=look),
    }
    if study.task.kind == "multiclass":
        decided = partial(draw_confusion, task=study.task, labels=study.labels, proba=trial.oof, look=look)
        return {**panels, "confusion": decided}
    chosen = trial.thresholds if study.task.kind == "binary" else None
    return {**panels, "threshold": partial(draw_thresholds, columns=columns, look=look, chosen=chosen)}


def draw_roc(axes: "Axes", columns: Sequence[Column], look: Look) -> None:
    """Hit rate against false alarms at every cut."""
    from sklearn.metrics import roc_auc_score, roc_curve

    axes.plot([0, 1], [0, 1], color=look.line, linewidth=1)
    for column, shade in zip(columns, look.series, strict=False):
        false_alarms, hits, _ = roc_curve(column.truth, column.proba)
        area = roc_auc_score(column.truth, column.proba)
        axes.plot(*thinned(false_alarms, hits), color=shade, label=f"{column.name}  {area:.4f}")
    axes.set(title="ROC (area)", xlabel="false alarms", ylabel="hits", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    _legend(axes, columns, "lower right")


def draw_precision_recall(axes: "Axes", columns: Sequence[Column], look: Look) -> None:
    """Precision against recall at every cut."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    for column, shade in zip(columns, look.series, strict=False):
        precision, recall, _ = precision_recall_curve(column.truth, column.proba)
        area = average_precision_score(column.truth, column.proba)
        axes.plot(*thinned(recall, precision), color=shade, label=f"{column.name}  {area:.4f}")
    axes.set(title="Precision and recall (average precision)", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    _legend(axes, columns, "lower left")


def draw_calibration(axes: "Axes", columns: Sequence[Column], look: Look) -> None:
    """How often the answer is yes, against how probable the trial calls it, in ten bins of equally many rows."""
    axes.plot([0, 1], [0, 1], color=look.line, linewidth=1)
    for column, shade in zip(columns, look.series, strict=False):
        called, observed = reliability(column.truth, column.proba)
        axes.plot(called, observed, color=shade, marker="o", markersize=3.5, label=column.name)
    axes.set(title="Calibration", xlabel="mean probability", ylabel="share of yes")
    _legend(axes, columns, "upper left")


def draw_thresholds(
    axes: "Axes", columns: Sequence[Column], look: Look, *, chosen: Sequence[float] | None = None
) -> None:
    """F1 at every threshold; for one question precision and recall as well."""
    for column, shade in zip(columns, look.series, strict=False):
        cuts, precision, recall, f1 = threshold_curve(column.truth, column.proba)
        axes.plot(cuts, f1, color=shade, label="F1" if len(columns) == 1 else column.name)
        if len(columns) == 1:
            axes.plot(cuts, precision, color=look.muted, linewidth=1, label="precision")
            axes.plot(cuts, recall, color=look.muted, linewidth=1, linestyle="--", label="recall")
    for cut in chosen or ():
        axes.axvline(cut, color=look.bad, linewidth=1)
        axes.text(cut, 1.0, f" {cut:.3f}", color=look.bad, va="top")
    axes.set(title="Threshold (F1)", xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower center" if len(columns) == 1 else "upper right")


def draw_confusion(axes: "Axes", *, task: Task, labels: IntArray, proba: FloatArray, look: Look) -> None:
    """Which class is taken for which: shares of the rows of each true class."""
    counts = confusion(labels, proba.argmax(axis=1), task.n_outputs)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name if len(name) <= 12 else f"{name[:11]}…" for name in task.class_names]
    few = len(names) <= N_CLASSES_NAMED
    for truth, predicted in np.ndindex(shares.shape):
        share = shares[truth, predicted]
        shade = look.accent if truth == predicted else look.bad
        axes.fill_between([predicted, predicted + 1], truth, truth + 1, color=shade, alpha=0.75 * share, linewidth=0)
        if few:
            axes.text(predicted + 0.5, truth + 0.5, f"{counts[truth, predicted]:,}", ha="center", va="center")
    axes.set(title="Confusion (out of fold)", xlabel="predicted", ylabel="true")
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(names), 0)
    middles = np.arange(len(names)) + 0.5
    slanted = few and max(map(len, names)) * len(names) > N_LETTERS_LEVEL
    axes.set_xticks(middles, names if few else [""] * len(names))
    axes.tick_params(axis="x", rotation=30 if slanted else 0)
    axes.set_yticks(middles, names if few else [""] * len(names))
    axes.grid(visible=False)


def thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most N_POINTS points of a curve, evenly along its two directions, its ends among them."""
    if len(x) <= N_POINTS:
        return x, y
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], N_POINTS)))
    return x[kept], y[kept]


def reliability(truth: IntArray, proba: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean probability and share of yes in each of ten bins of equally many rows: two arrays (n_bins,)."""
    bins = [rows for rows in np.array_split(np.argsort(proba, kind="stable"), N_BINS) if len(rows)]
    return np.array([proba[rows].mean() for rows in bins]), np.array([truth[rows].mean() for rows in bins])


def threshold_curve(truth: IntArray, proba: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Precision, recall and F1 of ``proba >= cut`` at 201 cuts from 0 to 1; NaN precision where nothing is called."""
    cuts = np.linspace(0, 1, 201)
    order = np.sort(proba)
    hits_order = np.sort(proba[truth == 1])
    called = (len(order) - np.searchsorted(order, cuts)).astype(np.float64)
    hits = (len(hits_order) - np.searchsorted(hits_order, cuts)).astype(np.float64)
    precision = np.divide(hits, called, out=np.full(len(cuts), np.nan), where=called > 0)
    return cuts, precision, hits / len(hits_order), 2 * hits / (called + len(hits_order))


def confusion(labels: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """(n_classes, n_classes) int64: rows of each true class by the class they were taken for."""
    pairs = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return pairs.reshape(n_classes, n_classes)


def worst_mistakes(
    study: StudyRecord, trial: TrialRecord, *, n_rows: int, texts: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The rows with the highest log loss, worst first: id, loss, what is true, what the trial thought, and the text.

    texts: of the training rows in file order; left out where they are not at hand
    """
    losses = row_losses(study.labels, trial.oof, study.task)
    mistakes: list[dict[str, Any]] = []
    for row in np.argsort(-losses, kind="stable")[:n_rows].tolist():
        mistake: dict[str, Any] = {"id": study.train_ids[row], "loss": round(float(losses[row]), 4)}
        mistake |= _true_and_thought(study.task, study.labels[row], trial.oof[row])
        if texts is not None:
            mistake["text"] = texts[row]
        mistakes.append(mistake)
    return mistakes


def _true_and_thought(task: Task, label: Any, proba: FloatArray) -> dict[str, Any]:
    names = task.class_names
    if task.kind == "multilabel":
        wrong = int(np.argmax(np.where(label == 1, 1 - proba, proba)))
        true = ", ".join(name for name, yes in zip(names, label, strict=True) if yes) or "none"
        return {"true": true, "thought": f"{names[wrong]} {proba[wrong]:.3f}"}
    return {"true": names[label], "thought": f"{names[int(proba.argmax())]} {proba.max():.3f}"}


def _legend(axes: "Axes", columns: Sequence[Column], place: Place) -> None:
    if columns:
        axes.legend(loc=place)
