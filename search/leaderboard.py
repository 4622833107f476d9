"""The lines of a leaderboard as texts, for the terminal, MLflow and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.ranking import describe_params, families_of, rank_trials, searched, show_seconds
from textclf.store import TrialSummary

if TYPE_CHECKING:
    from rich.table import Table


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


def leader_table(rows: Sequence[LeaderRow], columns: Sequence[str], *, metric: str, title: str = "") -> "Table":
    """A leaderboard for the terminal; a column that is empty in every row is left out."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    shown = [column for column in columns if any(getattr(row, column) for row in rows)]
    for column in shown:
        heading = {"rank": "", "score": metric}.get(column, column)
        table.add_column(heading, justify="left" if column in ("family", "parameters") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(getattr(row, column) for column in shown))
    return table


def shown_params(trials: Sequence[TrialSummary], settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Per family, the parameters that differ between its trials; where none does yet, those that are searched."""
    differing = searched(trials)
    return {family: differing[family] or space_params(settings, family) for family in families_of(trials)}


def space_params(settings: Mapping[str, Any], family: str) -> list[str]:
    """The parameters of a family that its study searches, in their order; those with one value are left out."""
    ranges: Mapping[str, Mapping[str, Any]] = settings.get("space", {}).get(family, {})
    return [name for name, values in ranges.items() if len(values.get("choices", (0, 1))) > 1]
