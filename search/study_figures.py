"""Figures of a study: its history, importances, slices, parallel coordinates, pruning, time and learning curves."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.figures import FULL_WIDTH, HALF_WIDTH, Look, hide, new_figure
from search.ranking import (
    best_so_far,
    count_fits,
    families_of,
    family_of,
    is_logarithmic,
    is_number,
    rank_trials,
    searched,
    show_value,
)
from textclf.records import StudyRecord, TrialSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_SLICES = 9
N_CURVES = 5
N_LEVEL = 7  # parameter names beside each other before they are slanted


def draw_history(trials: Sequence[TrialSummary], look: Look) -> "Figure":
    """Score of every trial in order, with the best so far; where pruned trials stood when they ended."""
    figure, (axes,) = new_figure(FULL_WIDTH, 3.4)
    colour = look.of(families_of(trials))
    for family, shade in colour.items():
        mine = [(trial.number, score) for trial, score in _scored(trials) if family_of(trial) == family]
        if mine:
            numbers, scores = zip(*mine, strict=True)
            axes.scatter(numbers, scores, s=22, color=shade, label=family, zorder=3)
    ended = [(trial.number, trial.reports[-1][1]) for trial in trials if trial.outcome == "pruned" and trial.reports]
    if ended:
        numbers, scores = zip(*ended, strict=True)
        axes.scatter(numbers, scores, s=16, marker="x", linewidth=1, color=look.muted, label="pruned")
    lead = best_so_far(trials)
    if lead:
        numbers, scores = zip(*lead, strict=True)
        last = max(trial.number for trial in trials)
        axes.step([*numbers, last], [*scores, scores[-1]], where="post", color=look.accent, linewidth=1.2, zorder=2)
    floor = _frame_scores(axes, [score for _, score in _scored(trials)])
    below = [trial.number for trial, score in _scored(trials) if score < floor]
    if below:
        axes.scatter(below, [floor] * len(below), s=22, marker="v", color=look.muted, label="below")
    axes.set(xlabel="trial", ylabel="score")
    axes.locator_params(axis="x", integer=True)
    figure.legend(loc="outside upper left", ncols=8, handletextpad=0.2, columnspacing=1.2)
    return figure


def draw_importances(importances: Mapping[str, float], look: Look) -> "Figure":
    """Shares of the variance of the score, largest first."""
    figure, (axes,) = new_figure(HALF_WIDTH, 0.9 + 0.26 * max(3, len(importances)))
    names = list(importances)[::-1]
    shares = [importances[name] for name in names]
    axes.barh(names, shares, height=0.62, color=look.accent)
    for place, share in enumerate(shares):
        axes.text(share, place, f"  {share:.0%}", va="center", color=look.muted)
    axes.set_xlim(0, max([0.1, *shares]) * 1.15)
    axes.set_xlabel("share of the variance of the score")
    axes.grid(visible=False)
    axes.tick_params(axis="y", colors=look.ink)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return figure


def draw_slices(trials: Sequence[TrialSummary], names: Sequence[str], look: Look) -> "Figure":
    """Score against each of the first nine parameters, coloured by family."""
    names = names[:N_SLICES]
    n_rows = max(1, math.ceil(len(names) / 3))
    figure, panels = new_figure(FULL_WIDTH, 0.4 + 2.2 * n_rows, panels=(n_rows, 3))
    colour = look.of(families_of(trials))
    with_name: dict[str, bool] = {}
    for axes, name in zip(panels, names, strict=False):
        shown = [(trial, score) for trial, score in _scored(trials) if name in trial.params]
        places, ticks = _places([trial.params[name] for trial, _ in shown])
        for family, shade in colour.items():
            mine = [number for number, (trial, _) in enumerate(shown) if family_of(trial) == family]
            label = None if with_name.get(family) or not mine else family
            with_name[family] = bool(mine) or with_name.get(family, False)
            scores = [shown[number][1] for number in mine]
            axes.scatter([places[number] for number in mine], scores, s=16, color=shade, label=label)
        _frame_scores(axes, [score for _, score in shown])
        _scale(axes, places, ticks)
        axes.set_title(name)
    for axes in panels[len(names) :]:
        hide(axes)
    if len(colour) > 1:
        figure.legend(loc="outside upper left", ncols=8, handletextpad=0.2, columnspacing=1.2)
    return figure


def draw_parallel(trials: Sequence[TrialSummary], family: str, look: Look) -> "Figure":
    """Parameters of one family side by side, one line per complete trial; the best tenth stands out."""
    figure, (axes,) = new_figure(FULL_WIDTH, 3.2)
    ranked = [standing.trial for standing in rank_trials(trials) if standing.family == family]
    names = searched(trials)[family]
    scaled = [[*_unit([trial.params.get(name) for trial in ranked])] for name in names]
    scaled.append(_unit([trial.score for trial in ranked]))
    n_best = max(1, round(len(ranked) / 10))
    for place, values in reversed(list(enumerate(zip(*scaled, strict=True)))):
        best = place < n_best
        shade, strength = (look.accent, 1.0) if best else (look.muted, 0.35)
        axes.plot(range(len(scaled)), values, color=shade, alpha=strength, linewidth=1.6 if best else 0.8)
    axes.set_xticks(range(len(scaled)), [*names, "score"], color=look.ink)
    if len(scaled) > N_LEVEL:
        axes.tick_params(axis="x", rotation=20)
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    axes.grid(axis="x", visible=True)
    for place, name in enumerate([*names, "score"]):
        values = [trial.score if name == "score" else trial.params.get(name) for trial in ranked]
        low, high = _ends(values)
        axes.text(place, 1.1, high, ha="center", va="bottom", fontsize=7.5, color=look.muted)
        axes.text(place, -0.1, low, ha="center", va="top", fontsize=7.5, color=look.muted)
    axes.tick_params(axis="x", pad=14)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def draw_pruning(trials: Sequence[TrialSummary], study: StudyRecord, look: Look) -> "Figure":
    """What trials reported while they ran, over the share of their training; pruned ones end early."""
    figure, (axes,) = new_figure(HALF_WIDTH, 3.2)
    per_trial = 100 * count_fits(study)
    with_label = set()
    for trial in trials:
        if trial.outcome == "failed" or not trial.reports:
            continue
        pruned = trial.outcome == "pruned"
        shade = look.bad if pruned else look.muted
        steps, values = zip(*trial.reports, strict=True)
        shares = [step / per_trial for step in steps]
        label = trial.outcome if trial.outcome not in with_label else None
        with_label.add(trial.outcome)
        axes.plot(shares, values, color=shade, alpha=0.9 if pruned else 0.4, linewidth=1, label=label)
        if pruned:
            axes.plot(shares[-1], values[-1], marker="x", markersize=5, color=shade)
    _frame_scores(axes, [value for trial in trials for _, value in trial.reports[-1:]])
    axes.set(xlabel="share of the training done", ylabel="mean fold score so far", xlim=(0, 1.01))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    if with_label:
        axes.legend(loc="lower right")
    return figure


def draw_cost(trials: Sequence[TrialSummary], look: Look) -> "Figure":
    """Score of complete trials against the time they took."""
    figure, (axes,) = new_figure(HALF_WIDTH, 3.2)
    shown = [(trial, score) for trial, score in _scored(trials) if trial.seconds > 0]
    for family, shade in look.of(families_of(trials)).items():
        mine = [(trial.seconds, score) for trial, score in shown if family_of(trial) == family]
        if mine:
            seconds, scores = zip(*mine, strict=True)
            axes.scatter(seconds, scores, s=22, color=shade, label=family)
    _frame_scores(axes, [score for _, score in shown])
    _scale(axes, [trial.seconds for trial, _ in shown], ())
    axes.set(xlabel="seconds", ylabel="score")
    return figure


def draw_curves(trials: Sequence[TrialSummary], look: Look, *, value: str) -> "Figure":
    """One value of the learning curves by epoch, mean over fits with their range, of the best trials.

    value: "train_loss", "valid_loss" or "valid_score"
    """
    figure, (axes,) = new_figure(HALF_WIDTH, 3.0)
    best = [standing.trial for standing in rank_trials(trials)[:N_CURVES]]
    for trial, shade in zip(best, look.series, strict=False):
        points = by_epoch(trial, value)
        epochs = [epoch + 1 for epoch in points]
        means = [float(np.mean(values)) for values in points.values()]
        axes.plot(epochs, means, color=shade, marker="o", markersize=3, label=f"trial {trial.number}")
        if len(points) > 1:
            lows, highs = [min(values) for values in points.values()], [max(values) for values in points.values()]
            axes.fill_between(epochs, lows, highs, color=shade, alpha=0.12, linewidth=0)
    axes.set(xlabel="epoch", title=value.replace("_", " "))
    axes.locator_params(axis="x", integer=True)
    if best:
        axes.legend(loc="lower right" if value == "valid_score" else "upper right")
    return figure


def by_epoch(trial: TrialSummary, value: str) -> dict[int, list[float]]:
    """A value of the learning curves of all fits, by epoch; undefined ones are left out."""
    points: dict[int, list[float]] = {}
    for point in trial.curves:
        if not math.isnan(point[value]):
            points.setdefault(int(point["epoch"]), []).append(point[value])
    return dict(sorted(points.items()))


def _scored(trials: Sequence[TrialSummary]) -> list[tuple[TrialSummary, float]]:
    return [(trial, trial.score) for trial in trials if trial.outcome == "complete" and trial.score is not None]


def _frame_scores(axes: "Axes", scores: Sequence[float]) -> float:
    """Show the upper part of the scores in full: a few very bad trials must not flatten the rest. Returns its floor."""
    known = np.array([score for score in scores if math.isfinite(score)])
    if len(known) < 4:
        return -math.inf
    top, middle, low = known.max(), np.median(known), known.min()
    floor = max(low, top - 6 * (top - middle)) if top > middle else low
    room = 0.06 * (top - floor) or 0.01 * abs(top) or 0.01
    axes.set_ylim(floor - room, top + room)
    return float(floor)


def _places(values: Sequence[Any]) -> tuple[list[float], tuple[str, ...]]:
    """Where values lie on an axis, and its tick labels where they are not numbers."""
    if all(is_number(value) for value in values):
        return [float(value) for value in values], ()
    names = sorted(dict.fromkeys(map(str, values)))
    return [float(names.index(str(value))) for value in values], tuple(names)


def _scale(axes: "Axes", places: Sequence[float], ticks: Sequence[str]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    if ticks:
        axes.set_xticks(range(len(ticks)), [_short(tick) for tick in ticks])
        axes.set_xlim(-0.5, len(ticks) - 0.5)
    elif is_logarithmic(places):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif all(place == int(place) for place in places):
        axes.locator_params(axis="x", integer=True, nbins=5)
    else:
        axes.locator_params(axis="x", nbins=5)


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:6]}…{name[-6:]}"


def _unit(values: Sequence[Any]) -> list[float]:
    """Values scaled to [0, 1], on a logarithmic scale where they span far; equal ones lie in the middle."""
    places, _ = _places([value if value is not None else "none" for value in values])
    scaled = np.log(places) if is_logarithmic(places) else np.array(places)
    low, high = (scaled.min(), scaled.max()) if len(scaled) else (0.0, 0.0)
    return ((scaled - low) / (high - low)).tolist() if high > low else [0.5] * len(places)


def _ends(values: Sequence[Any]) -> tuple[str, str]:
    places, ticks = _places([value if value is not None else "none" for value in values])
    if ticks:
        return _short(ticks[0]), _short(ticks[-1])
    return (show_value(min(values)), show_value(max(values))) if places else ("", "")
