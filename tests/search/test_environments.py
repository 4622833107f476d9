"""A study that goes on in another environment says so."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from search.spec import TrialJob
from search.worker import Hooks
from tests.search.fakes import Ears, FakeStudy, light_run
from textclf.records import TrialRecord

NATIVE = {"torch": "2.13.0", "threads": "1", "engine": "native-0a"}


def run_in(environment: Mapping[str, str], job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """A trial whose record names an environment."""
    return dataclasses.replace(light_run(job, hooks, shared), environment=environment)


def lines_of(folder: Path, environment: Mapping[str, str], *, n_trials: int) -> list[str]:
    """What a run up to so many trials says about environments."""
    ears = Ears()
    run_trial = partial(run_in, environment)
    FakeStudy(url=f"sqlite:///{folder}/study.db", n_trials=n_trials, run_trial=run_trial, ears=ears).run()
    return [line for line in ears.lines if "environment" in line]


def test_another_environment_is_said_once(tmp_path: Path) -> None:
    """The first trial of another engine names what changed; those after it do not repeat it."""
    assert lines_of(tmp_path, NATIVE, n_trials=4) == []
    assert lines_of(tmp_path, NATIVE, n_trials=6) == []

    (line,) = lines_of(tmp_path, {**NATIVE, "engine": "torch-2.13.0"}, n_trials=10)

    assert line.startswith("trial 6 ran in another environment than trial 0 (engine native-0a -> torch-2.13.0)")
    assert lines_of(tmp_path, NATIVE, n_trials=12) == []
