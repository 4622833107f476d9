"""What a blend is worth, as a person reads it in a terminal."""

from typing import TYPE_CHECKING

import numpy as np

from ensemble.evaluate import Judged
from ensemble.provenance import provenance_path

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ensemble.study import BlendResult

MOST_LISTED = 15
LARGE_GAP = 2.0  # half widths of the hold-out interval


def print_report(console: "Console", result: "BlendResult") -> None:
    """Print scores, members and whatever should give pause."""
    study = result.pool.study
    n_blended = int((result.weights > 0).sum())
    console.print(
        f"[bold]{study.name}[/]: {result.pool.n_complete} complete trials, {len(study.train_ids):,} rows, "
        f"{study.task.kind}, metric [bold]{result.metric.name}[/] (higher is better)\n"
    )
    console.print(score_table(result))
    console.print(gain_line(result.evaluation.blend))
    for line in remarks(result):
        console.print(line, style="dim")
    console.print()
    console.print(member_table(result))
    console.print(diversity_line(result), style="dim")
    for drift in result.drift:
        for warning in drift.warnings:
            console.print(f"[yellow]warning:[/] {warning}")
    if result.submission is not None:
        console.print(
            f"\n{len(result.plan.rows):,} rows of {result.plan.values} from {n_blended} "
            f"member{'s' * (n_blended != 1)}: [bold]{result.submission}[/]\n"
            f"how it was made: {provenance_path(result.submission)}",
            soft_wrap=True,
        )


def score_table(result: "BlendResult") -> "Table":
    """Best single member, plain mean and blend."""
    from rich.table import Table

    table = Table(title="What it is worth", title_justify="left", title_style="bold")
    for column in ("", "cross-fitted", "95% interval", "fitted", "optimism"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for judged in result.evaluation.judged:
        table.add_row(
            judged.name,
            f"{judged.cross_fitted:.5f}",
            f"{judged.low:.5f} to {judged.high:.5f}",
            f"{judged.fitted:.5f}",
            f"{judged.optimism:+.5f}",
            style="bold" if judged is result.evaluation.blend else "",
        )
    return table


def gain_line(judged: Judged) -> str:
    """A gain on the best single member with its interval, green where it is above zero; below, what to do instead."""
    interval = f"95% interval {judged.gain_low:+.5f} to {judged.gain_high:+.5f}"
    if judged.gain_high < 0:
        advice = "submit that member alone" + ", or try --method auto" * (judged.recipe.method != "auto")
        return f"[red]the {judged.name} loses {-judged.gain:.5f} to the best single member[/] ({interval}); {advice}"
    colour = "green" if judged.gain_low > 0 else "default"
    return f"[{colour}]the {judged.name} gains {judged.gain:+.5f} on the best single member[/] ({interval})"


def remarks(result: "BlendResult") -> list[str]:
    """How to read the scores, the price of choosing, and the hold-out."""
    evaluation, study = result.evaluation, result.pool.study
    lines = [
        "cross-fitted: members, weights and thresholds found on all folds but one, scored on that one",
        f"not in them: {evaluation.selection_bias:.5f} by which the best of {evaluation.n_members} trials flatters",
    ]
    if evaluation.blend.recipe.method == "auto":
        lines.append(f"auto took {evaluation.blend.resolved.method} on all rows")
    thresholds = evaluation.blend.found.thresholds
    if thresholds is not None:
        lines.append(f"thresholds of the blend: {', '.join(f'{cut:.4f}' for cut in thresholds)}")
    if result.holdout is not None:
        claim = evaluation.blend.cross_fitted
        gap = result.holdout.score - claim
        far = abs(gap) > LARGE_GAP * (result.holdout.high - result.holdout.low) / 2
        verdict = "far from the claim: look for a leak or a shift" if far else "in line with the claim"
        lines.append(
            f"hold-out, {result.holdout.n_rows:,} rows no trial saw: {result.holdout.score:.5f} "
            f"({result.holdout.low:.5f} to {result.holdout.high:.5f}), {gap:+.5f} from cross-fitted, {verdict}"
        )
    elif study.holdout_ids:
        lines.append(f"{len(study.holdout_ids):,} rows were set apart; --holdout scores the blend on them")
    return lines


def member_table(result: "BlendResult") -> "Table":
    """The members considered, with weight and what the blend loses without them."""
    from rich.table import Table

    table = Table(title="Members", title_justify="left", title_style="bold")
    for column in ("member", "weight", "OOF score", "lost without it", "family", "seconds"):
        table.add_column(column, justify="left" if column in ("member", "family") else "right")
    for place in result.chosen[:MOST_LISTED]:
        member = result.pool.members[place]
        lost = result.lost_without[place]
        table.add_row(
            member.name,
            f"{result.weights[place]:.3f}" if result.weights[place] > 0 else "",
            f"{member.score:.5f}",
            "" if np.isnan(lost) else f"{lost:+.5f}",
            str(member.params.get("family", "")),
            f"{member.seconds:.0f}",
            style="" if result.weights[place] > 0 else "dim",
        )
    return table


def diversity_line(result: "BlendResult") -> str:
    """Mean correlation and disagreement of the members with weight."""
    held = np.flatnonzero(result.weights[result.chosen] > 0)
    passed_over = min(result.evaluation.blend.recipe.top, len(result.pool.members)) - len(result.chosen)
    near_copies = f"; {passed_over} near copies passed over" if passed_over else ""
    if len(held) < 2:
        return f"one member has all the weight{near_copies}"
    pairs = np.triu_indices(len(held), k=1)
    correlation = result.diversity.correlation[np.ix_(held, held)][pairs].mean()
    disagreement = result.diversity.disagreement[np.ix_(held, held)][pairs].mean()
    return (
        f"members with weight: mean correlation {correlation:.3f}, {disagreement:.1%} of decisions differ between two"
        f"{near_copies}"
    )
