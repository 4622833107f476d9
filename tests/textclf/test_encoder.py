"""The encoder family, on a tiny checkpoint made for the tests."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import make_inputs
from textclf.config import EncoderConfig
from textclf.crossval import OofRun, cross_validate
from textclf.errors import ConfigError
from textclf.metrics import get_metric

pytest.importorskip("transformers")


def run(checkpoint: str, **changes: Any) -> OofRun:
    """Cross-validate the tiny encoder."""
    options = {"cleaning": "none", "batch_size": 8, "n_epochs": 2, **changes}
    config = EncoderConfig(family="encoder", checkpoint=checkpoint, **options)
    inputs = make_inputs(n_rows=60)
    return cross_validate(inputs, config, metric=get_metric("roc_auc", inputs.task), seed=1)


@pytest.mark.parametrize("fine_tune", [False, True])
def test_equal_seeds_give_equal_bits(checkpoint: str, fine_tune: bool) -> None:  # noqa: FBT001
    """The promise holds for encoders as well."""
    first, again = (run(checkpoint, fine_tune=fine_tune) for _ in range(2))

    np.testing.assert_array_equal(first.oof, again.oof)
    np.testing.assert_array_equal(first.test_proba, again.test_proba)
    assert np.allclose(first.oof.sum(1), 1)


def test_fine_tuning_learns_what_a_frozen_encoder_cannot(checkpoint: str) -> None:
    """More numbers learn, and the toy language is understood."""
    frozen, tuned = run(checkpoint), run(checkpoint, fine_tune=True, lr_max=0.01, n_epochs=8)

    assert frozen.n_parameters == 17
    assert tuned.n_parameters > 1000
    assert tuned.score > 0.8


def test_a_missing_checkpoint_is_a_clear_error(checkpoint: str, tmp_path: Path) -> None:
    """No network is asked, and the message names the option."""
    with pytest.raises(ConfigError, match=r"--checkpoint: '.*nothing' cannot be loaded"):
        run(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="give --checkpoint FOLDER"):
        run("")


def test_checkpoints_that_need_pickle_are_refused(checkpoint: str, tmp_path: Path) -> None:
    """Weights are read from safetensors alone."""
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ConfigError, match="cannot be loaded"):
        run(str(folder))


def test_the_configuration_is_validated() -> None:
    """The same words as for the other families."""
    with pytest.raises(ConfigError, match=r"dropout: 1.5 is outside"):
        dataclasses.replace(EncoderConfig(family="encoder"), dropout=1.5)
