"""What of a machine a study uses: tested on machines that torch is made to see."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from search.executors import InlineExecutor, ProcessExecutor
from search.launch import make_executor
from search.machine import plan_machine, require_device
from search.options import StudyOptions
from tests.builders import make_inputs
from textclf.errors import ConfigError, RunError
from textclf.inputs import save_inputs


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs and eight cores."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def plan(recorded: dict[str, Any] | None = None, **told: Any) -> tuple[str, int, int, list[str | None]]:
    """Device, jobs, threads, and the GPU of each worker."""
    machine = plan_machine(StudyOptions(**told), recorded)
    gpus = [variables.get("CUDA_VISIBLE_DEVICES") for variables in machine.environments]
    return machine.device, machine.n_jobs, machine.threads, gpus


@pytest.mark.usefixtures("two_gpus")
def test_workers_are_dealt_to_gpus_in_turn() -> None:
    """One job per GPU unless more are wanted; each worker sees one GPU and has its share of the cores."""
    assert plan() == ("cuda", 2, 4, ["0", "1"])
    assert plan(workers_per_gpu=2) == ("cuda", 4, 2, ["0", "1", "0", "1"])
    assert plan(n_jobs=3) == ("cuda", 3, 2, ["0", "1", "0"])
    assert plan(device="cuda:1") == ("cuda", 1, 8, ["1"])
    assert plan(device="cpu", n_jobs=4) == ("cpu", 4, 2, [None] * 4)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_keep_the_names_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler hands out GPUs through the environment, by number or by name."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7a")

    assert plan()[3] == ["5", "GPU-7a"]
    assert plan(device="cuda:1")[3] == ["GPU-7a"]


def test_a_study_keeps_its_threads_and_its_device(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded holds where nothing else is said, on whatever machine the study goes on."""
    assert plan({"device": "cpu", "threads": 3}) == ("cpu", 1, 3, [None])
    assert plan({"device": "cuda", "threads": 3}) == ("cuda", 2, 3, ["0", "1"])

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="the study runs on cuda, but torch sees no GPU"):
        plan({"device": "cuda", "threads": 3})


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"device": "tpu"}, "'tpu' is not auto, cpu, cuda or cuda:N"),
        ({"device": "cpu:1"}, "'cpu:1' is not auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:2"}, "'cuda:2' is not here; there is cuda:0, cuda:1"),
        ({"device": "cuda:"}, "'cuda:' is not here"),
        ({"device": "cuda:1", "executor": "inline"}, "leave --executor inline away"),
        ({"device": "cuda:1", "executor": "dask", "dask_address": "tcp://a:1"}, "give --device cuda, and start each"),
    ],
)
def test_a_device_that_cannot_be_had_is_named(told: dict[str, Any], words: str) -> None:
    """With what there is, or what to say instead."""
    with pytest.raises(ConfigError, match=words):
        plan(**told)


@pytest.mark.usefixtures("two_gpus")
def test_this_process_has_one_job() -> None:
    """--executor inline runs one trial at a time, on the first GPU, with every core."""
    assert plan(executor="inline")[:3] == ("cuda", 1, 8)
    assert plan(executor="inline", device="cuda:0")[:3] == ("cuda", 1, 8)


def test_a_cluster_needs_no_gpu_here(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers have theirs, and are not told which; on this machine the same is refused."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    assert plan(device="cuda", executor="dask", dask_address="tcp://a:1")[3] == [None]
    with pytest.raises(ConfigError, match="cuda was asked for, but torch sees no GPU"):
        plan(device="cuda")


def test_a_gpu_trial_never_runs_in_this_process(two_gpus: None, tmp_path: Path) -> None:
    """A process that sees one GPU is the only way to give a trial that one, also where it is the only job."""
    save_inputs(make_inputs(), tmp_path / "inputs")
    kinds = {}
    for device in ("cpu", "cuda:1"):
        options = StudyOptions(device=device, n_jobs=1)
        machine = plan_machine(options, None)
        with make_executor(options, machine, tmp_path / "inputs", on_progress=lambda _: None) as executor:
            kinds[device] = type(executor)

    assert kinds == {"cpu": InlineExecutor, "cuda:1": ProcessExecutor}


def test_a_trial_is_not_repeated_on_another_device(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, search.reproduce says so rather than that every array differs."""
    require_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    require_device("cpu")
    with pytest.raises(RunError, match="the study ran on cuda"):
        require_device("cuda")
