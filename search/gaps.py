"""How far each trial is behind the leader, as its MLflow run has it: written where it has changed, and nowhere else."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from search.ranking import Standing
from search.tracked import SHOWN_DIGITS

NAMES = ("behind", "behind_error")
Log = Callable[[str, Mapping[str, float]], None]


class Gaps:
    """What the runs of a study have of the gaps, by trial number."""

    def __init__(self) -> None:
        self._written: dict[int, dict[str, float]] = {}

    def read(self, runs: Iterable[Any], *, number_tag: str) -> None:
        """Learn from MLflow's runs what they have."""
        for run in runs:
            known = {name: run.data.metrics[name] for name in NAMES if name in run.data.metrics}
            self._written[int(run.data.tags[number_tag])] = known

    def forget(self, number: int) -> None:
        """A trial has a fresh run."""
        self._written.pop(number, None)

    def write(self, log: Log, standings: Sequence[Standing], runs: Mapping[int, str]) -> None:
        """Bring the runs of some standings up to date; log: writes a run's metrics, runs: ids by trial number."""
        for standing in standings:
            number, found = standing.trial.number, gap_metrics(standing)
            if number in runs and self._written.get(number) != found:
                log(runs[number], found)
                self._written[number] = found


def gap_metrics(standing: Standing) -> dict[str, float]:
    """How far a trial is behind the leader, and the standard error of that; undefined numbers are left out."""
    named = dict(zip(NAMES, (standing.gap, standing.gap_error), strict=True))
    return {name: round(value, SHOWN_DIGITS) for name, value in named.items() if math.isfinite(value)}
