"""Kill a study again and again at random moments, and compare what is left with a study that nobody touched.

    python -m benchmarks.chaos [--kills 30] [--seed 0] [--data ../shared/data/sst2] [--rows 1500]

``python -m search.run`` runs with two workers on real data. At random moments, drawn from a seed, the coordinator or
one of its workers gets SIGKILL; a killed coordinator is started again with the same command. In the end trials,
parameters, states, scores, array digests, Optuna's copy and MLflow's record must equal those of the undisturbed study.
Studies with further seeds follow until there were enough kills. Writes benchmarks/results/chaos.md.
"""

import argparse
import contextlib
import csv
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil

from benchmarks.tables import describe_machine, write_table
from search.quiet import quiet_optuna
from textclf.records import trial_digest
from textclf.store import PredictionStore

N_TRIALS, N_JOBS = 14, 2
HEADER = ["seed", "coordinator killed", "worker killed", "trials, scores, arrays", "Optuna", "MLflow"]
HEADER += ["MLflow runs left running", "seconds"]
NOTE = (
    "Studies of {n_trials} trials ({counts}) of six families, {n_rows:,} rows of {data}, 4 folds, {n_jobs} workers, "
    "under {n_kills} SIGKILLs at seeded random moments, beside one that nobody touched ({calm:.0f} s)."
)
LONGEST_CALM = 12.0  # seconds that a study at work is left alone, at most
SPACE = """\
[common]
n_epochs = { low = 1, high = 2 }
hidden_size = { choices = [16, 32] }
dense_size = 16
embedding_dim = 32
n_filters = 16
char_ngrams = 0
"""


@dataclass(frozen=True)
class Disturbance:
    """What was done to a study: how often its coordinator and its workers were killed, and how long it took."""

    n_coordinators: int
    n_workers: int
    seconds: float


def command(folder: Path, output: Path) -> list[str]:
    """The study's command."""
    told = ["--train", str(folder / "train.csv"), "--test", str(folder / "test.csv"), "--target", "label"]
    told += ["--space", str(folder / "space.toml"), "--n-folds", "4", "--n-trials", str(N_TRIALS)]
    told += ["--n-jobs", str(N_JOBS), "--threads", "1", "--retries", "1000", "--output", str(output), "--quiet"]
    return [sys.executable, "-m", "search.run", *told]


def write_data(source: Path, folder: Path, *, n_rows: int) -> None:
    """The first rows of a real data set, and a space of small models."""
    with (source / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for _, row in zip(range(n_rows + 300), csv.DictReader(file), strict=False)]
    for name, part in (("train", rows[:n_rows]), ("test", rows[n_rows:])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text", "label"], *([row["text"], row["label"]] for row in part)])
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")


def disturb(folder: Path, output: Path, *, seed: int, most_kills: int) -> Disturbance:
    """Run a study to its end, killing parts of it at random moments: three in ten while it starts, the rest at work."""
    rng = np.random.default_rng(seed)
    n_coordinators = n_workers = 0
    began = time.monotonic()
    process = subprocess.Popen(command(folder, output))
    while process.poll() is None and n_coordinators + n_workers < most_kills:
        at_work = rng.random() < 0.7
        while at_work and process.poll() is None and not find_workers(process.pid):
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(float(rng.uniform(0.0, LONGEST_CALM)))
        workers = find_workers(process.pid)
        if process.poll() is not None:
            break
        if workers and rng.random() < 0.5:
            workers[int(rng.integers(len(workers)))].kill()
            n_workers += 1
        else:
            process.kill()
            process.wait()
            n_coordinators += 1
            process = subprocess.Popen(command(folder, output))
    if process.wait() != 0:
        raise RuntimeError(f"the study ended with exit code {process.returncode}")
    return Disturbance(n_coordinators, n_workers, time.monotonic() - began)


def find_workers(pid: int) -> list[psutil.Process]:
    """Living workers of a coordinator; none where it has just ended."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                found += [child] if "--multiprocessing-fork" in child.cmdline() else []
    return found


def describe(output: Path) -> dict[str, Any]:
    """Everything that must not depend on what happened: the store, every array read and checked; Optuna; MLflow."""
    url = f"sqlite:///{output}/study.db"
    store = PredictionStore(url)
    trials = [store.read_trial("study", trial.number) for trial in store.trials("study")]
    store.close()
    with quiet_optuna():
        copies = optuna.load_study(study_name="study", storage=url).trials
    return {
        "trials": [(trial.number, trial.outcome, trial.reason, trial_digest(trial)) for trial in trials],
        "optuna": [
            (copy.number, copy.state.name, copy.params, copy.value, copy.intermediate_values) for copy in copies
        ],
        "mlflow": describe_mlflow(output),
    }


def describe_mlflow(output: Path) -> list[tuple[Any, ...]]:
    """Runs of trials: number, state, parameters and score; fails where any run, deleted or not, is left running."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(f"sqlite:///{output}/mlflow.db")
    experiment = client.get_experiment_by_name("study")
    runs = client.search_runs([experiment.experiment_id], "tags.stage = 'trial'", max_results=1000)
    left = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'", run_view_type=ViewType.ALL)
    assert not left, [run.info.run_id for run in left]
    return sorted(
        (
            int(run.data.tags["optuna.trial_number"]),
            run.info.status,
            sorted(run.data.params.items()),
            run.data.metrics.get("oof_score"),
        )
        for run in runs
    )


def main() -> None:
    """Disturb studies until there were enough kills; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sst2"))
    parser.add_argument("--rows", type=int, default=1500)
    told = parser.parse_args()
    rows: list[list[object]] = []
    n_kills, seed = 0, told.seed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(told.data, folder, n_rows=told.rows)
        began = time.monotonic()
        subprocess.run(command(folder, folder / "whole"), check=True)
        whole, calm = describe(folder / "whole"), time.monotonic() - began
        while n_kills < told.kills:
            output = folder / f"disturbed-{seed}"
            done = disturb(folder, output, seed=seed, most_kills=told.kills - n_kills)
            after = describe(output)
            equal = {part: "equal" if after[part] == whole[part] else "DIFFERENT" for part in whole}
            rows.append([seed, done.n_coordinators, done.n_workers, *equal.values(), 0, f"{done.seconds:.0f}"])
            print(rows[-1], flush=True)
            n_kills += done.n_coordinators + done.n_workers
            seed += 1
    outcomes = [outcome for _, outcome, _, _ in whole["trials"]]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
    write_table(
        "chaos",
        title="Chaos",
        notes=[
            NOTE.format(
                n_trials=N_TRIALS,
                counts=counts,
                n_rows=told.rows,
                data=told.data.name,
                n_jobs=N_JOBS,
                n_kills=n_kills,
                calm=calm,
            ),
            f"{describe_machine('optuna', 'mlflow')} Made by `python -m benchmarks.chaos`.",
        ],
        header=HEADER,
        rows=rows,
    )


if __name__ == "__main__":
    main()
