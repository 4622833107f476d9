"""Greedy selection by other libraries, run by benchmarks/greedy.py in an environment that has them.

    python greedy_peers.py MATRICES.npz METRIC N_ROUNDS  ->  one JSON object on stdout

MATRICES.npz holds oof (n_members, n_rows, n_classes) and labels (n_rows,). Imports nothing of this project. A library
that is not installed is left out.
"""

import importlib.metadata
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_RUNS = 3
Fit = Callable[[], Any]


def timed(fit: Fit) -> dict[str, Any]:
    """The weights, and the fastest of three runs."""
    seconds, weights = [], np.zeros(0)
    for _ in range(N_RUNS):
        began = time.process_time()
        weights = np.asarray(fit(), dtype=np.float64)
        seconds.append(time.process_time() - began)
    return {"weights": weights.tolist(), "seconds": min(seconds)}


def autogluon(oof: NDArray[Any], labels: NDArray[Any], metric: str, n_rounds: int) -> Fit:
    """AutoGluon's EnsembleSelection on probabilities of the positive class, or of all classes."""
    from autogluon.core import metrics  # type: ignore[import-not-found, unused-ignore]
    from autogluon.core.models.greedy_ensemble.ensemble_selection import (  # type: ignore[import-not-found, unused-ignore]
        EnsembleSelection,
    )

    binary = oof.shape[2] == 2
    predictions = [member[:, 1] if binary else member for member in oof]

    def fit() -> Any:
        selection = EnsembleSelection(
            n_rounds,
            problem_type="binary" if binary else "multiclass",
            metric=getattr(metrics, metric),
            random_state=np.random.RandomState(0),
        )
        selection.fit(predictions, labels)
        return selection.weights_

    return fit


def phem(oof: NDArray[Any], labels: NDArray[Any], metric: str, n_rounds: int) -> Fit:
    """The auto-sklearn algorithm as phem ships it, in one process."""
    from phem.base_utils.metrics import make_metric  # type: ignore[import-not-found, unused-ignore]
    from phem.methods.ensemble_selection.greedy_ensemble_selection import (  # type: ignore[import-not-found, unused-ignore]
        EnsembleSelection,
    )
    from sklearn import metrics

    score = {"roc_auc": metrics.roc_auc_score, "log_loss": metrics.log_loss, "accuracy": metrics.accuracy_score}[metric]
    made = make_metric(
        score,
        metric_name=metric,
        maximize=metric != "log_loss",
        classification=True,
        always_transform_conf_to_pred=metric == "accuracy",
        optimum_value=0 if metric == "log_loss" else 1,
        requires_confidences=metric != "accuracy",
        only_positive_class=metric == "roc_auc",
    )

    def fit() -> Any:
        selection = EnsembleSelection([None] * len(oof), n_rounds, made, n_jobs=1, random_state=0)
        selection.ensemble_fit(list(oof), labels)
        return selection.weights_

    return fit


PEERS = {"AutoGluon": ("autogluon.core", autogluon), "phem": ("phem", phem)}


def main() -> None:
    """Run every peer that is installed."""
    path, metric, n_rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    warnings.simplefilter("ignore")
    with np.load(path) as arrays:
        oof, labels = arrays["oof"], arrays["labels"]
    found = {}
    for name, (package, make_fit) in PEERS.items():
        try:
            fit = make_fit(oof, labels, metric, n_rounds)
        except ImportError:
            continue
        found[f"{name} {importlib.metadata.version(package)}"] = timed(fit)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
