"""The k-fold objective: predict every training row with a model that never saw it."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from textclf.arrays import BoolArray, FloatArray, IntArray
from textclf.config import TextConfig
from textclf.determinism import derive_seed, exact
from textclf.families import FAMILIES
from textclf.folds import FoldPlan
from textclf.inputs import Inputs
from textclf.metrics import Metric, fitted_score, row_losses, score_oof
from textclf.native.layers import release_buffers
from textclf.protocols import FitTask, Fitted, Predict, Prepared
from textclf.pseudo import fit_twice
from textclf.turns import Turns, side_by_side


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPoint:
    """One validated epoch of one fit.

    valid_score: the metric on the held-out rows, its threshold (where it has one) fitted on them: for curves and
        pruning, never the score of the trial
    seconds: since the fit began
    """

    repeat: int
    fold: int
    epoch: int
    n_epochs: int
    train_loss: float
    valid_loss: float
    valid_score: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldEvent:
    """A validated epoch as the outside hears of it.

    held_out: (n_rows,) mask of the rows the fit never saw
    row_losses: (n_held_out,) float64, log loss of each of them in file order; None before the fit is final
    """

    point: EpochPoint
    n_fits: int
    held_out: BoolArray
    row_losses: FloatArray | None


OnEvent = Callable[[FoldEvent], None]
"""Hears of every validated epoch; raising ends the trial. This is how pruning crosses the seam."""

OnFitted = Callable[[Fitted], None]
"""Hears of every fitted model, repeat by repeat and fold by fold; a model to ship keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutcome:
    """What one fit leaves behind: probabilities (n_rows of each kind, n_outputs) float64, and its curve."""

    held_out_proba: FloatArray
    test_proba: FloatArray
    holdout_proba: FloatArray
    curve: tuple[EpochPoint, ...]
    n_parameters: int
    notes: tuple[str, ...]


class Checkpoints(Protocol):
    """Keeps outcomes of finished fits, so that a long trial resumes at its next one."""

    def read(self, fit_number: int) -> FitOutcome | None:
        """Give back what was written for a fit, or None."""
        ...

    def write(self, fit_number: int, outcome: FitOutcome) -> None:
        """Keep the outcome of a finished fit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OofRun:
    """A cross-validated configuration.

    oof: (n_rows, n_outputs) float64, rows in file order, mean over repeats
    test_proba, holdout_proba: (n_test or n_holdout, n_outputs) float64, mean over all fits
    score: the metric on all OOF rows, thresholds cross-fitted; higher is better
    fold_scores: per fit, repeat-major; thresholds: for new rows, found on all OOF rows
    seconds: of all fits, those too that were restored from checkpoints
    """

    oof: FloatArray
    test_proba: FloatArray
    holdout_proba: FloatArray
    score: float
    fold_scores: tuple[float, ...]
    thresholds: tuple[float, ...] | None
    curve: tuple[EpochPoint, ...]
    n_parameters: int
    seconds: float
    notes: tuple[str, ...]


def ignore_event(event: FoldEvent) -> None:
    """Hear of an epoch and do nothing."""


def ignore_fitted(fitted: Fitted) -> None:
    """Hear of a fitted model and let it go."""


def cross_validate(
    inputs: Inputs,
    config: TextConfig,
    *,
    metric: Metric,
    seed: int,
    device: str = "cpu",
    on_event: OnEvent = ignore_event,
    on_fitted: OnFitted = ignore_fitted,
    checkpoints: Checkpoints | None = None,
) -> OofRun:
    """Fit once per repeat and fold; return OOF, test and hold-out probabilities with their score.

    A pure function of its arguments on one kind of machine: same inputs, config and seed, same bits. A fit
    that was restored from a checkpoint has no model for ``on_fitted`` to hear of.
    """
    began = perf_counter()
    prepared = FAMILIES[config.family].prepare(inputs, config)
    plan, n_outputs = inputs.folds, inputs.task.n_outputs
    n_fits = plan.n_repeats * plan.n_folds
    oof = np.zeros((len(inputs.train), n_outputs))
    test_proba = np.zeros((len(prepared.test), n_outputs))
    holdout_proba = np.zeros((len(prepared.holdout), n_outputs))
    outcomes: list[FitOutcome] = []
    seconds_before = 0.0  # of fits that an earlier run finished

    fits = [
        _FoldFit(inputs, config, metric, device, prepared, repeat, fold, derive_seed(seed, repeat, fold), checkpoints)
        for repeat, fold in np.ndindex(plan.n_repeats, plan.n_folds)
    ]
    results = side_by_side([fit.turns for fit in fits], on_event, at_once=fits_at_once(device, plan))
    with exact():
        for fit, (outcome, fitted) in zip(fits, results, strict=True):
            if fitted is None:
                seconds_before += outcome.curve[-1].seconds
            else:
                on_fitted(fitted)
            oof[fit.held_out] += outcome.held_out_proba / plan.n_repeats
            test_proba += outcome.test_proba / n_fits
            holdout_proba += outcome.holdout_proba / n_fits
            outcomes.append(outcome)
            losses = row_losses(inputs.labels[fit.held_out], outcome.held_out_proba, inputs.task)
            on_event(fit.event(outcome.curve[-1], losses))

    release_buffers()
    scored = score_oof(metric, inputs.labels, oof, plan.fold_of_row)
    return OofRun(
        oof=oof,
        test_proba=test_proba,
        holdout_proba=holdout_proba,
        score=scored.score,
        fold_scores=scored.fold_scores,
        thresholds=scored.thresholds,
        curve=tuple(point for outcome in outcomes for point in outcome.curve),
        n_parameters=outcomes[0].n_parameters,
        seconds=perf_counter() - began + seconds_before,
        notes=tuple(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
    )


def fits_at_once(device: str, plan: FoldPlan) -> int:
    """How many fits share the device: on a GPU, which one small network leaves nearly idle, the folds of a repeat."""
    return plan.n_folds if device.startswith("cuda") else 1


@dataclass(frozen=True, slots=True)
class _FoldFit:
    """One fit of the loop: trains on the rows outside the fold, validates on those inside."""

    inputs: Inputs
    config: TextConfig
    metric: Metric
    device: str
    prepared: Prepared
    repeat: int
    fold: int
    seed: int
    checkpoints: Checkpoints | None

    @property
    def held_out(self) -> BoolArray:
        """(n_rows,) mask of the fold's rows."""
        mask: BoolArray = self.inputs.folds.fold_of_row[self.repeat] == self.fold
        return mask

    def turns(self, tell: OnEvent, frugal: bool) -> Turns[tuple[FitOutcome, Fitted | None]]:  # noqa: FBT001  a Begin
        """Fit, or restore what an earlier run finished; the outside hears the same of both."""
        number = self.repeat * self.inputs.folds.n_folds + self.fold
        outcome = self.checkpoints.read(number) if self.checkpoints else None
        if outcome is not None:
            for point in outcome.curve[:-1]:
                tell(self.event(point, None))
            return outcome, None
        outcome, fitted = yield from self.run(tell, frugal=frugal)
        if self.checkpoints:
            self.checkpoints.write(number, outcome)
        return outcome, fitted

    def run(self, tell: OnEvent, *, frugal: bool) -> Turns[tuple[FitOutcome, Fitted]]:
        """Fit, telling of each epoch, and predict the held-out, test and hold-out rows."""
        began = perf_counter()
        rows, labels = self.prepared.train, self.inputs.labels
        held_out = self.held_out
        held_out_rows, held_out_labels = rows.rows(held_out), labels[held_out]
        n_epochs = getattr(self.config, "n_epochs", 1)
        curve: list[EpochPoint] = []

        def validate(epoch: int, train_loss: float, proba: FloatArray) -> None:
            point = EpochPoint(
                repeat=self.repeat,
                fold=self.fold,
                epoch=epoch,
                n_epochs=n_epochs,
                train_loss=train_loss,
                valid_loss=float(row_losses(held_out_labels, proba, self.inputs.task).mean()),
                valid_score=fitted_score(self.metric, held_out_labels, proba),
                seconds=perf_counter() - began,
            )
            curve.append(point)

        def on_epoch(epoch: int, train_loss: float, predict: Predict) -> None:
            validate(epoch, train_loss, predict(held_out_rows))
            tell(self.event(curve[-1], None))

        how = FitTask(
            task=self.inputs.task,
            seed=self.seed,
            device=self.device,
            shared=self.prepared.shared,
            on_epoch=on_epoch,
            frugal=frugal,
        )
        fitted = yield from self.fit(rows.rows(~held_out), labels[~held_out], how)

        held_out_proba = fitted.predict(held_out_rows)
        validate(n_epochs - 1, fitted.train_loss, held_out_proba)
        outcome = FitOutcome(
            held_out_proba=held_out_proba,
            test_proba=fitted.predict(self.prepared.test),
            holdout_proba=fitted.predict(self.prepared.holdout),
            curve=tuple(curve),
            n_parameters=fitted.n_parameters,
            notes=fitted.notes,
        )
        return outcome, fitted

    def fit(self, rows: Any, labels: IntArray, how: FitTask) -> Turns[Fitted]:
        """Fit the family's model, twice where test rows are to help; neither held-out rows nor the hold-out come in."""
        family = FAMILIES[self.config.family]
        if self.config.pseudo_share:
            return fit_twice(family.fit, rows, labels, self.config, unlabelled=self.prepared.test, how=how)
        if family.fit_in_turns is None:
            return family.fit(rows, labels, self.config, how=how)
        return (yield from family.fit_in_turns(rows, labels, self.config, how=how))

    def event(self, point: EpochPoint, losses: FloatArray | None) -> FoldEvent:
        """What the outside hears of an epoch."""
        plan = self.inputs.folds
        n_fits = plan.n_repeats * plan.n_folds
        return FoldEvent(point=point, n_fits=n_fits, held_out=self.held_out, row_losses=losses)
