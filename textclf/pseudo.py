"""Pseudo-labels inside a fold: sure test rows join the training rows for a second fit of the same fold.

The held-out rows and the hold-out take no part, so out-of-fold predictions stay honest (Lee 2013, on networks).
"""

from typing import Any

import numpy as np

from textclf.arrays import FloatArray, IntArray
from textclf.config import Task, TextConfig
from textclf.protocols import Fit, FitTask, Fitted


def fit_twice(fit: Fit, rows: Any, labels: IntArray, config: TextConfig, *, unlabelled: Any, how: FitTask) -> Fitted:
    """Fit, label the surest of the unlabelled rows by that fit, and fit anew on all of them from the same seed.

    rows, labels: the training rows of the fold; unlabelled: the test rows. Only the second fit tells its epochs.
    The first is returned where no row was labelled.
    """
    silent = FitTask(task=how.task, seed=how.seed, device=how.device, shared=how.shared, on_epoch=_ignore_epoch)
    first = fit(rows, labels, config, how=silent)
    chosen, guessed = choose_surest(first.predict(unlabelled), labels, how.task, share=config.pseudo_share)
    if not len(chosen):
        return first
    return fit(rows.join(unlabelled.rows(chosen)), np.concatenate([labels, guessed]), config, how=how)


def choose_surest(proba: FloatArray, labels: IntArray, task: Task, *, share: float) -> tuple[IntArray, IntArray]:
    """Choose a share of the predicted rows, in the proportions that the classes have among the training rows.

    proba: (n_unlabelled, n_outputs) float64; labels: of the training rows; share: in [0, 1]
    returns: (n_chosen,) int64 places in ``proba``, rising, and the labels guessed for them, shaped like ``labels``.

    A row counts for its most probable class; multilabel, for the set of labels above one half, and a set that no
    training row has is not chosen. A class that too few rows are predicted to have gets those.
    """
    multilabel = task.kind == "multilabel"
    guessed = (proba >= 0.5).astype(np.int64) if multilabel else proba.argmax(axis=1)
    certainty = np.where(proba >= 0.5, proba, 1 - proba).prod(axis=1) if multilabel else proba.max(axis=1)
    classes, n_rows_of = np.unique(labels, axis=0, return_counts=True)
    chosen = []
    for label, n_rows in zip(classes, n_rows_of, strict=True):
        alike = np.flatnonzero((guessed == label).all(axis=1) if multilabel else guessed == label)
        wanted = round(share * len(proba) * n_rows / len(labels))
        chosen.append(alike[np.argsort(-certainty[alike], kind="stable")[:wanted]])
    places = np.sort(np.concatenate(chosen))
    return places, guessed[places]


def _ignore_epoch(epoch: int, train_loss: float, predict: Any) -> None:
    pass
