"""Configurations by name: what is allowed, what is refused, and in which words."""

from typing import Any

import pytest

from textclf.config import NetConfig, RecurrentConfig
from textclf.errors import ConfigError
from textclf.families import FAMILIES, config_dict, parse_config


@pytest.mark.parametrize("family", FAMILIES)
def test_a_configuration_survives_a_round_trip(family: str) -> None:
    """What config_dict writes, parse_config reads."""
    config = parse_config({"family": family}, source="x")

    assert parse_config(config_dict(config), source="x") == config


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"family": "bilstm_bigr"}, r"f\.json: family 'bilstm_bigr' is not known; did you mean bilstm_bigru\?"),
        ({}, r"family '' is not known"),
        ({"family": "dan", "droput": 0.1}, r"f\.json: unknown key 'droput' for family dan; did you mean dropout\?"),
        ({"family": "dan", "hidden_size": 3}, r"unknown key 'hidden_size' for family dan"),
        ({"family": "dan", "dropout": "much"}, r"f\.json: dropout = 'much' is not a float"),
        ({"family": "dan", "n_epochs": 2.5}, r"n_epochs = 2.5 is not a int"),
        ({"family": "dan", "n_epochs": True}, r"n_epochs = True is not a int"),
        ({"family": "dan", "dropout": 1.0}, r"f\.json: dropout: 1.0 is outside \[0, 1\)"),
        ({"family": "dan", "batch_size": 0}, r"batch_size: 0 is not a whole number of 1 or more"),
        ({"family": "dan", "lr_min": 0.1, "lr_max": 0.01}, r"lr_min: 0.1 is above lr_max 0.01; swap them"),
        ({"family": "dan", "lr_max": -1.0}, r"lr_max: -1.0 is not above 0"),
        ({"family": "dan", "weight_decay": -1}, r"weight_decay: -1.0 is negative"),
        ({"family": "dan", "oov": "guess"}, r"oov: 'guess' is not one of zero, random, mean, ngram"),
        ({"family": "nbsvm", "nb_mix": 2.0}, r"nb_mix: 2.0 is outside \[0, 1\]"),
        ({"family": "nbsvm", "word_ngrams": 0, "char_ngrams": 0}, r"at least one must be 1 or more"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_clear_line(raw: dict[str, Any], message: str) -> None:
    """The source, the key, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(raw, source="f.json")

    assert "\n" not in str(caught.value)


def test_a_whole_number_is_a_fine_float() -> None:
    """JSON writes 1 for 1.0; the two are the same configuration."""
    one = parse_config({"family": "bilstm_bigru", "clip_norm": 1}, source="x")

    assert isinstance(one, RecurrentConfig)
    assert one == parse_config({"family": "bilstm_bigru", "clip_norm": 1.0}, source="x")
    assert isinstance(one.clip_norm, float)


def test_network_parameters_decide_everything() -> None:
    """The record is frozen: nobody changes a configuration under a running trial."""
    config = parse_config({"family": "dan"}, source="x")

    assert isinstance(config, NetConfig)
    with pytest.raises(AttributeError):
        config.dropout = 0.5  # type: ignore[misc]
