"""What a study would be: its data, its plan, its folds, and how long it would take, by timing one epoch per family."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from search.prepare import PreparedStudy
from search.progress import describe_plan
from search.ranking import describe_params, show_seconds
from textclf.crossval import FoldEvent, cross_validate
from textclf.determinism import limit_threads
from textclf.families import parse_config


class _EnoughError(Exception):
    """The first epoch is over."""


def describe_study(prepared: PreparedStudy, *, n_jobs: int) -> list[str]:
    """Lines to print; trains one epoch of every family's first trial."""
    lines = [str(prepared.report), describe_plan(prepared, n_jobs=n_jobs), *_describe_folds(prepared)]
    for family, ranges in prepared.space.ranges.items():
        told = "; ".join(f"{name}: {values}" for name, values in ranges.items())
        lines.append(f"space of {family}: {told}")
    seconds = []
    for number, params in enumerate(prepared.first_trials):
        lines.append(f"trial {number} will be {params['family']}: {describe_params(params, [*params])}")
        if params["family"] not in [other["family"] for other in prepared.first_trials[:number]]:
            seconds.append(time_trial(prepared, params))
            lines.append(f"  about {show_seconds(seconds[-1])} for its {prepared.inputs.folds.n_fits} fits")
    if seconds:
        total = prepared.options.n_trials * float(np.mean(seconds)) / n_jobs
        lines.append(f"the study takes about {show_seconds(total)} without pruning")
    return lines


def time_trial(prepared: PreparedStudy, params: Mapping[str, Any]) -> float:
    """Seconds that a trial would take, from the first epoch of its first fit."""
    config = parse_config({**params}, source="first trial")
    n_epochs = 1
    began = time.perf_counter()

    def stop(event: FoldEvent) -> None:
        nonlocal n_epochs
        n_epochs = event.point.n_epochs
        raise _EnoughError

    with limit_threads(prepared.rules.threads), contextlib.suppress(_EnoughError):
        cross_validate(
            prepared.inputs,
            config,
            metric=prepared.metric,
            seed=prepared.rules.seed,
            device=prepared.rules.device,
            on_event=stop,
        )
    return (time.perf_counter() - began) * n_epochs * prepared.inputs.folds.n_fits


def _describe_folds(prepared: PreparedStudy) -> list[str]:
    """Rows of each fold, per repeat."""
    lines = []
    for repeat, folds in enumerate(prepared.inputs.folds.fold_of_row):
        rows = ", ".join(f"{count:,}" for count in np.bincount(folds))
        lines.append(f"folds{f' of repeat {repeat}' if prepared.inputs.folds.n_repeats > 1 else ''}: {rows} rows")
    return lines
