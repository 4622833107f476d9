"""The blend in a report, read from the provenance file that ``python -m ensemble.export`` leaves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.figures import HALF_WIDTH, PAGE, Look, new_figure
from search.report_page import Section, code_block, figure, paragraph, table
from textclf.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KNOWN_FORMAT = 1
ENDING = ".provenance.json"


def find_blend(folder: Path | None, study_name: str) -> dict[str, Any] | None:
    """The latest blend of a study among the provenance files of a folder; None where there is none."""
    found = [read_blend(path) for path in sorted(folder.glob(f"*{ENDING}"))] if folder is not None else []
    mine = [blend for blend in found if study_name in blend["study"]["names"]]
    return max(mine, key=lambda blend: blend["created"], default=None)


def read_blend(path: Path) -> dict[str, Any]:
    """A provenance file; raises DataError for any other file."""
    try:
        blend = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); name a file that python -m ensemble.export wrote") from None
    if not isinstance(blend, dict) or blend.get("format") != KNOWN_FORMAT or "scores" not in blend:
        raise DataError(
            f"{path}: holds no blend of format {KNOWN_FORMAT}; make it again with python -m ensemble.export"
        )
    return blend


def blend_section(blend: Mapping[str, Any]) -> Section:
    """Scores with their intervals, members with their weights, how they correlate, and the command."""
    from search.figures import drawing

    recipe, submission = blend["recipe"], blend["submission"]
    parts = [
        paragraph(
            f"Method {recipe['method']} over the {recipe['top']} best members by {blend['metric']}. Cross-fitted: "
            "members, weights and thresholds were found on all folds but one and scored on that one. Fitted: scored "
            "on the rows they were found on, which flatters. These are means over folds; a trial's own score is taken "
            "on all rows at once, so the two may differ a little."
        ),
        table(SCORE_COLUMNS, [_score_row(name, scores) for name, scores in blend["scores"].items()]),
    ]
    with drawing(PAGE):
        figures = figure(draw_intervals(blend["scores"], PAGE), name="intervals", label="Scores with 95% intervals")
        if len(blend["members"]) > 1:
            names = [str(member["trial"]) for member in blend["members"]]
            drawn = draw_correlation(np.array(blend["correlation"], dtype=np.float64), names, PAGE)
            figures += figure(drawn, name="correlation", label="Correlation of the members' out-of-fold predictions")
    parts += [f'<div class="figures">{figures}</div>', table(MEMBER_COLUMNS, map(_member_row, blend["members"]))]
    parts += [paragraph(line, note=True) for line in _remarks(blend)]
    parts.append(
        paragraph(f"{submission['n_rows']:,} rows of {submission['values']} were written to {submission['file']}:")
    )
    parts.append(code_block(blend["command"] or "(made from Python)"))
    return Section("Blend", "\n".join(parts))


SCORE_COLUMNS = (
    ("", "name"),
    ("cross-fitted", "number"),
    ("95% interval", "number"),
    ("gain on best single", "number"),
    ("fitted", "number"),
    ("optimism", "number"),
)
MEMBER_COLUMNS = (
    ("trial", "number"),
    ("weight", "number"),
    ("OOF score", "number"),
    ("lost without it", "number"),
    ("family", "name"),
)


def draw_intervals(scores: Mapping[str, Mapping[str, float | None]], look: Look) -> "Figure":
    """Cross-fitted scores with their 95% intervals, and the fitted ones beside them."""
    drawn, (axes,) = new_figure(HALF_WIDTH, 2.3)
    defined = {name: one for name, one in scores.items() if one["cross_fitted"] is not None}
    names = list(defined)[::-1]
    for place, name in enumerate(names):
        values = {key: np.nan if value is None else value for key, value in defined[name].items()}
        axes.plot([values["low"], values["high"]], [place, place], color=look.accent, linewidth=2)
        axes.plot([values["cross_fitted"]], [place], "o", color=look.accent, label="" if place else "cross-fitted")
        axes.plot([values["fitted"]], [place], "|", color=look.bad, markersize=12, label="" if place else "fitted")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", colors=look.ink)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=5)
    drawn.legend(loc="outside upper left", ncols=2, handletextpad=0.2)
    return drawn


def draw_correlation(
    correlation: "np.ndarray[Any, np.dtype[np.float64]]", names: Sequence[str], look: Look
) -> "Figure":
    """Correlation of members as a matrix; the diagonal is left blank."""
    size = len(names)
    drawn, (axes,) = new_figure(HALF_WIDTH, 1.1 + 0.3 * size)
    others = correlation[~np.eye(size, dtype=bool)]
    low, span = others.min(), (others.max() - others.min()) or 1.0
    for row, column in np.ndindex(size, size):
        if row != column:
            shade = 0.08 + 0.6 * (correlation[row, column] - low) / span
            axes.fill_between([column, column + 1], row, row + 1, color=look.accent, alpha=shade, linewidth=0)
            shown = f"{correlation[row, column]:z.2f}"
            axes.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=7.5)
    middles = np.arange(size) + 0.5
    axes.set_xticks(middles, names)
    axes.set_yticks(middles, names)
    axes.set(xlim=(0, size), ylim=(size, 0), title="Correlation of members")
    axes.grid(visible=False)
    return drawn


def _score_row(name: str, scores: Mapping[str, float | None]) -> list[str]:
    gain = _signed(scores["gain"]) if scores["gain"] else ""
    if gain:
        gain = f"{gain} ({_signed(scores['gain_low'])} to {_signed(scores['gain_high'])})"
    interval = f"{_plain(scores['low'])} to {_plain(scores['high'])}"
    return [name, _plain(scores["cross_fitted"]), interval, gain, _plain(scores["fitted"]), _signed(scores["optimism"])]


def _member_row(member: Mapping[str, Any]) -> list[str]:
    weight = f"{member['weight']:.3f}" if member["weight"] > 0 else "–"
    lost = "" if member["lost_without"] is None else _signed(member["lost_without"])
    return [str(member["trial"]), weight, _plain(member["oof_score"]), lost, str(member["params"].get("family", ""))]


def _remarks(blend: Mapping[str, Any]) -> list[str]:
    lines = []
    if blend["selection_bias"] is not None:
        n_trials = blend["study"]["n_complete_trials"]
        lines.append(
            f"Taking the best of {n_trials} trials flatters by {_signed(blend['selection_bias'])}; the cross-fitted "
            "scores do not include it."
        )
    if blend["thresholds"]:
        lines.append(f"Thresholds: {', '.join(f'{cut:.4f}' for cut in blend['thresholds'])}.")
    if (holdout := blend["holdout"]) is not None:
        interval = f"{_plain(holdout['low'])} to {_plain(holdout['high'])}"
        lines.append(f"On {holdout['n_rows']:,} rows that no trial saw: {_plain(holdout['score'])} ({interval}).")
    return lines


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.5f}"
