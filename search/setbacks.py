"""Trials that come back without a result: lost with their worker, failed, or stopped by a full disk."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from search.patience import LONGEST_ABSENCE, growing_waits
from search.spec import DIVERGED, TrialJob
from textclf.errors import RunError
from textclf.records import TrialRecord, TrialSummary

DIED = "worker died"
MOST_FAILURES = 3  # in a row, not counting diverged ones: then something is wrong with the study, not with a trial


@dataclass(kw_only=True)
class Setbacks:
    """Decides what follows: another attempt, a failed trial, a pause, or the end of the run.

    tell: hears a line of each; longest: seconds that a full disk is waited for
    """

    tell: Callable[[str], None]
    longest: float = LONGEST_ABSENCE

    _n_lost: dict[int, int] = field(default_factory=dict)
    _n_failures: int = 0
    _on_full_disk: set[int] = field(default_factory=set)
    _waits: Iterator[float] = field(default_factory=growing_waits)
    _full_since: float = 0.0
    _next_attempt: float = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether no trial is to begin now."""
        return bool(self._on_full_disk) and time.monotonic() < self._next_attempt

    def lose(self, job: TrialJob, error: BaseException, *, retries: int) -> TrialRecord | None:
        """Hear that a trial's worker is gone: None for another attempt, or the record of its failure."""
        spec = job.spec
        n_lost = self._n_lost[spec.number] = self._n_lost.get(spec.number, 0) + 1
        if n_lost <= retries:
            line = str(error).splitlines()[0] if str(error) else repr(error)
            self.tell(f"trial {spec.number}: {line}; trying again ({n_lost} of {retries})")
            return None
        return TrialRecord(
            study=spec.study,
            number=spec.number,
            outcome="failed",
            params=dict(spec.params),
            seed=spec.seed,
            reason=f"{DIED} {n_lost} times: {error}",
        )

    def meet_full_disk(self, number: int, error: BaseException) -> None:
        """Begin a pause, longer than the last one; RunError where the disk was full too long."""
        if not self._on_full_disk:
            self._full_since, self._waits = time.monotonic(), growing_waits()
            self.tell(f"trial {number}: the disk is full, waiting for room ({error})")
        self._on_full_disk.add(number)
        self._next_attempt = time.monotonic() + next(self._waits)
        if time.monotonic() - self._full_since > self.longest:
            raise RunError(
                f"trial {number}: the disk is full ({error}); nothing that finished is lost: make room and run again"
            )

    def count(self, result: TrialSummary) -> None:
        """Hear of a result, in number order; RunError where too many in a row failed."""
        failed = result.outcome == "failed" and not result.reason.startswith(DIVERGED)
        self._n_failures = self._n_failures + 1 if failed else 0
        if self._n_failures >= MOST_FAILURES:
            raise RunError(
                f"{MOST_FAILURES} trials in a row failed; the last one (trial {result.number}) says:\n{result.reason}"
            )

    def get_over(self, number: int) -> None:
        """Hear that a trial has its result after all."""
        if number in self._on_full_disk:
            self._on_full_disk.discard(number)
            if not self._on_full_disk:
                self.tell(f"trial {number}: there is room on the disk again")
