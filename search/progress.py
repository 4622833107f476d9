"""What a study says while it runs: lines for people, JSON for programs; the page of a terminal is in livepage."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from search.prepare import PreparedStudy
from search.ranking import rank_trials, show_seconds
from search.spec import Progress, TrialSpec
from textclf.records import TrialRecord, TrialSummary


class Silence:
    """Shows nothing, and is the base of those that show something."""

    def prepared(self, study: PreparedStudy, *, n_jobs: int) -> None:
        """Hear of the checked study."""

    def progressed(self, progress: Progress) -> None:
        """Hear of an epoch."""

    def recovered(self, trials: Sequence[TrialSummary]) -> None:
        """Hear of the results of earlier runs."""

    def submitted(self, spec: TrialSpec) -> None:
        """Hear of a started trial."""

    def finished(self, record: TrialRecord) -> None:
        """Hear of a result."""

    def said(self, line: str) -> None:
        """Hear of something a person should know."""

    def interrupted(self, line: str) -> None:
        """Hear that the study is to stop; what is said of it goes to the other stream, whatever is shown."""
        import sys

        print(line, file=sys.stderr, flush=True)

    def ticked(self) -> None:
        """Hear of time."""

    def close(self) -> None:
        """Give the terminal back."""


class Lines(Silence):
    """One line per event; with every epoch where it is verbose.

    write: puts a line out
    """

    def __init__(self, write: Callable[[str], None], *, verbose: bool) -> None:
        self._write, self._verbose = write, verbose
        self._best: TrialSummary | None = None
        self._metric = "score"

    def prepared(self, study: PreparedStudy, *, n_jobs: int) -> None:
        """Say what is about to run."""
        self._metric = study.metric.name
        self._write(str(study.report))
        self._write(describe_plan(study, n_jobs=n_jobs))

    def progressed(self, progress: Progress) -> None:
        """Say how far a trial is."""
        if self._verbose:
            self._write(f"  trial {progress.number}: {describe_progress(progress)}")

    def submitted(self, spec: TrialSpec) -> None:
        """Say that a trial starts."""
        if self._verbose:
            self._write(f"trial {spec.number} starts: {dict(spec.params)}")

    def recovered(self, trials: Sequence[TrialSummary]) -> None:
        """Remember the best."""
        for trial in trials:
            self._keep_best(trial)

    def finished(self, record: TrialRecord) -> None:
        """Say how a trial ended."""
        self._keep_best(record)
        best = "" if self._best is None else f"; best {self._best.score:.5f} (trial {self._best.number})"
        self._write(f"trial {record.number} {describe_result(record, self._metric)}{best}")

    def said(self, line: str) -> None:
        """Say it."""
        self._write(line)

    def _keep_best(self, trial: TrialSummary) -> None:
        if trial.score is not None and (self._best is None or trial.score > (self._best.score or 0.0)):
            self._best = trial


class JsonLines(Silence):
    """One JSON object per event, for programs."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def prepared(self, study: PreparedStudy, *, n_jobs: int) -> None:
        """Tell what is about to run."""
        options = study.options
        self._put("study", name=options.study_name, n_trials=options.n_trials, metric=study.metric.name, n_jobs=n_jobs)

    def submitted(self, spec: TrialSpec) -> None:
        """Tell that a trial starts."""
        self._put("started", trial=spec.number, params=dict(spec.params))

    def finished(self, record: TrialRecord) -> None:
        """Tell how a trial ended."""
        self._put(
            "finished",
            trial=record.number,
            outcome=record.outcome,
            score=record.score,
            seconds=round(record.seconds, 3),
            reason=record.reason,
        )

    def said(self, line: str) -> None:
        """Tell it."""
        self._put("note", text=line)

    def _put(self, event: str, **values: Any) -> None:
        self._write(json.dumps({"event": event, **values}))


def describe_plan(study: PreparedStudy, *, n_jobs: int) -> str:
    """What is about to run, in a line or two."""
    options, rules, folds = study.options, study.rules, study.inputs.folds
    repeats = f" x {folds.n_repeats} repeats" if folds.n_repeats > 1 else ""
    threads = f"{rules.threads} {'thread' if rules.threads == 1 else 'threads'}"
    jobs = f"{n_jobs} at one time, {threads} each" if n_jobs > 1 else threads
    line = (
        f"study {options.study_name}: {options.n_trials} trials of {folds.n_folds} folds{repeats}, "
        f"scored by {study.metric.name}, over {', '.join(study.space.families)}; on {rules.device}, {jobs}"
    )
    if n_jobs > rules.lag:
        line += (
            f"\nnote: lag {rules.lag} lets {rules.lag} trials run at one time; {n_jobs - rules.lag} workers stay idle"
        )
    return line


def describe_progress(progress: Progress) -> str:
    """How far a trial is."""
    fold = f"fold {progress.fit_number + 1}/{progress.n_fits}"
    return f"{fold}, epoch {progress.epoch + 1}/{progress.n_epochs}, {progress.score:.5f} so far"


def describe_result(record: TrialSummary, metric: str) -> str:
    """How a trial ended."""
    family = str(record.params.get("family", ""))
    if record.outcome == "complete":
        standing = rank_trials([record])[0]
        told = f"({family}): {metric} {record.score:.5f}, folds {standing.fold_mean:.4f} ± {standing.fold_std:.4f}"
    else:
        told = f"({family}) {record.outcome}: {record.reason.strip().splitlines()[-1] if record.reason else ''}"
    notes = f"; {'; '.join(record.notes)}" if record.notes else ""
    return f"{told}, {show_seconds(record.seconds)}{notes}"
