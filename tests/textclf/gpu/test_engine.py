"""Which engine runs the recurrence of CUDA tensors, and what is recorded of it."""

import pytest
import torch

from textclf import gpu
from textclf.determinism import environment
from textclf.errors import ConfigError

CUDA = torch.device("cuda")


def test_cudnn_runs_what_nobody_asked_otherwise_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our kernels only on request, only on a GPU, and only layers that fit it."""
    monkeypatch.delenv("TEXTCLF_GPU_RECURRENCE", raising=False)
    assert gpu.engine_name() == "cudnn"
    assert not gpu.runs(CUDA, 64)

    pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")
    monkeypatch.setenv("TEXTCLF_GPU_RECURRENCE", "triton")
    assert gpu.engine_name() == "triton"
    assert [gpu.runs(CUDA, hidden) for hidden in (64, 65)] == [True, False]
    assert not gpu.runs(torch.device("cpu"), 64)


def test_an_engine_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one, and Triton where it is not installed."""
    monkeypatch.setenv("TEXTCLF_GPU_RECURRENCE", "tritn")
    with pytest.raises(ConfigError, match="'tritn' is not one of triton, cudnn"):
        gpu.engine_name()
    monkeypatch.setenv("TEXTCLF_GPU_RECURRENCE", "triton")
    monkeypatch.setattr(gpu, "_has_triton", lambda: False)
    with pytest.raises(ConfigError, match="Triton is not installed"):
        gpu.engine_name()


def test_the_record_of_a_trial_on_a_gpu_names_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the engine's version, of our kernels with a digest of their source."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.delenv("TEXTCLF_GPU_RECURRENCE", raising=False)
    recorded = environment("cuda:0")
    assert (recorded["device"], recorded["engine"]) == ("a GPU", "cudnn-91002")

    triton = pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")
    monkeypatch.setenv("TEXTCLF_GPU_RECURRENCE", "triton")
    assert environment("cuda:0")["engine"].startswith(f"triton-{triton.__version__}-")
