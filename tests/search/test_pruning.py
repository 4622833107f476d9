"""The paired pruner: its arithmetic, its error rate, its power; and every named pruner in an exact study."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from search.pruning import PRUNERS, PairedLossPruner, PrunerChoice, excess_p_value, spent
from search.quiet import quiet_optuna
from search.spec import Incumbent
from tests.search.fakes import FakeStudy, signature
from tests.search.objectives import run_fake_trial
from textclf.arrays import FloatArray
from textclf.errors import ConfigError

N_ROWS, N_FITS = 1000, 5
FOLDS = np.arange(N_ROWS) % N_FITS


def when_pruned(losses: FloatArray, incumbent: Incumbent | None, *, value: float = 0.5, **options: Any) -> int | None:
    """After which fit a trial with these row losses, reporting one value, is pruned; in Optuna's idiom."""
    pruner = PairedLossPruner(incumbent=incumbent, **options)
    with quiet_optuna():
        study = optuna.create_study(direction="maximize", pruner=pruner)
    trial = study.ask()
    for fit in range(N_FITS):
        held_out = np.equal(FOLDS, fit)
        pruner.observe(losses[held_out], held_out, repeat=0, n_fits=N_FITS)
        trial.report(value, 100 * (fit + 1))
        if trial.should_prune():
            return fit + 1
    return None


def incumbent_with(losses: FloatArray, *, value: float = 0.6) -> Incumbent:
    """An incumbent that reported one value after each fit."""
    reports = tuple((100 * (fit + 1), value) for fit in range(N_FITS))
    return Incumbent(number=0, row_losses=losses[np.newaxis], reports=reports)


def test_one_fit_is_student_s_test() -> None:
    """With the rows of one fit the p-value is that of scipy's one-sided t-test."""
    rows = np.random.default_rng(0).normal(0.02, 1, 400)

    assert excess_p_value([rows]) == pytest.approx(stats.ttest_1samp(rows, 0, alternative="greater").pvalue)


def test_fits_that_disagree_count_as_fits() -> None:
    """Rows of a fit share a model: two fits that disagree are two observations, not a thousand."""
    rng = np.random.default_rng(0)
    agreeing = [0.1 + 0.1 * rng.standard_normal(500), 0.1 + 0.1 * rng.standard_normal(500)]
    disagreeing = [rows + shift for rows, shift in zip(agreeing, (-0.09, 0.09), strict=True)]

    assert excess_p_value(agreeing) < 1e-6
    assert excess_p_value(disagreeing) > 0.1


def test_looks_spend_no_more_than_alpha() -> None:
    """Every look spends something, and all of them together less than the rate."""
    shares = [spent(look, N_FITS, alpha=0.05) for look in range(N_FITS + 1)]

    assert shares[0] == 0
    assert all(np.diff(shares) > 0)
    assert shares[-1] == pytest.approx(0.05)


def test_the_false_prune_rate_is_kept() -> None:
    """Of trials exactly at the margin, the worst that is to survive, no more than alpha are pruned, over all looks."""
    rng = np.random.default_rng(1)
    n_studies, alpha, margin = 400, 0.1, 0.05
    n_pruned = 0
    for _ in range(n_studies):
        theirs = rng.exponential(0.3, N_ROWS)
        mine = (1 + margin) * theirs + rng.normal(0, 0.2, N_ROWS)
        n_pruned += when_pruned(mine, incumbent_with(theirs), alpha=alpha, margin=margin) is not None

    assert stats.binomtest(n_pruned, n_studies, alpha, alternative="greater").pvalue > 0.01


def test_a_fixed_p_value_would_break_the_rate() -> None:
    """The guard bites: the same trials tested at alpha after every fit are pruned more often than alpha."""
    rng = np.random.default_rng(1)
    n_studies, alpha = 400, 0.1
    n_pruned = 0
    for _ in range(n_studies):
        excess = [rng.normal(0, 0.2, N_ROWS // N_FITS) for _ in range(N_FITS)]
        n_pruned += any(
            excess_p_value(excess[:look][:1]) < alpha or excess_p_value(excess[:look]) < alpha
            for look in range(1, N_FITS)
        )

    assert stats.binomtest(n_pruned, n_studies, alpha, alternative="greater").pvalue < 0.01


def test_a_clearly_worse_trial_goes_at_the_first_look() -> None:
    """Twice the loss on the same rows is enough after one fit of five."""
    rng = np.random.default_rng(2)
    theirs = rng.exponential(0.3, N_ROWS)

    assert when_pruned(2 * theirs + rng.normal(0, 0.1, N_ROWS), incumbent_with(theirs)) == 1


def test_pairing_is_what_gives_the_power() -> None:
    """The same losses on shuffled rows, a plain comparison of two means, tell much less."""
    rng = np.random.default_rng(3)
    theirs = rng.exponential(1.0, N_ROWS)
    mine = 1.2 * theirs + rng.normal(0, 0.02, N_ROWS)

    assert when_pruned(mine, incumbent_with(theirs)) == 1
    assert when_pruned(mine, incumbent_with(rng.permutation(theirs))) is None


def test_near_best_trials_survive() -> None:
    """Within the margin of the incumbent's loss nothing is pruned, however sure the difference is."""
    theirs = np.random.default_rng(4).exponential(0.3, N_ROWS)

    assert when_pruned(1.09 * theirs, incumbent_with(theirs)) is None
    assert when_pruned(1.12 * theirs, incumbent_with(theirs)) == 1


def test_a_better_metric_saves_a_worse_loss() -> None:
    """Log loss decides only where the study's metric agrees: a miscalibrated trial with a better metric goes on."""
    theirs = np.random.default_rng(5).exponential(0.3, N_ROWS)

    assert when_pruned(2 * theirs, incumbent_with(theirs, value=0.6), value=0.61) is None
    assert when_pruned(2 * theirs, incumbent_with(theirs, value=0.6), value=0.59) == 1


def test_nothing_is_pruned_without_cause() -> None:
    """No incumbent, too few rows, undefined losses: the trial goes on. After the last fit there is nothing to save."""
    theirs = np.random.default_rng(6).exponential(0.3, N_ROWS)
    infinite = np.where(np.arange(N_ROWS) < 5, math.inf, 3 * theirs)

    assert when_pruned(3 * theirs, None) is None
    assert when_pruned(3 * theirs, incumbent_with(theirs), min_rows=500) == 3
    assert when_pruned(3 * theirs, incumbent_with(theirs), min_rows=1000) is None
    assert when_pruned(infinite, incumbent_with(theirs)) is None


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "threshold"])
def test_every_pruner_that_may_be_named_is_exact(pruner: str, tmp_path: Path) -> None:
    """For each allowed pruner a study in pieces decides as a study in one go."""
    needed: dict[str, dict[str, Any]] = {"percentile": {"percentile": 50.0}, "paired": {"min_rows": 10}}
    options: dict[str, Any] = {"pruner": pruner, "pruner_kwargs": needed.get(pruner, {}), "run_trial": run_fake_trial}
    n_first, n_trials = (5, 8) if pruner == "wilcoxon" else (8, 14)  # a permutation test is slow

    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=n_trials, **options).run()
    FakeStudy(url=f"sqlite:///{tmp_path}/pieces.db", n_trials=n_first, **options).run()
    resumed = FakeStudy(url=f"sqlite:///{tmp_path}/pieces.db", n_trials=n_trials, **options).run()

    assert signature(resumed) == signature(whole)
    assert pruner == "none" or "pruned" in {trial.outcome for trial in whole}


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("pared", {}, "'pared' is not one of .*did you mean paired"),
        ("paired", {"alpa": 0.1}, "paired has no option 'alpa'; did you mean alpha"),
        ("paired", {"alpha": 2}, "paired does not take .*0 < alpha < 1"),
        ("paired", {"incumbent": 3}, "paired has no option 'incumbent'"),
        ("percentile", {}, "percentile does not take"),
        ("patient", {"wrapped": "medium"}, "patient does not take"),
    ],
)
def test_a_wrong_pruner_is_named(name: str, kwargs: dict[str, Any], words: str) -> None:
    """Before anything runs, with what would be right."""
    with pytest.raises(ConfigError, match=words):
        PrunerChoice(name=name, kwargs=kwargs).check()


def test_right_pruners_pass() -> None:
    """Each name with its defaults, or the option it needs."""
    needed = {"percentile": {"percentile": 25.0}, "threshold": {"lower": 0.1}}
    for name in PRUNERS:
        PrunerChoice(name=name, kwargs=needed.get(name, {})).check()
