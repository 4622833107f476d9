"""What a pruner saves, and how often it prunes a trial that would have been among the best five.

    python -m benchmarks.pruning [--data ../shared/data/sst2] [--rows 4000] [--n-trials 40] [--orders 20]

A study without pruning runs every trial to its end: the truth. Its trials are then replayed in random orders through
the search's own run_trial: the pruner hears the recorded epochs and row losses, sees what a frozen view of lag 4 would
show, and ends trials as it would have. Time saved is the share of training time that pruned trials did not take; a
false prune is a pruned trial that is among the best five of the full runs. Writes benchmarks/results/pruning_DATA.md.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.tables import describe_machine, write_table
from search.api import run_study
from search.objective import run_trial
from search.pruning import NONE, PAIRED
from search.spec import Incumbent, TrialJob, TrialSpec
from search.worker import Hooks
from textclf.crossval import EpochPoint, FoldEvent, OnEvent, OofRun
from textclf.inputs import Inputs, load_inputs
from textclf.metrics import row_losses
from textclf.records import StudyRecord, TrialRecord

LAG, N_BEST = 4, 5
NOTE = (
    "{n_trials} full 5-fold runs on {n_rows:,} rows, {metric}, parameters drawn at random over {families}; scores "
    "{best:.4f} (best), {fifth:.4f} (fifth), {median:.4f} (median). Replayed in {n_orders} random orders under a "
    "frozen view of lag 4: mean ± standard deviation over orders. False prunes: pruned trials that are among the best "
    "five of the full runs."
)
PRUNERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (PAIRED, {}),
    (PAIRED, {"margin": 0.0}),
    (PAIRED, {"margin": 0.05}),
    (PAIRED, {"margin": 0.2}),
    (PAIRED, {"margin": 0.5}),
    ("wilcoxon", {}),
    ("median", {}),
    ("asha", {}),
    ("hyperband", {}),
)


@dataclass(frozen=True)
class Replay:
    """Full runs of a study, to be pruned again and again."""

    study: StudyRecord
    inputs: Inputs
    trials: Sequence[TrialRecord]

    def prune(self, order: Sequence[int], pruner: str, kwargs: Mapping[str, Any]) -> tuple[float, int]:
        """(share of the time saved, false prunes among the best five) of one order of the trials."""
        best = set(sorted(range(len(self.trials)), key=lambda place: -(self.trials[place].score or 0.0))[:N_BEST])
        done: list[TrialRecord] = []
        saved = n_false = 0.0
        for number, place in enumerate(order):
            result = self.run(number, self.trials[place], done, pruner, kwargs)
            done.append(result)
            if result.outcome == "pruned":
                saved += seconds_of(self.trials[place].curves) - seconds_of(result.curves)
                n_false += place in best
        return saved / sum(seconds_of(trial.curves) for trial in self.trials), int(n_false)

    def run(
        self, number: int, trial: TrialRecord, done: Sequence[TrialRecord], pruner: str, kwargs: Mapping[str, Any]
    ) -> TrialRecord:
        """A trial under a new number, pruned as it would be after the others."""
        visible = done[: max(0, number - LAG + 1)]
        spec = TrialSpec(
            study=self.study.name,
            number=number,
            params=trial.params,
            seed=0,
            data_digest="",
            fold_digest="",
            metric=self.study.metric,
        )
        job = TrialJob(
            spec=spec,
            pruner=pruner,
            pruner_kwargs=kwargs,
            history=tuple(frozen(one, is_visible=place < len(visible)) for place, one in enumerate(done))
            if pruner not in (PAIRED, NONE)
            else (),
            incumbent=self.incumbent(visible) if pruner == PAIRED else None,
        )
        hooks = Hooks(tell=lambda _: None, should_stop=lambda: False)

        def replay(_inputs: Inputs, _config: Any, *, on_event: OnEvent, **_: Any) -> OofRun:
            return tell_again(trial, self.inputs, on_event)

        return run_trial(job, self.inputs, hooks=hooks, objective=replay)

    def incumbent(self, visible: Sequence[TrialRecord]) -> Incumbent | None:
        """The best complete one of the trials that may be seen."""
        complete = [one for one in visible if one.outcome == "complete"]
        if not complete:
            return None
        best = max(complete, key=lambda one: one.score or 0.0)
        losses = row_losses(np.asarray(self.study.labels), best.oof, self.study.task)
        return Incumbent(number=best.number, row_losses=losses[np.newaxis], reports=best.reports)


def tell_again(trial: TrialRecord, inputs: Inputs, on_event: OnEvent) -> OofRun:
    """Tell of the recorded epochs of a trial; the losses of its held-out rows follow from its predictions."""
    losses = row_losses(np.asarray(inputs.labels), trial.oof, inputs.task)
    points = [dict(point) for point in trial.curves]
    curve = []
    for place, point in enumerate(points):
        held_out = inputs.folds.fold_of_row[0] == int(point["fold"])
        is_last = place + 1 == len(points) or points[place + 1]["fit"] != point["fit"]
        n_epochs = sum(other["fit"] == point["fit"] for other in points)
        fields = {name: point[name] for name in ("train_loss", "valid_loss", "valid_score", "seconds")}
        curve.append(
            EpochPoint(repeat=0, fold=int(point["fold"]), epoch=int(point["epoch"]), n_epochs=n_epochs, **fields)
        )
        final = losses[held_out] if is_last else None
        on_event(FoldEvent(point=curve[-1], n_fits=inputs.folds.n_fits, held_out=held_out, row_losses=final))
    return OofRun(
        oof=trial.oof,
        test_proba=trial.test_proba,
        holdout_proba=trial.holdout_proba,
        score=trial.score or 0.0,
        fold_scores=trial.fold_scores,
        thresholds=trial.thresholds,
        curve=tuple(curve),
        n_parameters=1,
        seconds=trial.seconds,
        notes=(),
    )


def frozen(trial: TrialRecord, *, is_visible: bool) -> FrozenTrial:
    """A replayed trial as the pruner of a later one sees it."""
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    made = optuna.trial.create_trial(state=TrialState.RUNNING)
    if is_visible:
        made.state = states[trial.outcome]
        made.intermediate_values = dict(trial.reports)
        made.value = trial.score if trial.outcome == "complete" else trial.reports[-1][1]
        made.system_attrs = dict(trial.attributes.get("pruner", {}))
    made.number = trial.number
    return made


def seconds_of(curves: Sequence[Mapping[str, float]]) -> float:
    """Training time: the last second of every fit."""
    last: dict[float, float] = {}
    for point in curves:
        last[point["fit"]] = max(last.get(point["fit"], 0.0), point["seconds"])
    return sum(last.values())


def full_runs(folder: Path, told: argparse.Namespace) -> Replay:
    """Run every trial to its end, parameters drawn at random."""
    import pandas as pd

    table = pd.read_csv(told.data / "train.csv")
    table.iloc[: told.rows].to_csv(folder / "train.csv", index=False)
    table.iloc[-200:].to_csv(folder / "test.csv", index=False)
    result = run_study(
        train=folder / "train.csv",
        test=folder / "test.csv",
        text=told.text,
        target=told.target,
        embeddings=told.embeddings,
        metric=told.metric,
        n_trials=told.n_trials,
        n_jobs=told.n_jobs,
        threads=1,
        sampler="random",
        pruner="none",
        output=told.output or folder / "runs",
    )
    output = told.output or folder / "runs"
    trials = [result.trial(one.number) for one in result.summaries if one.outcome == "complete"]
    return Replay(result.study, load_inputs(output / "inputs" / str(result.study.settings["inputs"])), trials)


def compare(replay: Replay, *, n_orders: int) -> list[list[object]]:
    """One row per pruner: time saved and false prunes over random orders."""
    rows: list[list[object]] = []
    for pruner, kwargs in PRUNERS:
        saved, n_false = [], []
        for seed in range(n_orders):
            order = np.random.default_rng(seed).permutation(len(replay.trials)).tolist()
            share, false = replay.prune(order, pruner, kwargs)
            saved.append(share)
            n_false.append(false)
        told = f"{pruner} {json.dumps(kwargs)}" if kwargs else pruner
        mean, deviation = float(np.mean(saved)), float(np.std(saved, ddof=1))
        rate = float(np.mean(n_false)) / N_BEST
        rows.append([told, f"{mean:.0%} ± {deviation:.0%}", f"{rate:.1%}", f"{sum(n_false)} of {N_BEST * n_orders}"])
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run, replay, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sst2"))
    parser.add_argument("--text", default="text")
    parser.add_argument("--target", default="label")
    parser.add_argument("--metric", default="roc_auc")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--embeddings", type=Path, default=Path("../shared/data/glove.6B.100d.top100k.txt.gz"))
    parser.add_argument("--n-trials", type=int, default=40)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--output", type=Path, help="folder of the full runs, kept and gone on with")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        replay = full_runs(Path(name), told)
        rows = compare(replay, n_orders=told.orders)
    families = dict.fromkeys(str(trial.params["family"]) for trial in replay.trials)
    scores = sorted((trial.score or 0.0 for trial in replay.trials), reverse=True)
    write_table(
        f"pruning_{told.data.name}",
        title=f"Pruning on {told.data.name}",
        notes=[
            NOTE.format(
                n_trials=len(replay.trials),
                n_rows=told.rows,
                metric=told.metric,
                families=", ".join(families),
                best=scores[0],
                fifth=scores[N_BEST - 1],
                median=scores[len(scores) // 2],
                n_orders=told.orders,
            ),
            "`paired` without options is the default: alpha 0.05, margin 0.1.",
            f"{describe_machine('optuna')} Made by `python -m benchmarks.pruning`.",
        ],
        header=["pruner", "training time saved", "false prunes", "counted"],
        rows=rows,
    )


if __name__ == "__main__":
    main()
