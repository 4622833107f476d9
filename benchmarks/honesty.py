"""Is a cross-fitted score what rows never seen will say? Seven real data sets, ten hold-outs.

For each hold-out of 10% a pool of twelve quick linear members is trained by 5 folds on the other 90%. Every way to
blend is found there and claims a score: cross-fitted, and fitted (found and scored on the same rows). The truth is the
score of that blend on the hold-out, by each fold's models in turn, which is what both claim to estimate; and by the
fold models averaged, which is what is shipped and does a little better.

    python -m benchmarks.honesty [--repeats 10] [--data sst2 --data trec ...]

Writes benchmarks/results/honesty.csv (every number) and honesty.md (the table); numbers of data sets that were not
asked for are kept. About an hour on one core.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from benchmarks.linear_pool import FILES, MEMBERS, N_FOLDS, DataSet, LinearPool, read_data_set, train_pool
from benchmarks.tables import RESULTS
from ensemble.crossfit import cross_fit, fit_all
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from textclf.arrays import FloatArray, IntArray
from textclf.folds import plan_folds
from textclf.metrics import get_metric

RECIPES = {
    "best single": Recipe(method="best", top=1, redundant=1.0),
    "plain mean": Recipe(method="mean"),
    "greedy": Recipe(method="greedy"),
    "logistic": Recipe(method="logistic"),
    "auto": Recipe(method="auto"),
}
SHARE_HELD_OUT = 0.1

PREFACE = """\
# Are cross-fitted scores honest?

{n_data} real data sets, {n_repeats} hold-outs of {share:.0%} each (seeds 0 to {last_seed}), pools of {n_members} linear
and naive Bayes members over {n_folds} folds of the rest. Written by `python -m benchmarks.honesty`; every number is in
`honesty.csv`.

A gap is a claimed score minus the score on the hold-out (of each fold's models, averaged over folds): mean ± standard
error over hold-outs. An honest claim has gaps that average to zero. Scores are higher-is-better; log loss is negated.

## Over all data sets and metrics

Gaps in standard errors of their row, averaged over rows: an honest claim stays within one standard error (the ±) of
zero. Rows of one data set share their hold-outs, so the ± is a little too small. What is shipped averages the fold
models and does better than each of them; its gap (last column) shows how cautious a cross-fitted claim is about that.

| way | cross-fitted gap | rows within one error | fitted gap | fitted above cross-fitted | gap to what is shipped |
|:--|--:|--:|--:|--:|--:|
"""
HEADING = """
## {way}

| data | metric | cross-fitted | hold-out | cross-fitted gap | fitted gap | optimism | averaging |
|:--|:--|--:|--:|--:|--:|--:|--:|
"""
LAST_WORD = """
Optimism is the fitted minus the cross-fitted score. The last column is what averaging the fold models adds on the
hold-out: shipped predictions do that much better.
"""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a way to blend claimed, and what the hold-out said: of the fold models in turn, and of their average."""

    data: str
    metric: str
    recipe: str
    repeat: int
    cross_fitted: float
    fitted: float
    held_out: float
    shipped: float


def claims_of(data: DataSet, pool: LinearPool, *, repeat: int) -> Iterator[Claim]:
    """Let every recipe claim a score for every metric of the data set, and look at the hold-out."""
    for name in data.metrics:
        metric = get_metric(name, data.task)
        known = Evidence(proba=pool.oof, labels=pool.labels, fold_of_row=pool.fold_of_row, metric=metric, seed=repeat)
        for way, recipe in RECIPES.items():
            found = fit_all(recipe.fit, known)
            truths = [
                metric.score(pool.held_out_labels, found.blend.apply(proba), found.thresholds)
                for proba in (*pool.held_out, pool.held_out.mean(axis=0))
            ]
            yield Claim(
                data=data.name,
                metric=name,
                recipe=way,
                repeat=repeat,
                cross_fitted=cross_fit(recipe.fit, known).score,
                fitted=found.score,
                held_out=float(np.mean(truths[:-1])),
                shipped=truths[-1],
            )


def run(names: list[str], *, n_repeats: int) -> list[Claim]:
    """Train, blend and judge; repeat r holds out the rows of seed r."""
    claims: list[Claim] = []
    for name in names:
        data = read_data_set(name)
        for repeat in range(n_repeats):
            rows, held_out = set_apart(data, seed=repeat)
            claims += claims_of(data, train_pool(data, rows, held_out, seed=repeat), repeat=repeat)
            print(name, repeat, flush=True)
    return claims


def set_apart(data: DataSet, *, seed: int) -> tuple[IntArray, IntArray]:
    """Rows of a pool, and the tenth that is held out of it; stratified, by the study's own folds if multilabel."""
    if data.task.kind == "multilabel":
        part = plan_folds(data.labels, data.task, n_folds=round(1 / SHARE_HELD_OUT), seed=seed).fold_of_row[0]
        return np.flatnonzero(part != 0), np.flatnonzero(part == 0)
    splitter = StratifiedShuffleSplit(1, test_size=SHARE_HELD_OUT, random_state=seed)
    rows, held_out = next(splitter.split(data.labels, data.labels))
    return rows, held_out


def gaps(claims: list[Claim], claimed: str, truth: str = "held_out") -> FloatArray:
    """Claimed score minus the truth, of each repeat."""
    return np.array([getattr(claim, claimed) - getattr(claim, truth) for claim in claims])


def cell(differences: FloatArray) -> str:
    """Mean and standard error."""
    return f"{differences.mean():+.4f} ± {differences.std(ddof=1) / np.sqrt(len(differences)):.4f}"


def standard_scores(rows: list[list[Claim]], claimed: str, truth: str = "held_out") -> FloatArray:
    """Mean gap of each row in its own standard errors."""
    differences = [gaps(row, claimed, truth) for row in rows]
    return np.array([one.mean() / (one.std(ddof=1) / np.sqrt(len(one))) for one in differences])


def summary_line(way: str, rows: list[list[Claim]]) -> str:
    """How far a way's claims are off over all data sets, in standard errors."""
    honest, fitted = (standard_scores(rows, claimed) for claimed in ("cross_fitted", "fitted"))
    shipped = standard_scores(rows, "cross_fitted", "shipped")
    told = [f"{scores.mean():+.2f} ± {1 / np.sqrt(len(rows)):.2f}" for scores in (honest, fitted, shipped)]
    within = int((np.abs(honest) <= 1).sum())
    above = (np.concatenate([gaps(row, "fitted", "cross_fitted") for row in rows]) > 0).mean()
    return f"| {way} | {told[0]} | {within} of {len(rows)} | {told[1]} | {above:.0%} | {told[2]} |\n"


def render(claims: list[Claim]) -> str:
    """The tables as Markdown."""
    cases = list({(claim.data, claim.metric): None for claim in claims})
    n_repeats = len({claim.repeat for claim in claims})
    rows_of = {
        way: [[claim for claim in claims if (claim.data, claim.metric, claim.recipe) == (*case, way)] for case in cases]
        for way in RECIPES
    }
    preface = PREFACE.format(
        n_data=len({data for data, _ in cases}),
        n_repeats=n_repeats,
        last_seed=n_repeats - 1,
        share=SHARE_HELD_OUT,
        n_members=len(MEMBERS),
        n_folds=N_FOLDS,
    )
    summary = "".join(summary_line(way, rows) for way, rows in rows_of.items())
    tables = "".join(HEADING.format(way=way) + "".join(map(table_line, rows)) for way, rows in rows_of.items())
    return preface + summary + tables + LAST_WORD


def table_line(row: list[Claim]) -> str:
    """One data set and metric."""
    means = [np.mean([getattr(claim, name) for claim in row]) for name in ("cross_fitted", "held_out")]
    return (
        f"| {row[0].data} | {row[0].metric} | {means[0]:.4f} | {means[1]:.4f} | {cell(gaps(row, 'cross_fitted'))} | "
        f"{cell(gaps(row, 'fitted'))} | {cell(gaps(row, 'fitted', 'cross_fitted'))} | "
        f"{cell(gaps(row, 'shipped', 'held_out'))} |\n"
    )


def read_claims(path: Path) -> list[Claim]:
    """Claims of an earlier run."""
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Claim)}
    with path.open(newline="", encoding="utf-8") as file:
        return [Claim(**{name: kinds[name](cell) for name, cell in row.items()}) for row in csv.DictReader(file)]


def main() -> None:
    """Run and write, or only write the table anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--data", action="append", choices=list(FILES))
    parser.add_argument("--render", action="store_true", help="only write honesty.md from honesty.csv")
    options = parser.parse_args()
    numbers = RESULTS / "honesty.csv"
    if not options.render:
        asked = options.data or list(FILES)
        kept = [claim for claim in read_claims(numbers) if claim.data not in asked] if numbers.exists() else []
        claims = sorted(kept + run(asked, n_repeats=options.repeats), key=lambda claim: list(FILES).index(claim.data))
        with numbers.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Claim)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(claim) for claim in claims)
    (RESULTS / "honesty.md").write_text(render(read_claims(numbers)), encoding="utf-8")


if __name__ == "__main__":
    main()
