"""Start a study, or go on with it: what the command line and the Python API have in common."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from search.absence import find_fault, first_line, is_away
from search.cluster import DaskExecutor
from search.coordinator import Budget, Coordinator, Listener
from search.executors import InlineExecutor, OnProgress, ProcessExecutor, TrialExecutor
from search.interruption import Interruption
from search.lease import hold_lease
from search.machine import Machine, plan_machine
from search.mirror import OptunaMirror
from search.options import SQLITE, StudyOptions
from search.patience import Patience
from search.prepare import PreparedStudy, prepare_study
from search.quiet import quiet_optuna
from search.resume import check_same_study
from search.spec import Progress
from search.studytrial import InputsFolder, run_study_trial
from search.tracking import Tracking
from textclf.errors import ConfigError, RunError
from textclf.inputs import load_inputs, save_inputs
from textclf.records import StudyRecord, TrialSummary
from textclf.store import PredictionStore, open_store


class Display(Listener, Protocol):
    """Shows a study to a person or a program."""

    def prepared(self, study: PreparedStudy, *, n_jobs: int) -> None:
        """The data is read and checked."""

    def progressed(self, progress: Progress) -> None:
        """A running trial has done an epoch; called from other threads."""

    def interrupted(self, line: str) -> None:
        """The study is to stop; called from a signal handler."""


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """How a run ended. experiment_id: MLflow's, empty where it failed."""

    study: PreparedStudy
    record: StudyRecord
    trials: Sequence[TrialSummary]
    interrupted: bool
    experiment_id: str
    inputs_folder: Path


def find_study(options: StudyOptions) -> StudyRecord | None:
    """The study where it is there already; nothing is written. ConfigError or RunError where that cannot be told."""
    url = options.storage_url
    if url.startswith(SQLITE) and not (path := Path(url.removeprefix(SQLITE))).is_file():
        if options.storage is not None and not path.parent.is_dir() and path.parent != options.output:
            raise ConfigError(f"--storage: there is no folder {path.parent}; make it, or name another file")
        return None
    store = PredictionStore(url)
    try:
        names = store.study_names()
        return store.read_study(options.study_name) if options.study_name in names else None
    except sa.exc.DBAPIError as error:
        fault = find_fault(error) or f"cannot be read ({first_line(error)}); check it and try again"
        raise RunError(f"--storage: {_shown(store)} {fault}") from None
    finally:
        store.close()


def check_study(
    options: StudyOptions, ranges: Mapping[str, Any], *, enqueued: Sequence[Mapping[str, Any]] | None = None
) -> tuple[PreparedStudy, Machine]:
    """Read and check everything a study needs; nothing is written but parsed embedding files to the user's cache.

    ranges: changes of the search space, by section; enqueued: first trials, where no file names them
    """
    there = find_study(options)
    machine = plan_machine(options, there.settings if there else None)
    prepared = prepare_study(
        options,
        ranges=ranges,
        enqueued=enqueued,
        threads=machine.threads,
        device=machine.device,
        vector_cache=vector_cache(),
    )
    if there is not None:
        check_same_study(there, prepared.record)
    return prepared, machine


def run_prepared(prepared: PreparedStudy, machine: Machine, display: Display) -> StudyOutcome:
    """Run a checked study to its budget, or until it is interrupted.

    Raises RunError where another run holds it, it is a study on other data, or its databases are away too long.
    """
    options, record = prepared.options, prepared.record
    make_folder(options.output)
    with ExitStack() as stack:
        store = stack.enter_context(open_for_run(options.storage_url))
        lease = stack.enter_context(hold_lease(store.engine, record.name))
        store.write_study(record)
        folder = save_inputs(prepared.inputs, options.output / "inputs" / prepared.inputs.key)
        display.prepared(prepared, n_jobs=machine.n_jobs)
        interruption = stack.enter_context(Interruption(tell=display.interrupted))
        patience = Patience(tell=display.said, should_stop=lambda: interruption.requested)
        with quiet_optuna():
            mirror = patience(lambda: OptunaMirror(options.storage_url, record.name))
        stack.callback(mirror.close)
        tracking = Tracking(
            options.tracking_url,
            store,
            record,
            artifacts=None if options.tracking_url.startswith("http") else options.output / "artifacts",
            warn=display.said,
        )
        tracking.begin({"train": str(options.train), "test": str(options.test)})
        coordinator = Coordinator(
            study=record,
            rules=prepared.rules,
            suggest=prepared.suggest,
            run_trial=partial(run_study_trial, storage_url=_checkpoint_url(options)),
            store=store,
            mirror=mirror,
            executor=make_executor(options, machine, folder, on_progress=display.progressed),
            listener=display,
            patience=patience,
            interruption=interruption,
            lease=lease,
            record=tracking.record,
        )
        with _closing(tracking, lambda: interruption.requested, prepared.inputs.train.texts):
            coordinator.run(Budget(n_trials=options.n_trials, timeout=options.timeout, retries=options.retries))
            if not interruption.requested:
                display.said("drawing the figures of the MLflow record")
        return StudyOutcome(
            study=prepared,
            record=record,
            trials=patience(lambda: store.trials(record.name)),
            interrupted=interruption.requested,
            experiment_id=tracking.experiment_id,
            inputs_folder=folder,
        )


def make_executor(options: StudyOptions, machine: Machine, folder: Path, *, on_progress: OnProgress) -> TrialExecutor:
    """The executor that the options name; "auto" runs one job in this process, and more, or any on a GPU, in others."""
    if options.executor == "dask":
        return DaskExecutor(load_inputs(folder), address=str(options.dask_address))
    if options.executor == "inline" or (options.executor == "auto" and machine.n_jobs == 1 and not machine.gpus):
        return InlineExecutor(load_inputs(folder), on_progress=on_progress)
    return ProcessExecutor(InputsFolder(folder), environments=machine.environments, on_progress=on_progress)


def vector_cache() -> Path:
    """Where parsed embedding files are kept for the next study of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "textclf"


def make_folder(folder: Path) -> None:
    """Make the output folder; ConfigError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"--output: {folder} cannot be written ({error.strerror}); choose another folder") from None


@contextmanager
def open_for_run(url: str) -> Iterator[PredictionStore]:
    """Open a study's store to write; RunError where the database is away too long, damaged or another's."""
    try:
        with open_store(url) as store:
            yield store
    except (sa.exc.DBAPIError, StorageInternalError) as error:
        fault = find_fault(error)
        if is_away(error):
            fault = f"cannot be used now ({first_line(error)}); check it and run again"
        if not fault:
            raise
        raise RunError(f"--storage: {sa.make_url(url).render_as_string(hide_password=True)} {fault}") from error


@contextmanager
def _closing(tracking: Tracking, interrupted: Callable[[], bool], texts: Sequence[str]) -> Iterator[None]:
    """Close MLflow's parent run in the state that the study ended in."""
    status = "FAILED"
    try:
        yield
        status = "KILLED" if interrupted() else "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracking.end(status, texts=texts)


def _checkpoint_url(options: StudyOptions) -> str | None:
    """Workers of a cluster may not reach a file of this machine."""
    local = options.executor != "dask" or not options.storage_url.startswith("sqlite")
    return options.storage_url if local else None


def _shown(store: PredictionStore) -> str:
    return store.engine.url.render_as_string(hide_password=True)
