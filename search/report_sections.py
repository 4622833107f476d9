"""The sections of a report about trials: who leads, what the best one does, what mattered, what it cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.figures import HALF_WIDTH, PAGE, new_figure
from search.importance import FEWEST_TRIALS, Importances, find_importances
from search.leaderboard import describe_lead, leader_rows
from search.ranking import (
    Standing,
    count_fits,
    count_outcomes,
    families_of,
    family_of,
    rank_trials,
    searched,
    seconds_saved,
    share_done,
    show_seconds,
)
from search.report_page import Section, figure, fold_strip, folded, paragraph, table
from search.study_figures import (
    draw_cost,
    draw_curves,
    draw_history,
    draw_importances,
    draw_parallel,
    draw_pruning,
    draw_slices,
)
from search.trial_figures import oof_panels, worst_mistakes
from textclf.records import StudyRecord, TrialRecord, TrialSummary

N_LEADERS = 15
N_MISTAKES = 15
FEWEST_LINES = 3  # trials of a family, for parallel coordinates
LEADER_COLUMNS = (
    ("", "number"),
    ("trial", "number"),
    ("score", "number"),
    ("folds", "strip"),
    ("mean ± sd", "number"),
    ("behind", "number"),
    ("time", "number"),
    ("family", "name"),
    ("parameters", "long"),
)


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """What a report is made from.

    best: the leading trial with its arrays, None before any is complete
    texts: of the training rows, where the study's inputs are at hand
    where: the options that name the study on a command line
    """

    study: StudyRecord
    trials: Sequence[TrialSummary]
    best: TrialRecord | None
    texts: Sequence[str] | None
    where: str


def leaderboard_section(data: ReportData) -> Section:
    """Who leads and by how much."""
    standings = rank_trials(data.trials)
    if not standings:
        return Section("Leaderboard", paragraph("No trial is complete yet."))
    parts = [paragraph(describe_lead(data.trials)), _leader_table(standings[:N_LEADERS], data)]
    if len(standings) > N_LEADERS:
        rest = _leader_table(standings[N_LEADERS:], data, leader=False)
        parts.append(folded(f"The other {len(standings) - N_LEADERS} complete trials", rest))
    parts.append(
        paragraph(
            "Dots are fold scores, the bar is the score on all out-of-fold rows. Behind: the leader's score minus this "
            "one's, with the standard error of the paired fold differences.",
            note=True,
        )
    )
    parts.append(figure(draw_history(data.trials, PAGE), name="history", label="Score of every trial", wide=True))
    return Section("Leaderboard", "\n".join(parts))


def _leader_table(standings: Sequence[Standing], data: ReportData, *, leader: bool = True) -> str:
    texts = leader_rows(data.trials, data.study.settings)
    folds = [score for one in standings for score in (*one.trial.fold_scores, one.score) if np.isfinite(score)]
    rows = [
        [
            row.rank,
            row.trial,
            row.score,
            fold_strip(one.trial.fold_scores, one.score, low=min(folds), high=max(folds)),
            row.folds,
            row.behind,
            row.time,
            row.family,
            row.parameters,
        ]
        for one, row in ((one, texts[one.rank - 1]) for one in standings)
    ]
    return table(LEADER_COLUMNS, rows, leader=leader)


def curves_section(data: ReportData) -> Section | None:
    """Learning curves of the best networks; None where no trial has epochs."""
    learned = [one.trial for one in rank_trials(data.trials) if any(point["epoch"] > 0 for point in one.trial.curves)]
    if not learned:
        return None
    figures = "".join(
        figure(draw_curves(learned, PAGE, value=value), name=value, label=f"{value} by epoch")
        for value in ("train_loss", "valid_loss", "valid_score")
    )
    text = "Mean over folds, with their range, of the best trials that train in epochs."
    return Section("Learning curves", paragraph(text) + f'<div class="figures">{figures}</div>')


def best_trial_section(data: ReportData) -> Section | None:
    """Out-of-fold figures and the worst mistakes of the leading trial."""
    if data.best is None:
        return None
    figures = ""
    for name, draw in oof_panels(data.study, data.best, PAGE).items():
        drawn, (axes,) = new_figure(HALF_WIDTH, 3.4)
        draw(axes)
        figures += figure(drawn, name=name, label=f"{name.replace('_', ' ')} of trial {data.best.number}")
    mistakes = worst_mistakes(data.study, data.best, n_rows=N_MISTAKES, texts=data.texts)
    kinds = {"id": "name", "loss": "number", "true": "name", "thought": "name", "text": "text"}
    listed = table([(name, kinds[name]) for name in mistakes[0]], [[*mistake.values()] for mistake in mistakes])
    return Section(
        "Best trial",
        paragraph(f"Predictions of trial {data.best.number} for rows that its models never saw.")
        + f'<div class="figures">{figures}</div>\n'
        + folded(f"Its {len(mistakes)} worst mistakes", listed),
    )


def parameters_section(data: ReportData) -> Section | None:
    """What the parameters did to the score; None where nothing was searched."""
    names = searched(data.trials)
    standings = rank_trials(data.trials)
    if not standings or not any(names.values()):
        return None
    found = find_importances(data.trials)
    parts = [_importance_part(found)]
    order = [name for one in found for name in one.shares] + [name for listed in names.values() for name in listed]
    slices = draw_slices(data.trials, [*dict.fromkeys(order)], PAGE)
    parts += ["<h3>Score by parameter</h3>", figure(slices, name="slices", label="Score by parameter", wide=True)]
    for family in families_of(data.trials):
        n_complete = sum(one.family == family for one in standings)
        if names[family] and n_complete >= FEWEST_LINES:
            parts.append(f"<h3>{family}, {n_complete} complete trials</h3>")
            drawn = draw_parallel(data.trials, family, PAGE)
            parts.append(figure(drawn, name=f"parallel-{family}", label=f"Parameters of {family}", wide=True))
    return Section("Parameters", "\n".join(parts))


def _importance_part(found: Sequence[Importances]) -> str:
    if not found:
        return paragraph(
            f"Importances need {FEWEST_TRIALS} complete trials of one family; there are fewer so far.", note=True
        )
    figures = "".join(
        f"<div><h3>{one.scope}, {one.n_trials} trials</h3>"
        + figure(draw_importances(one.shares, PAGE), name=f"importance-{place}", label=f"Importances: {one.scope}")
        + "</div>"
        for place, one in enumerate(found)
    )
    text = (
        "Importances by fANOVA (Hutter et al. 2014): shares of the variance that a random forest explains, on complete "
        "trials. With few trials they are noise."
    )
    return paragraph(text) + f'<div class="figures">{figures}</div>'


def cost_section(data: ReportData) -> Section:
    """Time, pruning and failures."""
    trials, counts = data.trials, count_outcomes(data.trials)
    text = f"{show_seconds(sum(trial.seconds for trial in trials))} of training in {len(trials)} trials."
    pruned = [trial for trial in trials if trial.outcome == "pruned"]
    if pruned:
        share = float(np.mean([share_done(trial, data.study) for trial in pruned]))
        text += (
            f" {counts['pruned']} were pruned, after {share:.0%} of their training on average: about "
            f"{show_seconds(seconds_saved(trials, data.study))} saved, at their own pace."
        )
    columns = [
        ("family", "name"),
        *((name, "number") for name in ("complete", "pruned", "failed", "median time", "best")),
    ]
    parts = [paragraph(text), table(columns, [_family_row(family, trials) for family in families_of(trials)])]
    figures = figure(draw_cost(trials, PAGE), name="cost", label="Score against time")
    figures += figure(draw_pruning(trials, data.study, PAGE), name="pruning", label="Reports of running trials")
    parts.append(f'<div class="figures">{figures}</div>')
    ended = [trial for trial in trials if trial.outcome != "complete"]
    if ended:
        columns = [("trial", "number"), ("outcome", "name"), ("done", "number"), ("family", "name"), ("reason", "long")]
        rows = [
            [trial.number, trial.outcome, f"{share_done(trial, data.study):.0%}", family_of(trial), _line(trial.reason)]
            for trial in ended
        ]
        parts.append(folded(f"{len(ended)} pruned or failed trials", table(columns, rows)))
    return Section("Time and pruning", "\n".join(parts))


def _line(reason: str) -> str:
    """The telling line of a reason: the last one of a traceback."""
    lines = reason.strip().splitlines()
    return lines[-1] if lines else ""


def _family_row(family: str, trials: Sequence[TrialSummary]) -> list[Any]:
    mine = [trial for trial in trials if family_of(trial) == family]
    counts, standings = count_outcomes(mine), rank_trials(mine)
    median = float(np.median([trial.seconds for trial in mine]))
    best = f"{standings[0].score:.5f}" if standings else ""
    return [family, counts["complete"], counts["pruned"], counts["failed"], show_seconds(median), best]


def key_numbers(data: ReportData, blend: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """The few numbers at the head of the page."""
    counts = count_outcomes(data.trials)
    standings = rank_trials(data.trials)
    seconds = sum(trial.seconds for trial in data.trials)
    told = ", ".join(f"{n_trials} {outcome}" for outcome, n_trials in counts.items() if n_trials)
    found: list[tuple[str, str, str]] = []
    if standings:
        leader = standings[0]
        remark = f"trial {leader.trial.number}, folds {leader.fold_mean:.4f} ± {leader.fold_std:.4f}"
        found.append((f"best {data.study.metric}", f"{leader.score:.5f}", remark))
    if blend is not None:
        name, scores = next(reversed(blend["scores"].items()))
        value = "undefined" if scores["cross_fitted"] is None else f"{scores['cross_fitted']:.5f}"
        n_weighted = sum(member["weight"] > 0 for member in blend["members"])
        found.append((name, value, f"cross-fitted, {n_weighted} members"))
    found.append(("trials", str(len(data.trials)), told))
    remark = f"{count_fits(data.study)} models per complete trial"
    return [*found, ("training", show_seconds(seconds), remark)]
