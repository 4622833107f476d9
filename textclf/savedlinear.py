"""Keep the linear models of a trial: their n-grams spelled out, their weights, and the scaling of features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from textclf.arrays import IntArray
from textclf.config import LinearConfig, Task
from textclf.encode import encode_tables
from textclf.features import FeatureScaler
from textclf.inputs import Inputs
from textclf.linear import ALL_TOKENS, FittedLinear, LogRatio, NgramKind, NgramRows, Tfidf, Weigh, count_ngrams
from textclf.ngrams import count_known, spell_char_ngrams, spell_word_ngrams
from textclf.protocols import Restored
from textclf.table import Table
from textclf.tensors import pack_strings, read_tensors, unpack_strings, write_tensors
from textclf.text import make_cleaner


class LinearKeeper:
    """See Keeper. Of the study's n-grams those are kept that at least one fold model weighs."""

    def save(
        self, fits: Sequence[FittedLinear], *, inputs: Inputs, config: LinearConfig, folder: Path
    ) -> dict[str, Any]:
        """See Keeper."""
        words = ["", "", *inputs.encoding(config.cleaning, ALL_TOKENS).lexicon.words]  # a row without tokens has ""
        kept: list[IntArray] = []
        ngrams = []
        for place, kind in enumerate(count_ngrams(inputs, config)):
            weighed = [weighs[place].columns for fit in fits for _, weighs in fit.models]
            kept.append(np.unique(np.concatenate(weighed)))
            ngrams.append(write_tensors(folder, pack_strings(_spell(kind, kept[-1], words))))
        return {"ngrams": ngrams, "fits": [_save_fit(fit, kept, folder) for fit in fits]}

    def restore(
        self, record: dict[str, Any], *, task: Task, config: LinearConfig, folder: Path, device: str
    ) -> Restored:
        """See Keeper."""
        del device  # scikit-learn's models know one
        known = [unpack_strings(read_tensors(folder, name)) for name in record["ngrams"]]
        reader = NgramReader(config, [{ngram: column for column, ngram in enumerate(kind)} for kind in known])
        fits = [_restore_fit(kept, task=task, folder=folder) for kept in record["fits"]]
        return Restored(read=reader, predicts=tuple(fit.predict for fit in fits))


@dataclass(frozen=True, slots=True)
class NgramReader:
    """Counts the known n-grams of any rows; column_of: one mapping per kind of n-gram, words first."""

    config: LinearConfig
    column_of: list[dict[str, int]]

    def __call__(self, table: Table) -> NgramRows:
        """Rows as a restored model takes them."""
        (encoded,), lexicon = encode_tables((table,), cleaning=self.config.cleaning, max_tokens=ALL_TOKENS)
        words = np.array(["", "", *lexicon.words], dtype=object)
        kinds = []
        if self.config.word_ngrams:
            spelled = np.split(words[encoded.tokens], encoded.starts[1:-1])
            kinds.append([spell_word_ngrams(row.tolist(), longest=self.config.word_ngrams) for row in spelled])
        if self.config.char_ngrams:
            clean = make_cleaner(self.config.cleaning)
            kinds.append([spell_char_ngrams(clean(text), longest=self.config.char_ngrams) for text in table.texts])
        counts = tuple(count_known(rows, known) for rows, known in zip(kinds, self.column_of, strict=True))
        return NgramRows(counts=counts, encoded=encoded)


def _spell(kind: NgramKind, columns: IntArray, words: Sequence[str]) -> list[str]:
    """The n-grams of these columns: tokens joined by spaces, or characters."""
    spans = kind.ngrams.spans(columns)
    if isinstance(kind.symbols, str):
        return [kind.symbols[span] for span in spans]
    return [" ".join(words[token] for token in kind.symbols[span].tolist()) for span in spans]


def _save_fit(fit: FittedLinear, kept: Sequence[IntArray], folder: Path) -> dict[str, Any]:
    models = []
    for model, weighs in fit.models:
        weights = {"coefficients": model.coef_, "intercepts": model.intercept_, "classes": model.classes_}
        models.append(
            {
                "weighs": [_save_weigh(*pair, folder) for pair in zip(weighs, kept, strict=True)],
                "weights": write_tensors(folder, weights),
            }
        )
    return {"scaler": fit.scaler.record(), "models": models}


def _save_weigh(weigh: Weigh, kept: IntArray, folder: Path) -> dict[str, Any]:
    """Columns become places among the kept; equal columns and weights of several models are one file each."""
    columns = np.searchsorted(kept, weigh.columns).astype(np.int32)
    scale = weigh.idf if isinstance(weigh, Tfidf) else weigh.scale
    return {
        "kind": type(weigh).__name__,
        "columns": write_tensors(folder, {"columns": columns}),
        "scale": write_tensors(folder, {"scale": scale}),
    }


def _restore_fit(record: dict[str, Any], *, task: Task, folder: Path) -> FittedLinear:
    fit = FittedLinear(task=task, scaler=FeatureScaler.from_record(record["scaler"]))
    weighs_of: dict[str, list[Weigh]] = {}
    for kept in record["models"]:
        files = json.dumps(kept["weighs"])
        if files not in weighs_of:
            weighs_of[files] = [_restore_weigh(weigh, folder) for weigh in kept["weighs"]]
        weights = read_tensors(folder, kept["weights"])
        model = LogisticRegression()
        model.coef_ = weights["coefficients"].numpy()
        model.intercept_ = weights["intercepts"].numpy()
        model.classes_ = weights["classes"].numpy()
        fit.models.append((model, weighs_of[files]))
    return fit


def _restore_weigh(record: dict[str, Any], folder: Path) -> Weigh:
    columns = read_tensors(folder, record["columns"])["columns"].numpy().astype(np.int64)
    scale = read_tensors(folder, record["scale"])["scale"].numpy()
    return WEIGHS[record["kind"]](columns, scale)


WEIGHS: dict[str, type[Tfidf] | type[LogRatio]] = {"Tfidf": Tfidf, "LogRatio": LogRatio}
