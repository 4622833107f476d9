"""Figures of a blend: how members differ, and what it is worth."""

from typing import TYPE_CHECKING

import numpy as np

from ensemble.diversity import Diversity
from ensemble.evaluate import Evaluation
from textclf.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, ACCENT = "#1c2024", "#6b7280", "#1f5fd0"
MOST_NUMBERED = 12  # beyond this many members a matrix shows colours only


def draw_diversity(diversity: Diversity) -> "Figure":
    """Correlation and disagreement of members as two matrices side by side."""
    from matplotlib.figure import Figure

    side = 1.6 + 0.42 * len(diversity.names)
    figure = Figure(figsize=(2 * side + 1, side + 0.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_matrix(left, diversity.correlation, diversity, title="Correlation of OOF probabilities")
    draw_matrix(right, diversity.disagreement, diversity, title="Share of decisions that differ")
    return figure


def draw_matrix(axes: "Axes", values: FloatArray, diversity: Diversity, *, title: str) -> None:
    """One matrix with the members' names on both sides; the diagonal is left blank."""
    n_members = len(values)
    shown = np.ma.masked_array(values, mask=np.eye(n_members, dtype=bool))
    axes.imshow(shown, cmap="Blues")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xticks(range(n_members), diversity.names, rotation=90, fontsize=8)
    axes.set_yticks(range(n_members), diversity.names, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if n_members > MOST_NUMBERED:
        return
    middle = (shown.min() + shown.max()) / 2 if n_members > 1 else 0.0
    for row in range(n_members):
        for column in range(n_members):
            if row != column:
                colour = "white" if values[row, column] > middle else INK
                axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=7)


def draw_scores(evaluation: Evaluation, metric: str) -> "Figure":
    """Cross-fitted scores with their intervals, and the fitted ones that flatter."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.2), layout="constrained")
    axes = figure.subplots()
    for place, judged in enumerate(reversed(evaluation.judged)):
        axes.plot([judged.low, judged.high], [place, place], color=ACCENT, linewidth=2)
        axes.plot(
            judged.cross_fitted, place, "o", color=ACCENT, label="cross-fitted, 95% interval" if not place else ""
        )
        axes.plot(judged.fitted, place, "|", color=MUTED, markersize=14, label="fitted" if not place else "")
    axes.set_yticks(range(3), [judged.name for judged in reversed(evaluation.judged)])
    axes.set_ylim(-0.6, 2.6)
    axes.set_xlabel(f"{metric} (higher is better)", color=MUTED)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
