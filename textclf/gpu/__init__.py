"""The recurrent networks on a GPU: kernels in Triton, batches of one shape, and steps recorded as CUDA graphs."""

import os
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch

from textclf.arrays import source_digest
from textclf.errors import ConfigError

GpuEngine = Literal["triton", "cudnn"]


def engine_name() -> GpuEngine:
    """Name what runs the recurrence of CUDA tensors: cuDNN, or where it is asked for our kernels.

    raises: ConfigError if ``TEXTCLF_GPU_RECURRENCE`` names neither, or Triton where it is not installed
    """
    wanted = os.environ.get("TEXTCLF_GPU_RECURRENCE") or "cudnn"
    if wanted not in get_args(GpuEngine):
        raise ConfigError(f"TEXTCLF_GPU_RECURRENCE: {wanted!r} is not one of {', '.join(get_args(GpuEngine))}")
    if wanted == "triton" and not _has_triton():
        raise ConfigError("TEXTCLF_GPU_RECURRENCE: Triton is not installed; install it, or set cudnn")
    return wanted  # type: ignore[return-value]


def runs(device: torch.device, hidden_size: int) -> bool:
    """Whether our kernels run the layers of this size there; wider ones and their gradients go through cuDNN."""
    if device.type != "cuda" or engine_name() != "triton":
        return False
    from textclf.gpu import layers  # imports Triton

    return hidden_size <= layers.LARGEST_HIDDEN


def engine_fingerprint() -> str:
    """Name the engine of CUDA tensors and its version in one short string, for a run's recorded environment."""
    if engine_name() == "cudnn":
        return f"cudnn-{torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    return f"triton-{version('triton')}-{source_digest(Path(__file__).parent.glob('*.py'))}"


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
