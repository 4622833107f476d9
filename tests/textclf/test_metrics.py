"""Metrics agree with scikit-learn, point upwards, and are honest about thresholds and undefined folds."""

import numpy as np
import pytest
from sklearn import metrics as sk

from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.errors import ConfigError
from textclf.metrics import METRICS, fitted_score, get_metric, row_losses, score_oof

BINARY = Task(kind="binary", class_names=("no", "yes"))
THREE = Task(kind="multiclass", class_names=("a", "b", "c"))
LABELS = Task(kind="multilabel", class_names=("x", "y"))
TASKS = {task.kind: task for task in (BINARY, THREE, LABELS)}


def example(task: Task, *, n_rows: int = 200, noise: float = 1.0, seed: int = 3) -> tuple[IntArray, FloatArray]:
    """Labels and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    if task.kind == "multilabel":
        labels = (rng.random((n_rows, task.n_outputs)) < 0.3).astype(np.int64)
        return labels, 1 / (1 + np.exp(-(2.0 * labels - 1.5 + noise * rng.normal(size=labels.shape))))
    labels = rng.integers(0, task.n_outputs, n_rows)
    logits = 2.0 * np.eye(task.n_outputs)[labels] + noise * rng.normal(size=(n_rows, task.n_outputs))
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def scikit(name: str, task: Task, labels: IntArray, proba: FloatArray) -> float:
    """The metric as scikit-learn names it, decisions at 0.5 or at the most probable class."""
    if task.kind == "multilabel":
        pairs = [(labels[:, j], np.c_[1 - proba[:, j], proba[:, j]]) for j in range(task.n_outputs)]
        return float(np.mean([scikit(name, BINARY, column, two) for column, two in pairs]))
    chosen, one_hot = proba.argmax(axis=1), np.eye(task.n_outputs)[labels]
    binary = task.kind == "binary"
    return float(
        {
            "f1": lambda: sk.f1_score(labels, chosen),
            "roc_auc": lambda: sk.roc_auc_score(labels, proba[:, 1] if binary else proba, multi_class="ovr"),
            "log_loss": lambda: -sk.log_loss(labels, proba),
            "accuracy": lambda: sk.accuracy_score(labels, chosen),
            "macro_f1": lambda: sk.f1_score(labels, chosen, average="macro"),
            "average_precision": lambda: (
                sk.average_precision_score(labels, proba[:, 1])
                if binary
                else sk.average_precision_score(one_hot, proba, average="macro")
            ),
            "mcc": lambda: sk.matthews_corrcoef(labels, chosen),
            "balanced_accuracy": lambda: sk.balanced_accuracy_score(labels, chosen),
            "brier": lambda: -sk.brier_score_loss(labels, proba[:, 1] if binary else proba, scale_by_half=binary),
            "qwk": lambda: sk.cohen_kappa_score(labels, chosen, weights="quadratic"),
        }[name]()
    )


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in METRICS for kind in sorted(METRICS[name].kinds)])
def test_scores_are_those_of_scikit_learn(name: str, kind: str) -> None:
    """Every metric on every task it is defined for equals scikit-learn's, losses negated, and rises with knowledge."""
    task = TASKS[kind]  # type: ignore[index]
    metric = get_metric(name, task)
    labels, proba = example(task)

    assert metric.score(labels, proba) == pytest.approx(scikit(name, task, labels, proba), abs=1e-12)
    assert metric.score(*example(task, noise=0.2)) > metric.score(labels, proba)


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    """A typing slip is met with a suggestion."""
    with pytest.raises(ConfigError, match=r"'roc_acu' is not one of f1, .*did you mean roc_auc\?"):
        get_metric("roc_acu", BINARY)


def test_a_metric_for_another_task_is_refused() -> None:
    """F1 of "the positive class" means nothing with three classes; the message names metrics that do."""
    with pytest.raises(ConfigError, match=r"f1 is not defined for a multiclass task; choose one of .*macro_f1"):
        get_metric("f1", THREE)


def test_mcc_needs_a_threshold_only_where_there_are_two_sides() -> None:
    """MCC is cut for binary and multilabel tasks and takes the most probable class otherwise."""
    assert get_metric("mcc", BINARY).uses_threshold
    assert get_metric("mcc", LABELS).uses_threshold
    assert not get_metric("mcc", THREE).uses_threshold


def test_thresholds_decide_each_label() -> None:
    """Hand count: cuts (.5, .2) give F1 of 2/3 and 1."""
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    proba = np.array([[0.6, 0.1], [0.4, 0.3], [0.1, 0.0]])

    assert get_metric("f1", LABELS).score(labels, proba, (0.5, 0.2)) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "mcc", "f1"])
def test_a_label_that_does_not_occur_is_left_out(name: str) -> None:
    """The column-wise mean is over the labels that can be scored; with none it is NaN, and nothing warns."""
    labels, proba = example(LABELS)
    labels[:, 1] = 0
    metric = get_metric(name, LABELS)
    first = get_metric(name, BINARY).score(labels[:, 0], np.c_[1 - proba[:, 0], proba[:, 0]])

    assert metric.score(labels, proba) == pytest.approx(first)
    assert np.isnan(metric.score(np.zeros_like(labels), proba))


def test_a_nan_probability_never_scores() -> None:
    """A diverged model has no score, rather than a lucky one."""
    labels, proba = example(BINARY)
    proba[0] = np.nan

    assert all(np.isnan(get_metric(name, BINARY).score(labels, proba)) for name in METRICS)
    assert np.isnan(score_oof(get_metric("f1", BINARY), labels, proba, np.arange(200) % 4).score)


def test_row_losses_average_to_the_log_loss() -> None:
    """The mean of the per-row losses is the log loss; a certain mistake stays finite."""
    for task in TASKS.values():
        labels, proba = example(task)
        proba[0] = np.eye(2)[1 - labels[0]] if task is BINARY else proba[0]
        mean = row_losses(labels, proba, task).mean()

        assert -get_metric("log_loss", task).score(labels, proba) == pytest.approx(mean)
        assert np.isfinite(mean)


def test_rows_are_decided_by_thresholds_found_without_their_fold() -> None:
    """Each fold is scored at the cut that the other folds liked best, found here by trying all cuts."""
    labels, proba = example(BINARY, n_rows=240, noise=2.0)
    folds = np.arange(240) % 3
    decided = np.zeros(240, dtype=bool)
    for fold in range(3):
        others = folds != fold
        cuts = np.unique(proba[others, 1])
        scores = [sk.f1_score(labels[others], proba[others, 1] >= cut) for cut in cuts]
        lower = cuts[np.argmax(scores) - 1]
        decided[folds == fold] = proba[folds == fold, 1] >= (lower + cuts[np.argmax(scores)]) / 2

    scored = score_oof(get_metric("f1", BINARY), labels, proba, folds)

    assert scored.score == pytest.approx(sk.f1_score(labels, decided))
    assert scored.fold_scores == pytest.approx([sk.f1_score(labels[folds == k], decided[folds == k]) for k in range(3)])


def test_fitted_thresholds_flatter_and_cross_fitted_ones_do_not() -> None:
    """On pure noise the fitted MCC is above chance every time, the cross-fitted one is chance on average."""
    metric = get_metric("mcc", BINARY)
    scores = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        proba = rng.random((120, 1))
        scores.append(score_oof(metric, rng.integers(0, 2, 120), np.c_[1 - proba, proba], np.arange(120) % 5))
    fitted, honest = np.array([s.fitted for s in scores]), np.array([s.score for s in scores])

    assert (fitted > 0).all()
    assert abs(honest.mean()) < 3 * honest.std() / np.sqrt(60) + 0.02
    assert fitted.mean() > honest.mean() + 0.1


def test_without_thresholds_fitted_and_honest_are_one() -> None:
    """A metric that fits nothing has nothing to flatter it."""
    labels, proba = example(THREE)
    scored = score_oof(get_metric("accuracy", THREE), labels, proba, np.arange(200) % 4)

    assert scored.thresholds is None
    assert scored.fitted == scored.score == pytest.approx(np.mean(scored.fold_scores))


def test_repeated_folds_are_averaged() -> None:
    """Two repeats of the same folds score as one of them, with twice the fold scores."""
    labels, proba = example(BINARY, noise=2.0)
    once = np.arange(200) % 4
    metric = get_metric("f1", BINARY)
    single, double = (score_oof(metric, labels, proba, folds) for folds in (once, np.stack([once, once])))

    assert double.score == pytest.approx(single.score)
    assert double.fold_scores == pytest.approx(single.fold_scores * 2)


def test_a_fold_without_a_class_has_no_score_but_the_whole_has() -> None:
    """A one-class fold is NaN on its own and counts fully in the score on all rows."""
    labels, proba = example(BINARY)
    folds = np.where(labels == 1, 1 + np.arange(200) % 2, 1)
    folds[np.flatnonzero(labels == 0)[:20]] = 0
    scored = score_oof(get_metric("roc_auc", BINARY), labels, proba, folds)

    assert np.isnan(scored.fold_scores[0])
    assert scored.score == pytest.approx(sk.roc_auc_score(labels, proba[:, 1]))


def test_the_fitted_score_is_the_best_any_cut_can_do() -> None:
    """On the same rows no cut does better; a metric without thresholds is simply scored, and NaN stays NaN."""
    labels, proba = example(BINARY, noise=2.0)
    best = max(sk.f1_score(labels, proba[:, 1] >= cut) for cut in proba[:, 1])

    assert fitted_score(get_metric("f1", BINARY), labels, proba) == pytest.approx(best)
    assert fitted_score(get_metric("roc_auc", BINARY), labels, proba) == sk.roc_auc_score(labels, proba[:, 1])
    assert np.isnan(fitted_score(get_metric("f1", BINARY), labels, np.full_like(proba, np.nan)))
