"""A study is a function of data, space and seed, however it is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from search.view import FrozenView
from tests.search.fakes import (
    Ears,
    FakeStudy,
    optuna_trials,
    processes,
    quality,
    signature,
    suggest,
    suggest_numbers,
)
from textclf.errors import RunError
from textclf.records import TrialSummary

N_TRIALS = 24
SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {},
    "random": {},
    "qmc": {},
    "cmaes": {"n_startup_trials": 3},
    "gp": {"n_startup_trials": 8},
    "nsga2": {"population_size": 4},
}


def fresh(folder: Path, name: str) -> str:
    """Where a new study lives."""
    return f"sqlite:///{folder / name}.db"


def complete(number: int, score: float) -> TrialSummary:
    """A result."""
    return TrialSummary(study="s", number=number, outcome="complete", params={}, seed=0, score=score)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[TrialSummary]:
    """The default study, run in one go by one worker in this process."""
    return FakeStudy(url=fresh(tmp_path_factory.mktemp("one"), "go"), n_trials=N_TRIALS).run()


def test_the_fake_study_is_worth_comparing(undisturbed: list[TrialSummary]) -> None:
    """Trials end in more than one way and no two have the same parameters."""
    assert [trial.number for trial in undisturbed] == list(range(N_TRIALS))
    assert {trial.outcome for trial in undisturbed} == {"complete", "pruned"}
    assert len({str(trial.params) for trial in undisturbed}) == N_TRIALS


@pytest.mark.parametrize("n_workers", [2, 4])
def test_many_workers_run_the_same_study(n_workers: int, undisturbed: list[TrialSummary], tmp_path: Path) -> None:
    """Parameters, outcomes, scores, reports and arrays do not depend on how many processes ran the trials."""
    study = FakeStudy(url=fresh(tmp_path, "study"), n_trials=N_TRIALS, executor=processes(n_workers))

    assert signature(study.run()) == signature(undisturbed)
    assert study.ears.submitted_numbers == list(range(N_TRIALS))


def test_pieces_make_the_same_study(undisturbed: list[TrialSummary], tmp_path: Path) -> None:
    """--n-trials is a total: a study raised to it in four runs is the study of one run."""
    for n_trials in (1, 5, 17, N_TRIALS):
        pieces = FakeStudy(url=fresh(tmp_path, "study"), n_trials=n_trials).run()
        assert len(pieces) == n_trials

    assert signature(pieces) == signature(undisturbed)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_that_may_be_named_is_exact(sampler: str, tmp_path: Path) -> None:
    """For each allowed sampler a study in pieces equals a study in one go, conditional spaces included."""
    asked = suggest_numbers if sampler in ("cmaes", "gp") else suggest
    options: dict[str, Any] = {
        "sampler": sampler,
        "sampler_kwargs": SAMPLERS[sampler],
        "suggest": asked,
        "first_trials": (),
    }

    whole = FakeStudy(url=fresh(tmp_path, "whole"), n_trials=16, **options).run()
    for n_trials in (7, 16):
        pieces = FakeStudy(url=fresh(tmp_path, "pieces"), n_trials=n_trials, **options).run()

    assert signature(pieces) == signature(whole)
    assert len({str(trial.params) for trial in whole}) > 10


def test_the_view_tells_results() -> None:
    """TPE that asks through the frozen view learns: it ends well above random search."""

    def late_quality(sampler: Callable[..., BaseSampler], seed: int) -> float:
        view = FrozenView(lag=4, sampler_of=lambda number: sampler(seed=100 * seed + number))
        results: dict[int, TrialSummary] = {}
        for number in range(60):
            params = view.ask(suggest_numbers, results, fixed={}).params
            results[number] = complete(number, quality(params))
        return sum(result.score or 0.0 for result in list(results.values())[30:]) / 30

    learned = [late_quality(TPESampler, seed) for seed in range(3)]
    chance = [late_quality(RandomSampler, seed) for seed in range(3)]

    assert sum(learned) / 3 > sum(chance) / 3 + 0.1


def test_an_ordinary_seeded_study_is_not_exact() -> None:
    """The guard bites: Optuna's own seeded sampler departs from its study when it is resumed."""

    def run(pieces: tuple[int, ...]) -> list[dict[str, object]]:
        study = optuna.create_study(direction="maximize")
        for n_trials in pieces:
            study.sampler = TPESampler(seed=3)
            study.optimize(lambda trial: quality(suggest_numbers(trial)), n_trials=n_trials)
        return [trial.params for trial in study.trials]

    assert run((30,)) == run((30,))
    assert run((15, 15)) != run((30,))


def test_a_trial_sees_no_result_younger_than_its_lag() -> None:
    """Changing the result of trial k changes no trial before k + lag, and the one at k + lag can change."""

    def asked(changed: int | None) -> list[dict[str, object]]:
        view = FrozenView(lag=3, sampler_of=lambda number: TPESampler(seed=number, n_startup_trials=2))
        results: dict[int, TrialSummary] = {}
        params = []
        for number in range(20):
            trial = view.ask(suggest_numbers, results, fixed={})
            params.append(trial.params)
            results[number] = complete(number, 9.0 if number == changed else quality(trial.params))
        return params

    plain = asked(None)
    for changed in (4, 9, 14):
        other = asked(changed)
        assert other[: changed + 3] == plain[: changed + 3]
        assert other[changed + 3] != plain[changed + 3]


def test_optuna_holds_an_exact_copy(undisturbed: list[TrialSummary], tmp_path: Path) -> None:
    """Optuna's own tools see every trial with its number, parameters, state, score and fold-end reports."""
    url = fresh(tmp_path, "study")
    FakeStudy(url=url, n_trials=N_TRIALS).run()
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}

    for trial, copy in zip(undisturbed, optuna_trials(url), strict=True):
        assert (copy.number, copy.user_attrs["config"]) == (trial.number, trial.params)
        assert copy.state.name == states[trial.outcome]
        assert copy.intermediate_values == dict(trial.reports)
        assert copy.value == (trial.score if trial.outcome == "complete" else trial.reports[-1][1])


def test_first_trials_are_the_known_good_ones(undisturbed: list[TrialSummary]) -> None:
    """Fixed values stand as given and the sampler fills in the rest."""
    assert undisturbed[0].params["family"] == "net"
    assert undisturbed[0].params["lr"] == 0.01
    assert undisturbed[1].params["family"] == "linear"


def test_repeated_parameters_reuse_the_stored_result(tmp_path: Path) -> None:
    """A trial with the parameters of a finished one in its view copies its result and says so; a recent one runs."""
    fixed = {"family": "linear", "cleaning": "none", "c": 1.0}
    study = FakeStudy(url=fresh(tmp_path, "study"), n_trials=7, first_trials=(fixed,) * 7)

    trials = study.run()

    assert study.ears.submitted_numbers == [0, 1, 2, 3]  # 1, 2 and 3 may not see trial 0 yet: lag 4
    assert [bool(trial.notes) for trial in trials] == [False] * 4 + [True] * 3
    assert "trial 0" in trials[4].notes[0]
    assert len({str(outcome[2]) for outcome in signature(trials)}) == 1


def suggest_few(trial: optuna.Trial) -> dict[str, Any]:
    """One of four settings, two of them hopeless beside the best."""
    lr = trial.suggest_categorical("lr", [0.01, 0.02, 0.08, 0.1])
    return {"family": "net", "cleaning": "none", "lr": lr, "dropout": 0.2, "hidden": 32}


def test_a_pruned_result_stands_for_no_other_trial(tmp_path: Path) -> None:
    """Where a trial is pruned depends on what it sees: the same parameters run again; complete results are copied."""
    study = FakeStudy(
        url=fresh(tmp_path, "study"), n_trials=30, suggest=suggest_few, sampler="random", first_trials=({"lr": 0.01},)
    )
    trials = study.run()
    copies = {trial.number: trial.attributes["copy_of"] for trial in trials if "copy_of" in trial.attributes}
    seen_pruned = [
        trial.number
        for trial in trials
        for other in trials[: max(0, trial.number - study.lag + 1)]
        if other.outcome == "pruned" and other.params == trial.params
    ]

    assert copies
    assert seen_pruned  # there were pruned results that could have been copied
    assert {trials[number].outcome for number in copies.values()} == {"complete"}
    for number, earlier in copies.items():
        assert earlier == min(
            other.number for other in trials if other.outcome == "complete" and other.params == trials[number].params
        )
    assert set(seen_pruned) - copies.keys() <= set(study.ears.submitted_numbers)
    assert sorted([*study.ears.submitted_numbers, *copies]) == list(range(30))


def test_a_study_changed_by_another_program_is_refused(tmp_path: Path) -> None:
    """A trial that someone else added to Optuna's tables stops the run before it does harm."""
    url = fresh(tmp_path, "study")
    FakeStudy(url=url, n_trials=3).run()
    study = optuna.load_study(study_name="study", storage=url)
    study.ask()

    with pytest.raises(RunError, match="trial 3 was added by another program"):
        FakeStudy(url=url, n_trials=6).run()


def test_other_studies_in_the_database_do_not_matter(undisturbed: list[TrialSummary], tmp_path: Path) -> None:
    """Ids of rows differ where several studies share a database; trials do not."""
    url = fresh(tmp_path, "study")
    for name, n_trials in (("first", 5), ("second", 3), ("study", 9), ("first", 7), ("study", N_TRIALS)):
        trials = FakeStudy(url=url, n_trials=n_trials, name=name, seed=3).run()

    assert signature(trials) == signature(undisturbed)


def test_nothing_overshoots(tmp_path: Path) -> None:
    """A study that has its trials gets no more, with however many workers."""
    url = fresh(tmp_path, "study")
    FakeStudy(url=url, n_trials=5).run()
    ears = Ears()

    assert len(FakeStudy(url=url, n_trials=5, executor=processes(3), ears=ears).run()) == 5
    assert ears.submitted_numbers == []


def test_first_trials_are_never_pruned(tmp_path: Path) -> None:
    """Bad settings that the sampler draws are cut short; the same settings as first trials run to their end."""
    good = {"family": "net", "lr": 0.01, "dropout": 0.2}
    hopeless = [{"family": "linear", "c": 0.02 + number / 1000} for number in range(8)]
    study = FakeStudy(url=fresh(tmp_path, "study"), n_trials=9, first_trials=(good, *hopeless))

    assert {trial.outcome for trial in study.run()} == {"complete"}


def test_a_run_that_is_out_of_time_begins_nothing(undisturbed: list[TrialSummary], tmp_path: Path) -> None:
    """--timeout ends a run, not the study: trials that it left unfinished run when the study goes on."""
    url = fresh(tmp_path, "study")
    FakeStudy(url=url, n_trials=3).run()
    late = FakeStudy(url=url, n_trials=N_TRIALS, timeout=0.0)

    assert len(late.run()) == 3
    assert late.ears.submitted_numbers == []
    assert signature(FakeStudy(url=url, n_trials=N_TRIALS, timeout=1000.0).run()) == signature(undisturbed)
