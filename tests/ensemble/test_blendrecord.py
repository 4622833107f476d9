"""Blends as JSON and arrays: what comes back blends bit for bit as what went in."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from ensemble.blend import BLENDS
from ensemble.blendrecord import describe_blend, make_blend
from ensemble.recipe import Recipe
from tests.ensemble.pools import TASKS, evidence
from textclf.arrays import FloatArray
from textclf.config import Task
from textclf.errors import ConfigError


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(
    "recipe",
    [
        *(Recipe(method=method) for method in BLENDS),
        Recipe(method="mean", calibrate="temperature"),
        Recipe(method="logistic", calibrate="isotonic"),
    ],
    ids=lambda recipe: f"{recipe.method}-{recipe.calibrate}",
)
def test_a_blend_comes_back_as_it_was(task: Task, recipe: Recipe) -> None:
    """Every method and calibration, through JSON text and arrays, on rows it was not found on."""
    if recipe.method == "cmaes":
        pytest.importorskip("cmaes")
    blend = recipe.fit(evidence(task, n_rows=120))
    fresh = evidence(task, n_rows=40, seed=9).proba

    described, arrays = describe_blend(blend)
    again = make_blend(json.loads(json.dumps(described, allow_nan=False)), arrays)

    np.testing.assert_array_equal(again.apply(fresh), blend.apply(fresh))
    np.testing.assert_array_equal(again.weights, blend.weights)


@dataclass(frozen=True)
class Stranger:
    """A blend that nobody listed."""

    weights: FloatArray


def test_an_unlisted_kind_is_refused() -> None:
    """The message says where to list it."""
    with pytest.raises(ConfigError, match=r"kind Stranger cannot be shipped; .*ensemble\.blendrecord\.KINDS"):
        describe_blend(Stranger(np.ones(2)))  # type: ignore[arg-type]
