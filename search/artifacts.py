"""Figures and tables for the tracker: files in a folder, which search/tracking.py hands to MLflow.

Drawing takes a second per trial, so it is done for the best trials at the end of a study, not for every one.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.figures import PRINT, drawing, to_png
from search.importance import find_importances
from search.leaderboard import describe_lead, leader_rows
from search.ranking import (
    count_outcomes,
    families_of,
    family_of,
    rank_trials,
    searched,
    seconds_saved,
    share_done,
    show_seconds,
)
from search.study_figures import (
    draw_cost,
    draw_curves,
    draw_history,
    draw_importances,
    draw_parallel,
    draw_pruning,
    draw_slices,
)
from search.trial_figures import draw_oof, worst_mistakes
from textclf.records import StudyRecord, TrialRecord, TrialSummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_MISTAKES = 50
N_LEADERS = 10
HOW_TO_READ = (
    "Folds: mean and standard deviation. Behind: the leader's score minus this one's, with the standard error of the "
    "paired fold differences."
)
FEWEST_LINES = 2  # of trials, for a parallel-coordinates figure


def write_trial_artifacts(
    folder: Path, study: StudyRecord, trial: TrialRecord, *, texts: Sequence[str] | None = None
) -> None:
    """Write out_of_fold.png, learning_curves.png and worst_mistakes.csv of a complete trial.

    texts: of the training rows in file order; without them the table has ids only
    """
    with drawing(PRINT):
        _save(folder / "out_of_fold.png", draw_oof(study, trial, PRINT))
        if trial.curves:
            _save(folder / "learning_curves.png", draw_curves([trial], PRINT, value="valid_loss"))
    mistakes = worst_mistakes(study, trial, n_rows=N_MISTAKES, texts=texts)
    _write_csv(folder / "worst_mistakes.csv", mistakes)


def write_study_artifacts(folder: Path, study: StudyRecord, trials: Sequence[TrialSummary]) -> None:
    """Write the figures of a study and leaderboard.csv; those that have nothing to show are left out."""
    with drawing(PRINT):
        for name, draw in study_figures(study, trials).items():
            _save(folder / f"{name}.png", draw())
    _write_csv(folder / "leaderboard.csv", leaderboard_rows(trials))


def study_figures(study: StudyRecord, trials: Sequence[TrialSummary]) -> "dict[str, Callable[[], Figure]]":
    """How to draw each figure of a study by its file name."""
    if not rank_trials(trials):
        return {}
    names = dict.fromkeys(name for names in searched(trials).values() for name in names)
    figures: dict[str, Callable[[], Figure]] = {
        "history": lambda: draw_history(trials, PRINT),
        "pruning": lambda: draw_pruning(trials, study, PRINT),
        "time": lambda: draw_cost(trials, PRINT),
    }
    if names:
        figures["slices"] = lambda: draw_slices(trials, [*names], PRINT)
    for family in families_of(trials):
        if searched(trials)[family] and sum(s.family == family for s in rank_trials(trials)) >= FEWEST_LINES:
            figures[f"parallel_{family}"] = partial(draw_parallel, trials, family, PRINT)
    for found in find_importances(trials):
        name = f"importance_{found.scope.replace(' ', '_')}"
        figures[name] = partial(draw_importances, found.shares, PRINT)
    return figures


def leaderboard_rows(trials: Sequence[TrialSummary]) -> list[dict[str, Any]]:
    """One flat row per complete trial, best first: place, scores, cost and every parameter."""
    return [
        {
            "rank": standing.rank,
            "trial": standing.trial.number,
            "score": standing.score,
            "fold_mean": standing.fold_mean,
            "fold_std": standing.fold_std,
            "gap": standing.gap,
            "gap_error": standing.gap_error,
            "seconds": round(standing.trial.seconds, 2),
            **standing.trial.params,
        }
        for standing in rank_trials(trials)
    ]


def leaderboard_note(study: StudyRecord, trials: Sequence[TrialSummary]) -> str:
    """The parent run's description in Markdown: where the study stands, and its ten best trials."""
    counts = count_outcomes(trials)
    told = ", ".join(f"{n_trials} {outcome}" for outcome, n_trials in counts.items() if n_trials)
    seconds = sum(trial.seconds for trial in trials)
    what = f"{study.task.kind}, {len(study.train_ids):,} rows, metric `{study.metric}` (higher is better)"
    lines = [f"**{study.name}**: {what}. {told or 'No trial yet'}; {show_seconds(seconds)} of training."]
    if saved := seconds_saved(trials, study):
        lines.append(f"Pruning saved about {show_seconds(saved)}.")
    rows = leader_rows(trials, study.settings)[:N_LEADERS]
    if rows:
        lines.append(describe_lead(trials))
        lines += ["", "| | trial | score | folds | behind | time | family | parameters |"]
        lines += ["|--:|--:|--:|--:|--:|--:|:--|:--|"]
        for row in rows:
            lines.append(
                f"| {row.rank} | {row.trial} | {row.score} | {row.folds} | {row.behind} | {row.time} | {row.family} | "
                f"{row.parameters} |"
            )
        lines += ["", HOW_TO_READ]
    return "\n".join(lines)


def trial_note(study: StudyRecord, trial: TrialSummary) -> str:
    """A trial's description in Markdown: what it is, how it ended, what it cost."""
    family = family_of(trial)
    for standing in rank_trials([trial]):
        folds = f"folds {standing.fold_mean:.4f} ± {standing.fold_std:.4f}"
        return f"**{family}**: `{study.metric}` {standing.score:.5f}, {folds}, {show_seconds(trial.seconds)}."
    done = f"{share_done(trial, study):.0%} of its training done in {show_seconds(trial.seconds)}"
    return f"**{family}**: {trial.outcome}, {done}. {trial.reason}"


def _save(path: Path, figure: "Figure") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(figure))


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[*columns])
        writer.writeheader()
        writer.writerows(rows)
