"""The Python API: run a study from a notebook or a script, and get pandas frames back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search.options import make_options, read_config_file, read_preset
from textclf.errors import DataError
from textclf.records import StudyRecord, TrialRecord, TrialSummary
from textclf.store import PredictionStore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudyResult:
    """A study's trials and predictions.

    study: what all trials share; summaries: finished trials by number
    """

    storage: str
    study: StudyRecord
    summaries: tuple[TrialSummary, ...]
    interrupted: bool = False

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per finished trial: outcome, score, fold mean and deviation, seconds, reason, and every parameter."""
        import pandas as pd

        from search.ranking import rank_trials

        rows = []
        for trial in self.summaries:
            standing = next(iter(rank_trials([trial])), None)
            rows.append(
                {
                    "trial": trial.number,
                    "outcome": trial.outcome,
                    "score": trial.score,
                    "fold_mean": None if standing is None else standing.fold_mean,
                    "fold_std": None if standing is None else standing.fold_std,
                    "seconds": trial.seconds,
                    "reason": trial.reason,
                    **trial.params,
                }
            )
        return pd.DataFrame(rows).set_index("trial") if rows else pd.DataFrame()

    @property
    def best(self) -> TrialRecord:
        """The best complete trial with its arrays; DataError where none is complete."""
        from search.ranking import rank_trials

        standings = rank_trials(self.summaries)
        if not standings:
            raise DataError(f"study {self.study.name!r} has no complete trial yet")
        return self.trial(standings[0].trial.number)

    def trial(self, number: int) -> TrialRecord:
        """A finished trial with its arrays."""
        store = PredictionStore(self.storage)
        try:
            return store.read_trial(self.study.name, number)
        finally:
            store.close()

    def oof(self, number: int) -> "pd.DataFrame":
        """Out-of-fold probabilities of a trial: a row per training row, by its id, and a column per class."""
        return self._frame(self.study.train_ids, self.trial(number).oof)

    def test(self, number: int) -> "pd.DataFrame":
        """Test probabilities of a trial: a row per test row, by its id, and a column per class."""
        return self._frame(self.study.test_ids, self.trial(number).test_proba)

    def _frame(self, ids: Sequence[str], proba: NDArray[np.float64]) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(proba, index=pd.Index(ids, name="id"), columns=list(self.study.task.class_names))


def run_study(
    *,
    preset: str | None = None,
    config: Path | str | None = None,
    space: Mapping[str, Mapping[str, Any]] | Path | str | None = None,
    enqueue: Sequence[Mapping[str, Any]] | Path | str | None = None,
    show: bool = True,
    **options: Any,
) -> StudyResult:
    """Run a study, or go on with it; options are those of ``python -m search.run``, with underscores.

    space, enqueue: files as on the command line, or what such a file holds; show: print a line per trial.
    In a script with n_jobs above 1, call it under ``if __name__ == "__main__":``, as spawned processes require.

    >>> result = run_study(train="train.csv", test="test.csv", text="text", target="label")  # doctest: +SKIP
    >>> result.trials.sort_values("score").tail()  # doctest: +SKIP
    """
    from search.launch import check_study, run_prepared
    from search.progress import Lines, Silence

    from_preset, ranges = ({}, {}) if preset is None else read_preset(preset)
    from_file = {} if config is None else read_config_file(config)
    given = {
        **options,
        **{name: path for name, path in (("space", space), ("enqueue", enqueue)) if isinstance(path, str | Path)},
    }
    layers = [(f"preset {preset}", from_preset), (str(config), from_file), ("run_study", given)]
    made = make_options(*layers)
    if made.demo:
        from search.demo import write_demo
        from search.launch import make_folder

        make_folder(made.output)
        made = make_options(("demo", write_demo(made.output / "data")), *layers)
    if isinstance(space, Mapping):
        for section, values in space.items():
            ranges.setdefault(section, {}).update(values)
    first = None if enqueue is None or isinstance(enqueue, str | Path) else list(enqueue)
    prepared, machine = check_study(made, ranges, enqueued=first)
    display = Lines(print, verbose=False) if show else Silence()
    outcome = run_prepared(prepared, machine, display)
    return StudyResult(made.storage_url, outcome.record, tuple(outcome.trials), interrupted=outcome.interrupted)


def load_study(
    output: Path | str = "runs", *, study_name: str | None = None, storage: str | None = None
) -> StudyResult:
    """Read a study that is there; its name may be left out where the folder holds one.

    Raises ConfigError or DataError where there is none.
    """
    from textclf.place import find_storage, only_study, open_study_store

    with open_study_store(output, storage=storage) as store:
        study = store.read_study(study_name or only_study(store))
        return StudyResult(find_storage(output, storage=storage), study, tuple(store.trials(study.name)))
