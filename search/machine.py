"""What of this machine a study may use: device, jobs at one time, threads, and which GPU is whose."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.options import StudyOptions
from search.worker import worker_environment
from textclf.determinism import available_device
from textclf.errors import ConfigError, RunError


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where trials run: n_jobs at one time, each with its threads, on "cpu" or on "cuda".

    gpus: names of the GPUs that workers are dealt to, as CUDA_VISIBLE_DEVICES has them; none for a cluster, whose
        workers have GPUs of their own
    """

    device: str
    n_jobs: int
    threads: int
    gpus: tuple[str, ...] = ()

    @property
    def environments(self) -> list[dict[str, str]]:
        """Variables of each worker's process; workers are dealt to the GPUs in turn."""
        gpu_of = [self.gpus[slot % len(self.gpus)] if self.gpus else None for slot in range(self.n_jobs)]
        return [worker_environment(threads=self.threads, gpu=gpu) for gpu in gpu_of]


def plan_machine(options: StudyOptions, recorded: Mapping[str, Any] | None) -> Machine:
    """Decide device, jobs and threads; a study that is there already keeps its threads and its kind of device.

    Raises ConfigError for a device that is not known, not here, or not to be had with the executor.
    """
    wanted = options.device
    if recorded is not None and wanted == "auto":
        wanted = str(recorded["device"])
    kind, is_one, number = available_device(wanted).partition(":")
    if kind not in ("cpu", "cuda") or (kind == "cpu" and is_one):
        raise ConfigError(f"--device: {options.device!r} is not auto, cpu, cuda or cuda:N")
    if is_one and options.executor == "dask":
        raise ConfigError(
            f"--device: {options.device} cannot choose a GPU of a Dask cluster; give --device cuda, and start each "
            "worker with CUDA_VISIBLE_DEVICES"
        )
    gpus: tuple[str, ...] = ()
    if kind == "cuda" and options.executor != "dask":
        gpus = _choose_gpus(number if is_one else None, options)
    is_inline = options.executor == "inline"
    n_jobs = options.n_jobs or max(1, 0 if is_inline else len(gpus) * options.workers_per_gpu)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = options.threads or (int(recorded["threads"]) if recorded else max(1, n_cores // n_jobs))
    return Machine(device=kind, n_jobs=n_jobs, threads=threads, gpus=gpus)


def require_device(device: str) -> None:
    """Refuse to repeat a trial without the kind of device it ran on: RunError where there is no GPU."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("the study ran on cuda, but torch sees no GPU; repeat it on a machine with one of the same type")


def _choose_gpus(number: str | None, options: StudyOptions) -> tuple[str, ...]:
    """Names of all GPUs that torch sees, or of the one that was numbered; ConfigError where it is not here."""
    import torch

    n_seen = torch.cuda.device_count()
    if not n_seen:
        asked = "the study runs on cuda" if options.device == "auto" else f"{options.device} was asked for"
        raise ConfigError(
            f"--device: {asked}, but torch sees no GPU; go on where there is one, or begin a study with --device cpu"
        )
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    names = (listed or [str(place) for place in range(n_seen)])[:n_seen]  # CUDA stops at the first name it cannot find
    if number is None:
        return tuple(names)
    known = ", ".join(f"cuda:{place}" for place in range(len(names)))
    if not number.isdecimal() or int(number) >= len(names):
        raise ConfigError(f"--device: {options.device!r} is not here; there is {known}")
    if options.executor == "inline" and int(number) > 0:
        raise ConfigError(
            f"--device: {options.device} needs a process that sees this GPU alone; leave --executor inline away"
        )
    return (names[int(number)],)
