"""Seeds and switches."""

import os

import pytest
import torch

from textclf.determinism import RECORDED_PACKAGES, available_device, derive_seed, environment, one_thread, seeded


def test_seeds_of_near_paths_are_unrelated() -> None:
    """No two of a few thousand paths share a seed, and a path always gives the same one."""
    seeds = {derive_seed(study, repeat, fold) for study in range(20) for repeat in range(5) for fold in range(20)}

    assert len(seeds) == 2000
    assert derive_seed(1, 2) == derive_seed(1, 2)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeded_blocks_repeat_and_leave_no_trace() -> None:
    """Inside, numbers depend on the seed alone and algorithms are deterministic; outside, nothing has moved."""
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    drawn = []
    for _ in range(2):
        with seeded(7, device="cpu"):
            assert torch.are_deterministic_algorithms_enabled()
            drawn.append(torch.rand(3))

    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.rand(2), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_failure_inside_restores_the_switches() -> None:
    """An exception is no way to keep deterministic mode."""
    with pytest.raises(ValueError, match="x"), seeded(7, device="cpu"):
        raise ValueError("x")

    assert not torch.are_deterministic_algorithms_enabled()


def test_cuda_workspace_is_set_before_cuda_can_start() -> None:
    """CuBLAS and cuDNN need it in the environment at their start."""
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_initialisation_does_not_depend_on_the_thread_count() -> None:
    """one_thread makes orthogonal matrices equal whatever the thread count around it."""
    made = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with one_thread(), seeded(3, device="cpu"):
            made.append(torch.nn.init.orthogonal_(torch.empty(96, 96)))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)

    assert torch.equal(made[0], made[1])


def test_the_environment_names_what_may_move_a_prediction() -> None:
    """Versions, processor, device, threads and engine are recorded."""
    recorded = environment("cpu")

    assert set(RECORDED_PACKAGES) < recorded.keys()
    assert recorded["threads"] == str(torch.get_num_threads())
    assert {"python", "machine", "processor", "device", "engine"} < recorded.keys()
    assert all(recorded.values())


def test_auto_is_the_gpu_where_there_is_one() -> None:
    """Other names pass unchanged."""
    assert available_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert available_device("cuda:1") == "cuda:1"
