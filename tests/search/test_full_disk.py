"""A full disk is nobody's fault: trials wait for room, and a run that waited in vain leaves a study to go on with."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search.executors import InlineExecutor
from search.objective import run_trial
from search.spec import TrialJob
from search.worker import Hooks
from tests.search.fakes import Ears, FakeStudy, processes, signature
from tests.search.objectives import fake_cross_validate, make_fake_inputs
from textclf.crossval import OofRun
from textclf.errors import RunError
from textclf.records import TrialRecord

FULL = Path("/dev/full")  # the kernel answers every write to it as a full disk does
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
N_TRIALS, WRITER = 8, 5


def writing_run(job: TrialJob, hooks: Hooks, shared: str) -> TrialRecord:
    """A trial through the real run_trial; number 5 writes to a file on its way."""

    def objective(*told: Any, **how: Any) -> OofRun:
        if job.spec.number == WRITER and shared:
            Path(shared).write_bytes(b"something")
        return fake_cross_validate(*told, **how)

    params = {"family": "dan", "dropout": job.spec.params.get("dropout", 0.3)}
    fake = dataclasses.replace(job, spec=dataclasses.replace(job.spec, params=params))
    record = run_trial(fake, make_fake_inputs(), hooks=hooks, objective=objective)
    return dataclasses.replace(record, params=dict(job.spec.params))


def study(folder: Path, name: str, **more: Any) -> FakeStudy:
    """A study of eight trials over the real run_trial."""
    return FakeStudy(url=f"sqlite:///{folder}/{name}.db", n_trials=N_TRIALS, run_trial=writing_run, **more)


@needs_full
@pytest.mark.parametrize("executor", [InlineExecutor, processes(1)], ids=["inline", "processes"])
def test_a_trial_that_meets_a_full_disk_waits(executor: Any, tmp_path: Path) -> None:
    """It runs again under its number when there is room, however often, and costs no retry."""
    disk = tmp_path / "disk"
    disk.symlink_to(FULL)

    class MakeRoom(Ears):
        """Makes room when trial 5 is given to a worker for the third time."""

        def submitted(self, spec: Any) -> None:
            super().submitted(spec)
            if spec.number == WRITER and self.submitted_numbers.count(WRITER) == 3:
                disk.unlink()

    ears = MakeRoom()
    trials = study(tmp_path, "full", executor=executor, ears=ears, shared=str(disk), retries=0).run()

    assert signature(trials) == signature(study(tmp_path, "whole").run())
    assert "failed" not in {trial.outcome for trial in trials}
    told = [line for line in ears.lines if "trial 5" in line]
    assert told == [
        "trial 5: the disk is full, waiting for room ([Errno 28] No space left on device)",
        "trial 5: there is room on the disk again",
    ]


@needs_full
def test_a_disk_that_stays_full_stops_the_run(tmp_path: Path) -> None:
    """Without a result for the trial, which runs when the study goes on, to the same end."""
    disk = tmp_path / "disk"
    disk.symlink_to(FULL)
    with pytest.raises(RunError, match=r"trial 5: the disk is full .*nothing that finished is lost: make room"):
        study(tmp_path, "full", shared=str(disk), longest_absence=0.5).run()
    disk.unlink()
    ears = Ears()
    trials = study(tmp_path, "full", shared=str(disk), ears=ears).run()

    assert ears.submitted_numbers[0] == WRITER
    assert signature(trials) == signature(study(tmp_path, "whole").run())


SCRIPT = """
import sys
from pathlib import Path
from tests.search.fakes import Ears, FakeStudy, signature

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])

class Fill(Ears):
    def finished(self, record):
        super().finished(record)
        if len(self.records) == 3:
            with open(disk / "filler", "wb", buffering=0) as filler:
                try:
                    while filler.write(bytes(4096)):
                        pass
                except OSError as error:
                    print("filled:", error)

    def said(self, line):
        print(line)
        if "waiting" in line:
            (disk / "filler").unlink()

here = FakeStudy(url=f"sqlite:///{disk}/study.db", n_trials=8, ears=Fill()).run()
print("equal:", signature(here) == signature(FakeStudy(url=f"sqlite:///{elsewhere}/study.db", n_trials=8).run()))
"""


def test_a_study_on_a_disk_that_fills_up(tmp_path: Path) -> None:
    """A real file system of 4 MB, filled to its last byte in the middle of a study: it waits, and ends as ever."""
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=4m none "$1" && echo mounted && exec "$3" -c "$4" "$1" "$2"'
    if shutil.which("unshare") is None:
        pytest.skip("this system has no unshare")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", tmp_path / "disk", tmp_path, sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        check=False,
    )
    if not run.stdout.startswith("mounted"):
        pytest.skip(f"this system lets nobody mount a disk of their own ({run.stderr.strip()})")

    assert run.returncode == 0, run.stderr
    for words in ("filled: [Errno 28]", "the database is away, waiting for it", "disk", "is back after", "equal: True"):
        assert words in run.stdout
