"""The model families by name. Adding one is one entry here; docs/extending.md shows it as a worked example."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from textclf import encoder, linear, nets, savedencoder, savedlinear, savednets, train
from textclf.arrays import IntArray
from textclf.config import DanConfig, EncoderConfig, LinearConfig, RecurrentConfig, TextCnnConfig, TextConfig
from textclf.encode import Encoded
from textclf.errors import ConfigError, did_you_mean
from textclf.protocols import Family, FitTask, Fitted
from textclf.turns import Turns


def net_family(description: str, config: type[TextConfig], network: nets.NetworkFactory) -> Family:
    """Make a family of a network class: rows are token ids, fitted by the epoch loop."""

    def fit(rows: Encoded, labels: IntArray, config: Any, /, *, how: FitTask) -> Fitted:
        return train.fit(rows, labels, config, how=how, network=network)

    def fit_in_turns(rows: Encoded, labels: IntArray, config: Any, /, *, how: FitTask) -> Turns[Fitted]:
        return train.fit_in_turns(rows, labels, config, how=how, network=network)

    return Family(
        description=description,
        config=config,
        prepare=train.prepare,
        fit=fit,
        keeper=savednets.NetKeeper(network),
        fit_in_turns=fit_in_turns,
    )


FAMILIES: dict[str, Family] = {
    "bilstm_bigru": net_family("BiLSTM, BiGRU, last states and pools", RecurrentConfig, nets.BiLstmBiGru),
    "bilstm_attention": net_family("BiLSTM, BiGRU, attention pooling", RecurrentConfig, nets.BiLstmAttention),
    "bilstm_bigru_keras": net_family("as its Keras ancestor: 5H + features", RecurrentConfig, nets.BiLstmBiGruKeras),
    "textcnn": net_family("convolutions over 2 to 5 tokens (Kim 2014)", TextCnnConfig, nets.TextCnn),
    "dan": net_family("deep averaging network (Iyyer et al. 2015)", DanConfig, nets.DeepAveraging),
    "tfidf_logreg": Family(
        description="logistic regression on TF-IDF n-grams",
        config=LinearConfig,
        prepare=linear.prepare,
        fit=linear.fit_logistic,
        keeper=savedlinear.LinearKeeper(),
    ),
    "nbsvm": Family(
        description="naive Bayes log-count ratios, then a linear model (Wang & Manning 2012)",
        config=LinearConfig,
        prepare=linear.prepare,
        fit=linear.fit_nbsvm,
        keeper=savedlinear.LinearKeeper(),
    ),
    "encoder": Family(
        description="transformer encoder, frozen or fine-tuned (extra: transformers)",
        config=EncoderConfig,
        prepare=encoder.prepare,
        fit=encoder.fit,
        keeper=savedencoder.EncoderKeeper(),
    ),
}


def parse_config(raw: Mapping[str, Any], *, source: str) -> TextConfig:
    """Make the frozen record of a family's parameters from a mapping with a key "family".

    Raises ConfigError that names the source, the key, what was found and what is known.
    """
    name = raw.get("family", "")
    if name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ConfigError(f"{source}: family {name!r} is not known{did_you_mean(str(name), FAMILIES)}; known: {known}")
    config: Any = FAMILIES[name].config
    types: dict[str, type] = {field.name: type(field.default) for field in dataclasses.fields(config)}
    for key, value in raw.items():
        if key not in types:
            raise ConfigError(
                f"{source}: unknown key {key!r} for family {name}{did_you_mean(key, types)}; known: {', '.join(types)}"
            )
        if key != "family" and not _fits(value, types[key]):
            raise ConfigError(f"{source}: {key} = {value!r} is not a {types[key].__name__}")
    try:
        return config(**{key: float(raw[key]) if types[key] is float else raw[key] for key in raw})
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def config_dict(config: TextConfig) -> dict[str, Any]:
    """Every parameter by name, JSON values; parse_config reads it back."""
    return dataclasses.asdict(config)


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind
