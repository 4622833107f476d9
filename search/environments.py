"""Whether the trials of a study were made alike: equal bits need equal versions, processor, device, threads, engine."""

from collections.abc import Callable, Mapping

from textclf.records import TrialSummary


def environment_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What differs between two recorded environments, as ``name old -> new``."""
    return [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


class EnvironmentWatch:
    """Says it once for every environment that differs from that of the study's first trials."""

    def __init__(self, *, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._first: TrialSummary | None = None
        self._told: set[str] = set()

    def recall(self, trial: TrialSummary) -> None:
        """Take in a trial of an earlier run, without a word."""
        if self._first is None and trial.environment:  # a trial whose worker died has none
            self._first = trial

    def meet(self, trial: TrialSummary) -> None:
        """Take in a trial of this run."""
        self.recall(trial)
        if self._first is None or not trial.environment:
            return
        changes = ", ".join(environment_changes(self._first.environment, trial.environment))
        if changes and changes not in self._told:
            self._told.add(changes)
            self._tell(
                f"trial {trial.number} ran in another environment than trial {self._first.number} ({changes}): its "
                "bits may differ from those that the first one's would give"
            )
