"""What a study looks like on a terminal while it runs: one page, drawn again and again."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.leaderboard import fitting_columns, leader_rows, leader_table
from search.prepare import PreparedStudy
from search.progress import Silence, describe_plan, describe_progress, describe_result
from search.ranking import show_seconds
from search.spec import Progress, TrialSpec
from textclf.records import TrialRecord, TrialSummary

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

N_LEADERS = 5
LEADER_COLUMNS = ("trial", "score", "folds", "time", "family", "parameters")
SECONDS_BETWEEN_PROBES = 2.0


@dataclass
class _Running:
    """A trial under way: since when, and how far."""

    family: str
    since: float
    progress: Progress | None = None


class LivePage(Silence):
    """A page that is drawn again and again: the study's bar, every running trial, and the five best ones."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live

        self._console = console
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._results: list[TrialSummary] = []
        self._n_earlier = 0
        self._n_trials, self._n_jobs, self._metric = 0, 1, "score"
        self._settings: Mapping[str, Any] = {}
        self._began = time.monotonic()
        self._memory, self._probed = "", -SECONDS_BETWEEN_PROBES
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def prepared(self, study: PreparedStudy, *, n_jobs: int) -> None:
        """Say what is about to run and open the page."""
        self._console.print(str(study.report), highlight=False, markup=False)
        self._console.print(describe_plan(study, n_jobs=n_jobs), highlight=False, markup=False)
        self._n_trials, self._n_jobs, self._metric = study.options.n_trials, n_jobs, study.metric.name
        self._settings = {"space": study.space.to_json()}
        self._live.start()

    def progressed(self, progress: Progress) -> None:
        """Move a trial on."""
        with self._lock:
            if progress.number in self._running:
                self._running[progress.number].progress = progress

    def recovered(self, trials: Sequence[TrialSummary]) -> None:
        """Show what is there already."""
        with self._lock:
            self._results += trials
            self._n_earlier = len(self._results)

    def submitted(self, spec: TrialSpec) -> None:
        """Show a trial."""
        with self._lock:
            self._running[spec.number] = _Running(str(spec.params.get("family", "")), time.monotonic())

    def finished(self, record: TrialRecord) -> None:
        """Move a trial to the results."""
        kept = TrialSummary(
            study=record.study,
            number=record.number,
            outcome=record.outcome,
            params=record.params,
            seed=record.seed,
            score=record.score,
            fold_scores=record.fold_scores,
            seconds=record.seconds,
            reason=record.reason,
        )
        with self._lock:
            self._running.pop(record.number, None)
            self._results.append(kept)
        self._console.print(
            f"trial {record.number} {describe_result(record, self._metric)}", highlight=False, markup=False
        )

    def said(self, line: str) -> None:
        """Print a line above the page."""
        self._console.print(line, style="yellow", highlight=False, markup=False)

    def interrupted(self, line: str) -> None:
        """Print it above the page, which would wipe it from the other stream."""
        self.said(line)

    def close(self) -> None:
        """Take the page away."""
        self._live.stop()

    def _draw(self) -> "RenderableType":
        from rich.console import Group

        with self._lock:
            running, results = dict(self._running), list(self._results)
        parts = [self._draw_bar(results), self._draw_running(running)]
        if rows := leader_rows(results, self._settings)[:N_LEADERS]:
            shown = fitting_columns(rows, LEADER_COLUMNS, metric=self._metric, width=self._console.width)
            parts.append(leader_table(rows, shown, metric=self._metric, title=f"best by {self._metric}"))
        return Group(*parts)

    def _draw_bar(self, results: list[TrialSummary]) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        elapsed = time.monotonic() - self._began
        left = time_left(results[self._n_earlier :], self._n_trials - len(results), n_jobs=self._n_jobs)
        told = f"{len(results)} of {self._n_trials} trials, {show_seconds(elapsed)}"
        told += f", about {show_seconds(left)} left" if left is not None else ""
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=self._n_trials, completed=len(results), width=30), told, self._probe())
        return row

    def _draw_running(self, running: dict[int, _Running]) -> "RenderableType":
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for number, trial in sorted(running.items()):
            told = "starting" if trial.progress is None else describe_progress(trial.progress)
            table.add_row(f"trial {number}", trial.family, told, show_seconds(time.monotonic() - trial.since))
        return table

    def _probe(self) -> str:
        """Memory of this process and its workers, looked up every other second."""
        if time.monotonic() - self._probed > SECONDS_BETWEEN_PROBES:
            self._memory, self._probed = used_memory(), time.monotonic()
        return self._memory


def time_left(results: list[TrialSummary], n_left: int, *, n_jobs: int) -> float | None:
    """Seconds until the study is done, at the pace of the trials so far; None before there is a pace."""
    paced = [trial.seconds for trial in results if trial.seconds > 0]
    return max(0, n_left) * sum(paced) / len(paced) / n_jobs if paced else None


def used_memory() -> str:
    """Resident memory of this process and its children, and of the GPUs where their tool answers."""
    import psutil

    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return f"{total / 2**30:.1f} GiB"
