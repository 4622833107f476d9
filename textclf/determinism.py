"""Seeds that are arguments, switches that make torch repeat itself, and a record of what ran."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np

# cuBLAS and cuDNN read this once, when CUDA starts; the small setting satisfies both.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":16:8")

RECORDED_PACKAGES = ("textclf-search", "torch", "numpy", "scipy", "scikit-learn", "pandas", "optuna")


def derive_seed(*path: int) -> int:
    """Mix whole numbers into one seed below 2**63: near paths give unrelated seeds (numpy's SeedSequence).

    >>> derive_seed(1, 0) != derive_seed(0, 1)
    True
    """
    return int(np.random.SeedSequence(path).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, *, device: str) -> Iterator[None]:
    """Seed torch for a with block and leave no trace of it; ``exact`` holds inside."""
    import torch

    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices), exact():
        torch.manual_seed(seed)
        yield


@contextmanager
def exact() -> Iterator[None]:
    """Let torch use algorithms that repeat themselves alone, and float32 where float32 is asked for."""
    import torch

    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    was_benchmark, was_tf32 = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    torch.use_deterministic_algorithms(mode=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass over every buffer
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=was_deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = was_filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = was_benchmark
        torch.backends.cuda.matmul.allow_tf32 = was_tf32


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a with block under one torch thread: orthogonal initialisation depends on the thread count."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def limit_threads(n_threads: int) -> Iterator[None]:
    """Compute a with block under so many threads, in torch and in the libraries under numpy."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(before)


def environment(device: str) -> dict[str, str]:
    """What may move a prediction by rounding: versions, processor, device, threads, engine."""
    import torch

    from textclf import engine, gpu

    on_gpu = device.startswith("cuda")
    versions = {package: version(package) for package in RECORDED_PACKAGES}
    return {
        **versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": str(torch.get_num_threads()),
        "engine": gpu.engine_fingerprint() if on_gpu else engine.engine_fingerprint(),
    }


def available_device(wanted: str) -> str:
    """Turn "auto" into "cuda" where there is one, else "cpu"; other names pass."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
