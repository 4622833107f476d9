"""The lines of a leaderboard as texts, for the terminal, MLflow and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from search.ranking import best_so_far, describe_params, rank_trials, searched, show_seconds
from textclf.records import TrialSummary

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2  # spaces between columns
FEWEST_PARAMETERS = 24  # characters of the parameters, below which they are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderRow:
    """One complete trial in words.

    folds: mean and standard deviation of the fold scores
    behind: the leader's score minus this one's, with the standard error of the paired fold differences; empty for the
        leader
    parameters: those that tell the trials of its family apart
    """

    rank: str
    trial: str
    score: str
    folds: str
    behind: str
    time: str
    family: str
    parameters: str


def leader_rows(trials: Sequence[TrialSummary], settings: Mapping[str, Any]) -> list[LeaderRow]:
    """The complete trials, best first; settings: the study's, whose space names the parameters."""
    names = shown_params(trials, settings)
    return [
        LeaderRow(
            rank=str(one.rank),
            trial=str(one.trial.number),
            score=f"{one.score:.5f}",
            folds=f"{one.fold_mean:.4f} ± {one.fold_std:.4f}",
            behind="" if one.rank == 1 else f"{one.gap:.4f} ± {one.gap_error:.4f}",
            time=show_seconds(one.trial.seconds),
            family=one.family,
            parameters=describe_params(one.trial.params, names[one.family]),
        )
        for one in rank_trials(trials)
    ]


def describe_lead(trials: Sequence[TrialSummary]) -> str:
    """Who leads, by how much against its spread, and since when; empty where no trial is complete."""
    standings = rank_trials(trials)
    if not standings:
        return ""
    leader = standings[0]
    text = f"Trial {leader.trial.number} ({leader.family}) leads with {leader.score:.5f}."
    rivals = [one for one in standings[1:] if one.gap <= 2 * one.gap_error]
    if len(standings) > 1:
        runner_up = standings[1]
        text += f" Trial {runner_up.trial.number} is {runner_up.gap:.5f} ± {runner_up.gap_error:.5f} behind."
    if rivals:
        text += f" {len(rivals)} {'trials are' if len(rivals) > 1 else 'trial is'} within two standard errors of it."
    n_since = max(trial.number for trial in trials) - best_so_far(trials)[-1][0]
    return text + (f" The {n_since} trials after it found nothing better." if n_since > 1 else "")


def leader_table(rows: Sequence[LeaderRow], columns: Sequence[str], *, metric: str, title: str = "") -> "Table":
    """A leaderboard for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, GAP, 0, 0))
    for column in columns:
        told = column == "parameters"  # the one that rich may narrow; its cells are cut all the same, not wrapped
        side: Literal["left", "right"] = "left" if column in ("family", "parameters") else "right"
        table.add_column(_heading(column, metric), justify=side, no_wrap=not told)
    for row in rows:
        cells = (getattr(row, column) for column in columns)
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    return table


def fitting_columns(rows: Sequence[LeaderRow], columns: Sequence[str], *, metric: str, width: int) -> list[str]:
    """The columns that have something to show and room for it, so that no number is cut.

    Where a terminal is narrow the parameters go first, then the folds.
    """
    widths = {
        column: GAP + max(len(_heading(column, metric)), *(len(getattr(row, column)) for row in rows))
        for column in columns
        if any(getattr(row, column) for row in rows)
    }
    if "parameters" in widths:
        widths["parameters"] = min(widths["parameters"], FEWEST_PARAMETERS)
    for column in ("parameters", "folds"):
        if sum(widths.values()) > width:
            widths.pop(column, None)
    return [*widths]


def _heading(column: str, metric: str) -> str:
    return {"rank": "", "score": metric}.get(column, column)


def shown_params(trials: Sequence[TrialSummary], settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Per family, the parameters that differ between its trials; where none does yet, those that are searched."""
    shown = {}
    for family, differing in searched(trials).items():
        known = space_params(settings, family)
        shown[family] = sorted(differing, key=lambda name: known.index(name) if name in known else len(known)) or known
    return shown


def space_params(settings: Mapping[str, Any], family: str) -> list[str]:
    """The parameters of a family that its study searches, in their order; those with one value are left out."""
    ranges: Mapping[str, Mapping[str, Any]] = settings.get("space", {}).get(family, {})
    return [name for name, values in ranges.items() if len(values.get("choices", (0, 1))) > 1]
