"""What the coordinator costs per trial, beside plain Optuna on the same storage.

    python -m benchmarks.overhead [--trials 10 1000 10000] [--storage URL]

The objective is simulated: it returns at once, with predictions for 1,000 rows and five reports. For each size a study
is filled with trials of the random sampler; then N_TIMED further trials are timed, by part, with the random sampler and
with TPE, and as many by plain Optuna: ``study.optimize`` with equal parameters, sampler and reports on the very same
study.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy as sa

from benchmarks.tables import describe_machine, write_table
from search.coordinator import Budget, Coordinator
from search.executors import InlineExecutor
from search.interruption import Interruption
from search.jobs import SearchRules
from search.mirror import OptunaMirror
from search.patience import Patience
from search.progress import Silence
from search.pruning import PrunerChoice
from search.sampler import SamplerChoice
from search.spec import TrialJob
from search.tracking import Tracking
from search.worker import Hooks
from textclf.config import Columns, Task
from textclf.records import StudyRecord, TrialRecord
from textclf.store import PredictionStore

N_TIMED, N_ROWS, N_PARAMS, N_REPORTS = 20, 1000, 11, 5
NOTE = (
    "Milliseconds per trial, median of {n_timed}; simulated objective with {n_params} parameters, {n_reports} fits and "
    "{n_rows:,} rows; one worker. Plain Optuna: `study.optimize` on the very same study, which keeps no predictions. "
    "Start: what it takes to go on with a study of that size."
)


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Eleven parameters."""
    return {f"x{number}": trial.suggest_float(f"x{number}", 0.0, 1.0) for number in range(N_PARAMS)}


def quality(params: dict[str, Any]) -> float:
    """A bowl."""
    return -sum((value - 0.3) ** 2 for value in params.values())


def run_simulated(job: TrialJob, _hooks: Hooks, shared: Any) -> TrialRecord:
    """A trial that returns at once."""
    spec, score = job.spec, quality(dict(job.spec.params))
    curves = tuple(
        {"fit": fit, "epoch": epoch, "train_loss": 0.5, "valid_loss": 0.5, "valid_score": score}
        for fit in range(N_REPORTS)
        for epoch in range(4)
    )
    return TrialRecord(
        study=spec.study,
        number=spec.number,
        outcome="complete",
        params=dict(spec.params),
        seed=spec.seed,
        score=score,
        fold_scores=(score,) * N_REPORTS,
        reports=tuple((100 * (fit + 1), score) for fit in range(N_REPORTS)),
        curves=curves,
        oof=shared,
        test_proba=shared,
    )


@dataclass
class Clock:
    """Seconds of every call of each part."""

    calls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def time(self, name: str, owner: Any, method: str) -> None:
        """Time the calls of a method of an object."""
        original: Callable[..., Any] = getattr(owner, method)

        def timed(*told: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*told, **named)
            finally:
                self.calls[name].append(time.perf_counter() - began)

        setattr(owner, method, timed)

    def milliseconds(self) -> dict[str, float]:
        """The median call of each part; the first one, which may read the study, is left out."""
        return {name: 1000 * statistics.median(calls[1:]) for name, calls in self.calls.items() if len(calls) > 1}


@contextmanager
def study_of(
    name: str, folder: Path, url: str, *, sampler: str = "random", with_mlflow: bool = False
) -> Iterator[tuple[Coordinator, Clock]]:
    """A coordinator on a study in a database, its parts under the clock."""
    record = StudyRecord(
        name=name,
        task=Task(kind="binary", class_names=("no", "yes")),
        columns=Columns(text="text", targets=("label",)),
        metric="roc_auc",
        data_digest="data",
        fold_digest="folds",
        train_ids=tuple(map(str, range(N_ROWS))),
        test_ids=tuple(map(str, range(N_ROWS))),
        labels=np.arange(N_ROWS) % 2,
        fold_of_row=(np.arange(N_ROWS) % N_REPORTS)[np.newaxis],
    )
    store = PredictionStore(url)
    store.create_tables()
    store.write_study(record)
    mirror = OptunaMirror(url, name)
    clock = Clock()
    shared = np.random.default_rng(0).random((N_ROWS, 2))
    tracking = Tracking(f"sqlite:///{folder}/mlflow.db", store, record, artifacts=folder, warn=print)
    if with_mlflow:
        tracking.begin({})
        clock.time("MLflow", tracking, "record")
    with Interruption(tell=print) as interruption:
        coordinator = Coordinator(
            study=record,
            rules=SearchRules(
                seed=1, sampler=SamplerChoice(name=sampler, kwargs={}), pruner=PrunerChoice(name="none", kwargs={})
            ),
            suggest=suggest,
            run_trial=run_simulated,
            store=store,
            mirror=mirror,
            executor=InlineExecutor(shared, on_progress=lambda _: None),
            listener=Silence(),
            patience=Patience(tell=print),
            interruption=interruption,
            record=tracking.record if with_mlflow else lambda _: None,
        )
        clock.time("ask (the sampler)", coordinator._view, "ask")
        clock.time("copy to Optuna", mirror, "create")
        clock.time("tell Optuna", mirror, "finish")
        clock.time("commit to the store", store, "write_trial")
        clock.time("start", coordinator, "_recover")
        yield coordinator, clock
    mirror.close()
    store.close()


def time_ours(
    name: str, folder: Path, url: str, *, n_trials: int, sampler: str = "random", with_mlflow: bool = False
) -> dict[str, float]:
    """Milliseconds per trial by part, median over N_TIMED trials after n_trials, and seconds to start on them."""
    with study_of(name, folder, url, sampler=sampler, with_mlflow=with_mlflow) as (coordinator, clock):
        coordinator.run(Budget(n_trials=n_trials + N_TIMED))
    parts = clock.milliseconds()
    return {**parts, "total": sum(parts.values()), "start": clock.calls["start"][0]}


def fill(name: str, folder: Path, url: str, *, n_trials: int, with_mlflow: bool = False) -> None:
    """Run a study up to a size."""
    with study_of(name, folder, url, with_mlflow=with_mlflow) as (coordinator, _):
        coordinator.run(Budget(n_trials=n_trials))


def time_plain(name: str, url: str, *, sampler: str) -> float:
    """Milliseconds per trial of study.optimize, median of N_TIMED trials."""
    samplers = {"random": optuna.samplers.RandomSampler(seed=1), "tpe": optuna.samplers.TPESampler(group=True, seed=1)}
    study = optuna.load_study(study_name=name, storage=url, sampler=samplers[sampler])

    def objective(trial: optuna.Trial) -> float:
        value = quality(suggest(trial))
        for step in range(N_REPORTS):
            trial.report(value, step)
        return value

    clock = Clock()
    clock.time("plain", study, "optimize")
    for _ in range(N_TIMED):
        study.optimize(objective, n_trials=1)
    return clock.milliseconds()["plain"]


def empty_database(folder: Path, *, storage: str | None, size: int) -> str:
    """URL of a database of its own: for every parameter Optuna looks through the trials of earlier studies first."""
    if storage is None:
        return f"sqlite:///{folder}/study-{size}.db"
    server, name = sa.make_url(storage), f"overhead_{size}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


def measure(folder: Path, sizes: Sequence[int], *, storage: str | None) -> list[dict[str, Any]]:
    """One row per size and sampler."""
    rows = []
    for size in sizes:
        url = empty_database(folder, storage=storage, size=size)
        name, n_there = "study", size
        fill(name, folder, url, n_trials=size)
        timed = {}
        for sampler in ("random", "tpe"):
            timed[sampler] = time_ours(name, folder, url, n_trials=n_there, sampler=sampler)
            n_there += N_TIMED
        for sampler, ours in timed.items():  # plain Optuna last: a study of ours cannot go on with its trials
            plain = time_plain(name, url, sampler=sampler)
            rows.append({"trials": size, "sampler": sampler, **ours, "plain": plain})
            print(rows[-1], flush=True)
    return rows


def measure_mlflow(sizes: Sequence[int]) -> list[str]:
    """Sentences: milliseconds of MLflow's record per trial."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder, url = Path(name), f"sqlite:///{name}/study.db"
            fill("study", folder, url, n_trials=size, with_mlflow=True)
            ours = time_ours("study", folder, url, n_trials=size, with_mlflow=True)
            rows.append(
                f"MLflow's record of such a trial, beside it, on SQLite with {size:,} runs: {ours['MLflow']:.0f} ms."
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument(
        "--storage", help="URL of a PostgreSQL server, whose databases overhead_SIZE are made anew; else SQLite"
    )
    parser.add_argument("--mlflow-trials", type=int, nargs="*", default=[10, 1000])
    told = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), told.trials, storage=told.storage)
    kind = "SQLite" if told.storage is None else "PostgreSQL"
    parts = [name for name in rows[0] if name not in ("trials", "sampler", "total", "start", "plain")]
    write_table(
        f"overhead_{kind.lower()}",
        title=f"Overhead per trial on {kind}",
        notes=[
            NOTE.format(n_timed=N_TIMED, n_params=N_PARAMS, n_reports=N_REPORTS, n_rows=N_ROWS),
            *measure_mlflow(told.mlflow_trials),
            f"{describe_machine('optuna', 'mlflow', 'sqlalchemy')} Made by `python -m benchmarks.overhead`.",
        ],
        header=["trials there", "sampler", *parts, "in all", "plain Optuna", "start (s)"],
        rows=[
            [
                f"{row['trials']:,}",
                row["sampler"],
                *(f"{row[part]:.1f}" for part in parts),
                f"**{row['total']:.0f}**",
                f"{row['plain']:.0f}",
                f"{row['start']:.1f}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
