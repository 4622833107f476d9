"""A user's first hour, up to where the tutorial goes on (tests/test_docs.py): mistakes, a run, a stop, going on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search import load_study, run_study
from tests.competition import write_competition
from textclf.records import trial_digest

ROOT = Path(__file__).resolve().parents[1]
N_TRIALS = 5
DATA = ["--test", "test.csv", "--text", "question_text", "--target", "target", "--id", "qid", "--metric", "f1"]
QUICK = ["--family", "tfidf_logreg", "--family", "nbsvm", "--n-folds", "3", "--threads", "1"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # several programs, each loading torch


def call(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of our commands as a user does."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def environment() -> dict[str, str]:
    """This environment, with the project on the path."""
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}


def test_a_first_hour_without_a_stumble(tmp_path: Path) -> None:
    """Mistakes in the file and in an option, each named with its cure; then run, stop, go on, as if never stopped."""
    write_competition(tmp_path)
    good = (tmp_path / "train.csv").read_text()
    lines = good.splitlines()
    (tmp_path / "train.csv").write_text("\n".join([*lines[:40], lines[40].rsplit(",", 1)[0] + ",", *lines[41:]]))
    study = ["search.run", "--train", "train.csv", *DATA, *QUICK, "--output", "runs"]

    wrong = call(*study, folder=tmp_path)
    assert wrong.returncode == 2
    assert "train.csv: line 41, column 'target': the target is empty" in wrong.stderr
    assert not (tmp_path / "runs").exists()

    (tmp_path / "train.csv").write_text(good)
    wrong = call(*(word.replace("question_text", "question") for word in study), folder=tmp_path)
    assert wrong.returncode == 2
    assert "did you mean question_text?" in wrong.stderr

    stopped = stop_after_first_trial([*study, "--n-trials", "60"], folder=tmp_path)
    assert stopped == 130
    n_before = len(load_study(tmp_path / "runs").trials)
    assert 1 <= n_before < 60

    gone_on = call(*study, "--n-trials", str(N_TRIALS), folder=tmp_path)
    assert gone_on.returncode == 0, gone_on.stderr
    assert "python -m ensemble.export" in gone_on.stdout

    run_study(
        train=tmp_path / "train.csv",
        test=tmp_path / "test.csv",
        text="question_text",
        target="target",
        id="qid",
        metric="f1",
        family=("tfidf_logreg", "nbsvm"),
        n_folds=3,
        threads=1,
        n_trials=N_TRIALS,
        output=tmp_path / "whole",
        show=False,
    )
    assert digests(tmp_path / "runs")[:N_TRIALS] == digests(tmp_path / "whole")


def stop_after_first_trial(command: list[str], *, folder: Path) -> int:
    """Press Ctrl-C once the first trial is finished; returns the exit code."""
    run = subprocess.Popen(
        [sys.executable, "-m", *command, "--json"], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    for line in run.stdout:
        if json.loads(line)["event"] == "finished":
            run.send_signal(signal.SIGINT)
            break
    run.communicate(timeout=200)
    return run.returncode


def digests(output: Path) -> list[str]:
    """What each trial decided, in one string."""
    return [trial_digest(trial) for trial in load_study(output).summaries]
