"""Which columns MLflow shows of a study: views saved with its experiment, and links that open them.

MLflow's own run table starts without any metric. A saved view is a tag of the experiment whose value holds the page's
state as MLflow's pages write it (found in MLflow 3.17); a link names it by the last part of the tag.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from search.leaderboard import space_params
from textclf.records import StudyRecord

RUN_NAME, DATA_SET, CREATED, DURATION = (
    "attributes.`Run Name`",
    "attributes.`Dataset`",
    "runDateAndNestInfo",
    "duration",
)
WIDTH = 100  # pixels of a column
WIDTHS = {RUN_NAME: 150, DATA_SET: 220, CREATED: 140, "params.`family`": 130}
TAG_PREFIX = "mlflow.sharedViewState."
TRIALS, BLENDS = "trials", "blends"
N_PARAMS = 6  # columns of searched parameters, those that most families share
TRIAL_METRICS = ("oof_score", "behind", "behind_error", "fold_std", "seconds")
BLEND_METRICS = ("cross_fitted", "low", "high", "gain", "fitted", "best_single/cross_fitted")


def saved_views(study: StudyRecord) -> dict[str, str]:
    """Tags for the study's experiment: one view of its trials by score, one of its blends."""
    params = [f"params.`{name}`" for name in ("family", *shared_params(study.settings))]
    metrics = [f"metrics.`{name}`" for name in TRIAL_METRICS]
    blend_metrics = [f"metrics.`{name}`" for name in BLEND_METRICS]
    return {
        TAG_PREFIX + TRIALS: _encode("Trials", stage="trial", order="oof_score", columns=[*metrics, *params, DATA_SET]),
        TAG_PREFIX + BLENDS: _encode("Blends", stage="blend", order="cross_fitted", columns=blend_metrics),
    }


def shared_params(settings: Mapping[str, Any]) -> list[str]:
    """The searched parameters that most families have, in their order; those that are fixed are left out."""
    counts = Counter(name for family in settings.get("space", {}) for name in space_params(settings, family))
    return [name for name, _ in counts.most_common(N_PARAMS)]


def view_link(server: str, experiment_id: str, view: str) -> str:
    """The address of a saved view, past MLflow's default page for language-model applications."""
    query = urlencode({"workflowType": "machine_learning", "viewStateShareKey": view})
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def run_link(server: str, experiment_id: str, run_id: str) -> str:
    """The address of a run's page."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def _encode(name: str, *, stage: str, order: str, columns: list[str]) -> str:
    """A view: which runs, by which metric, and columns from left to right."""
    shown = [RUN_NAME, *columns, CREATED, DURATION]
    state = {
        "searchFilter": f"tags.stage = '{stage}'",
        "orderByKey": f"metrics.`{order}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": shown,
        "columnWidths": {column: WIDTHS.get(column, WIDTH) for column in shown},
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
