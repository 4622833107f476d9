"""``python -m search.reproduce``: run trials again from their records and compare, bit by bit."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from textclf.errors import ConfigError, TextclfError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from search.jobs import Jobs
    from textclf.inputs import Inputs
    from textclf.records import StudyRecord, TrialRecord, TrialSummary
    from textclf.store import PredictionStore

DIFFERS, FAILED = 1, 2
COMPARED = ("outcome", "score", "fold_scores", "thresholds", "reports", "seed")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A trial beside its repetition.

    differences: a line each, empty where all is equal; environment: what is not as it was, name by name
    """

    number: int
    differences: tuple[str, ...]
    environment: tuple[str, ...]
    seconds: float

    @property
    def is_equal(self) -> bool:
        """Whether every array and number is the same, bit by bit."""
        return not self.differences

    def __str__(self) -> str:
        told = "equal" if self.is_equal else f"differs: {'; '.join(self.differences)}"
        changed = f"; environment: {', '.join(self.environment)}" if self.environment else ""
        return f"trial {self.number}: {told}{changed} ({self.seconds:.1f} s)"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs"), metavar="DIR", help="The study's folder."
)
@click.option("--storage", metavar="URL", help="The study's database, where it is elsewhere.")
@click.option("--study-name", metavar="NAME", help="Which study, where the database holds several.")
@click.option("--trial", "numbers", type=int, multiple=True, metavar="N", help="Trial to run again; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Run every finished trial again.")
@click.option("--threads", type=int, metavar="N", help="Threads, other than those recorded.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def main(
    *,
    output: Path,
    storage: str | None,
    study_name: str | None,
    numbers: tuple[int, ...],
    everything: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Run trials again from their records and compare what comes out, bit by bit.

    Says which arrays differ and by how much, and what differs in the environment: versions, device, threads.
    Exit codes: 0 all equal, 1 something differs, 2 wrong input.
    """
    try:
        if not numbers and not everything:
            raise ConfigError("--trial N or --all: say what to run again")
        equal = True
        for compared in reproduce(
            output, storage=storage, study_name=study_name, numbers=None if everything else numbers, threads=threads
        ):
            equal &= compared.is_equal
            click.echo(_to_json(compared) if as_json else str(compared))
    except TextclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    sys.exit(0 if equal else DIFFERS)


def reproduce(
    output: Path | str,
    *,
    storage: str | None = None,
    study_name: str | None = None,
    numbers: tuple[int, ...] | None = None,
    threads: int | None = None,
) -> Iterator[Comparison]:
    """Run trials of a study again, all where no numbers are given; yields a comparison per trial.

    A trial that failed because its worker died has nothing to compare and is passed over.
    """
    from textclf.place import find_storage, only_study, open_study_store, study_inputs

    with open_study_store(output, storage=storage) as store:
        study = store.read_study(study_name or only_study(store))
        inputs = study_inputs(output, study)
        results = {trial.number: trial for trial in store.trials(study.name)}
        jobs = _make_jobs(find_storage(output, storage=storage), store, study, results)
        for number in sorted(results) if numbers is None else numbers:
            if number not in results:
                raise ConfigError(f"--trial: study {study.name!r} has no finished trial {number}")
            if results[number].environment:
                yield _compare_trial(store.read_trial(study.name, number), jobs, inputs, results, threads=threads)


def _compare_trial(
    recorded: "TrialRecord",
    jobs: "Jobs",
    inputs: "Inputs",
    results: "Mapping[int, TrialSummary]",
    *,
    threads: int | None,
) -> Comparison:
    import dataclasses

    from search.machine import require_device
    from search.objective import run_trial
    from search.spec import COPY_OF, TrialSpec
    from search.worker import Hooks

    rules = jobs.rules
    require_device(rules.device)
    spec = TrialSpec(
        study=recorded.study,
        number=recorded.number,
        params=recorded.params,
        seed=recorded.seed,
        data_digest=inputs.data_digest,
        fold_digest=inputs.folds.digest,
        metric=jobs.study.metric,
        device=rules.device,
        threads=threads or rules.threads,
    )
    seen_by = dataclasses.replace(spec, number=recorded.attributes.get(COPY_OF, spec.number))
    job = dataclasses.replace(jobs.job(seen_by, results), spec=spec)
    again = run_trial(job, inputs, hooks=Hooks(tell=lambda _: None, should_stop=lambda: False))
    return compare_trials(recorded, again)


def compare_trials(recorded: "TrialRecord", again: "TrialRecord") -> Comparison:
    """Compare two records of one trial: numbers and arrays bit by bit, and the environments."""
    from search.environments import environment_changes
    from textclf.arrays import array_digest

    differences = [
        f"{name} {_short(before)} -> {_short(after)}"
        for name in COMPARED
        if repr(before := getattr(recorded, name)) != repr(after := getattr(again, name))
    ]
    old, new = recorded.arrays(), again.arrays()
    for name in dict.fromkeys((*old, *new)):
        if name not in old or name not in new:
            differences.append(f"{name} is {'new' if name in new else 'missing'}")
        elif array_digest(old[name]) != array_digest(new[name]):
            differences.append(f"{name}: {_describe_difference(old[name], new[name])}")
    changed = environment_changes(recorded.environment, again.environment)
    return Comparison(
        number=recorded.number, differences=tuple(differences), environment=tuple(changed), seconds=again.seconds
    )


def _describe_difference(old: "NDArray[Any]", new: "NDArray[Any]") -> str:
    import numpy as np

    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype}{old.shape} -> {new.dtype}{new.shape}"
    differs = (old != new) & ~(np.isnan(old) & np.isnan(new))
    largest = float(np.nanmax(np.abs(old - new)))
    return f"{np.count_nonzero(differs):,} of {old.size:,} values, by {largest:.1e} at most"


def _make_jobs(
    url: str, store: "PredictionStore", study: "StudyRecord", results: "Mapping[int, TrialSummary]"
) -> "Jobs":
    """What each trial was allowed to see, put together again from the record."""
    from search.incumbents import Incumbents
    from search.jobs import Jobs, SearchRules
    from search.mirror import OptunaMirror
    from search.quiet import quiet_optuna
    from search.view import FrozenView

    rules = SearchRules.from_settings(study.settings)
    view = FrozenView(lag=rules.lag, sampler_of=lambda number: rules.sampler.for_trial(number, study_seed=rules.seed))
    incumbents = Incumbents(study, store)
    with quiet_optuna():
        mirror = OptunaMirror(url, study.name)
    view.restore(mirror.trials())
    mirror.close()
    for number in sorted(results):
        incumbents.add(results[number])
    return Jobs(study, rules, view, incumbents)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _to_json(compared: Comparison) -> str:
    import dataclasses
    import json

    return json.dumps({**dataclasses.asdict(compared), "equal": compared.is_equal})


if __name__ == "__main__":
    main()
