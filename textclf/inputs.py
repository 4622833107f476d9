"""Everything a trial reads, frozen for a study."""

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.archive import Archive, read_archive, write_archive
from textclf.arrays import IntArray, array_digest, text_digest
from textclf.config import Columns, Task
from textclf.embeddings import WordVectors, make_vectors
from textclf.encode import Encoded, Lexicon, encode_tables
from textclf.errors import ConfigError, DataError, RunError
from textclf.folds import FoldPlan
from textclf.table import Table, empty_table
from textclf.text import parse_cleaning

_log = logging.getLogger(__name__)

INPUTS_FORMAT = 2
ENCODING_FORMAT = 2  # part of the name of a kept encoding: one of another format is made anew
PARTS = ("train", "test", "holdout")
ENCODED_ARRAYS = ("tokens", "starts", "caps", "meta")
N_REMEMBERED = 4  # encodings that a process keeps at hand


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoding:
    """All rows of a study under one cleaning recipe; ``holdout`` has no rows where none were set apart."""

    train: Encoded
    test: Encoded
    holdout: Encoded
    lexicon: Lexicon


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What every trial of a study reads; picklable, so that it travels to workers.

    labels: as in TrainTable.
    vectors: one per embedding file, only the words that the study can meet.
    holdout, holdout_labels: labelled rows set apart, which no trial learns from or is chosen by; often none.
    cleanings: the recipes that ``vectors`` were selected for; None where any recipe may be used.
    folder: where the inputs are kept, if anywhere; no part of the digest.
    """

    task: Task
    columns: Columns
    train: Table
    labels: IntArray
    test: Table
    folds: FoldPlan
    vectors: tuple[WordVectors, ...] = ()
    holdout: Table = field(default_factory=empty_table)
    holdout_labels: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    cleanings: tuple[str, ...] | None = None
    folder: Path | None = None

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 over task, columns, all rows, labels and vectors, as hex; the fold plan has its own digest."""
        parts = [json.dumps([asdict(self.task), asdict(self.columns)], sort_keys=True)]
        parts += [_table_digest(self.train), _table_digest(self.test), _table_digest(self.holdout)]
        parts += [array_digest(self.labels), array_digest(self.holdout_labels)]
        parts += [f"{source.digest} {source.weight!r}" for source in self.vectors]
        return text_digest(*parts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "folder": None}  # another machine does not have it

    @property
    def key(self) -> str:
        """A folder name that stands for data, folds and recipes."""
        return text_digest(self.data_digest, self.folds.digest, *(self.cleanings or ()))[:32]

    def encoding(self, cleaning: str, max_tokens: int) -> Encoding:
        """All rows as token ids, from this process's memory or the folder where they are there.

        Raises ConfigError for a recipe that the word vectors were not selected for.
        """
        recipe = "+".join(parse_cleaning(cleaning)) or "none"
        if self.vectors and self.cleanings is not None and recipe not in self.cleanings:
            raise ConfigError(
                f"cleaning: {cleaning!r} is none of the recipes that word vectors were selected for "
                f"({', '.join(self.cleanings)}); name it when the study's inputs are made"
            )
        key = (self.data_digest, recipe, max_tokens)
        if key not in _REMEMBERED:
            _REMEMBERED[key] = _find_encoding(self, recipe, max_tokens)
            while len(_REMEMBERED) > N_REMEMBERED:
                _REMEMBERED.popitem(last=False)
        _REMEMBERED.move_to_end(key)
        return _REMEMBERED[key]


_REMEMBERED: OrderedDict[tuple[str, str, int], Encoding] = OrderedDict()


def save_inputs(inputs: Inputs, folder: Path | str) -> Path:
    """Keep inputs in a folder, without pickle, whole or not at all; returns the folder.

    Inputs that are there already stay. Raises RunError where the folder holds others.
    """
    folder = Path(folder)
    arrays: dict[str, Any] = {"labels": inputs.labels, "holdout-labels": inputs.holdout_labels}
    arrays["folds"] = inputs.folds.fold_of_row
    strings: dict[str, Any] = {}
    for part in PARTS:
        table: Table = getattr(inputs, part)
        arrays[f"{part}-numeric"] = table.numeric
        strings[f"{part}-ids"], strings[f"{part}-texts"] = table.row_ids, table.texts
        strings[f"{part}-categorical"] = table.categorical.ravel().tolist()
        if table.groups is not None:
            strings[f"{part}-groups"] = table.groups
    for number, source in enumerate(inputs.vectors):
        arrays[f"vectors-{number}"] = source.matrix
        arrays[f"vectors-{number}-mean"] = source.mean
        strings[f"vectors-{number}-words"] = source.words
    described = _describe(inputs)
    write_archive(folder, Archive(record=described, arrays=arrays, strings=strings))
    kept = read_archive(folder).record
    for name in ("data_digest", "folds_digest", "cleanings"):
        if kept[name] != described[name]:
            raise RunError(
                f"{folder}: holds inputs with another {name} ({kept[name]}, not {described[name]}); choose another "
                "folder or remove this one"
            )
    return folder


def load_inputs(folder: Path | str) -> Inputs:
    """Read kept inputs; arrays are read-only and shared between the processes that load them.

    Raises DataError where the folder is torn or its content is not what was saved.
    """
    folder = Path(folder)
    archive = read_archive(folder)
    record, arrays = archive.record, archive.arrays
    if record["format"] != INPUTS_FORMAT:
        raise DataError(
            f"{folder}: format {record['format']}, this version reads {INPUTS_FORMAT}; remove it and start again"
        )
    columns: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record["columns"].items()
    }
    inputs = Inputs(
        task=Task(kind=record["task"]["kind"], class_names=tuple(record["task"]["class_names"])),
        columns=Columns(**columns),
        train=_read_part(archive, "train"),
        labels=arrays["labels"],
        test=_read_part(archive, "test"),
        folds=FoldPlan(fold_of_row=arrays["folds"], n_folds=record["n_folds"], seed=record["fold_seed"]),
        vectors=tuple(_read_vectors(archive, number) for number in range(len(record["vectors"]))),
        holdout=_read_part(archive, "holdout"),
        holdout_labels=arrays["holdout-labels"],
        cleanings=None if record["cleanings"] is None else tuple(record["cleanings"]),
        folder=folder,
    )
    if (inputs.data_digest, inputs.folds.digest) != (record["data_digest"], record["folds_digest"]):
        raise DataError(f"{folder}: its content is not what was saved (digests differ); remove it and start again")
    return inputs


def _describe(inputs: Inputs) -> dict[str, Any]:
    return {
        "format": INPUTS_FORMAT,
        "n_categorical": {part: getattr(inputs, part).categorical.shape[1] for part in PARTS},
        "data_digest": inputs.data_digest,
        "folds_digest": inputs.folds.digest,
        "task": asdict(inputs.task),
        "columns": asdict(inputs.columns),
        "n_folds": inputs.folds.n_folds,
        "fold_seed": inputs.folds.seed,
        "cleanings": None if inputs.cleanings is None else list(inputs.cleanings),
        "vectors": [
            {"name": source.name, "weight": source.weight, "deviation": source.deviation} for source in inputs.vectors
        ],
    }


def _table_digest(table: Table) -> str:
    cells = [*table.row_ids, *table.texts, *table.categorical.ravel().tolist(), *(table.groups or ())]
    return text_digest(*cells, array_digest(table.numeric), str(table.categorical.shape), str(table.groups is None))


def _read_part(archive: Archive, part: str) -> Table:
    numeric = archive.arrays[f"{part}-numeric"]
    cells = np.array(archive.strings[f"{part}-categorical"], dtype=object)
    groups = archive.strings.get(f"{part}-groups")
    return Table(
        row_ids=tuple(archive.strings[f"{part}-ids"]),
        texts=tuple(archive.strings[f"{part}-texts"]),
        numeric=numeric,
        categorical=cells.reshape(len(numeric), archive.record["n_categorical"][part]),
        groups=None if groups is None else tuple(groups),
    )


def _read_vectors(archive: Archive, number: int) -> WordVectors:
    return make_vectors(
        words=archive.strings[f"vectors-{number}-words"],
        matrix=archive.arrays[f"vectors-{number}"],
        mean=archive.arrays[f"vectors-{number}-mean"],
        **archive.record["vectors"][number],
    )


def _find_encoding(inputs: Inputs, recipe: str, max_tokens: int) -> Encoding:
    """From the inputs' folder; made, and kept there, where it is missing."""
    none_apart = inputs.train.rows(np.zeros(0, dtype=np.int64))  # no rows, but the columns that a scaler expects
    tables = [inputs.train, inputs.test, inputs.holdout if len(inputs.holdout) else none_apart]
    if inputs.folder is None:
        encoded, lexicon = encode_tables(tables, cleaning=recipe, max_tokens=max_tokens)
        return Encoding(**dict(zip(PARTS, encoded, strict=True)), lexicon=lexicon)
    folder = inputs.folder / f"encoding-{text_digest(recipe, str(max_tokens), str(ENCODING_FORMAT))[:16]}"
    if not folder.is_dir():
        encoded, lexicon = encode_tables(tables, cleaning=recipe, max_tokens=max_tokens)
        arrays = {
            f"{part}-{name}": getattr(rows, name)
            for part, rows in zip(PARTS, encoded, strict=True)
            for name in ENCODED_ARRAYS
        }
        digest = _encoding_digest(arrays, lexicon.words)
        record = {"cleaning": recipe, "max_tokens": max_tokens, "digest": digest}
        try:
            write_archive(folder, Archive(record=record, arrays=arrays, strings={"words": lexicon.words}))
        except RunError as error:
            _say_unkept(str(error))
            return Encoding(**dict(zip(PARTS, encoded, strict=True)), lexicon=lexicon)
    archive = read_archive(folder)
    if _encoding_digest(archive.arrays, archive.strings["words"]) != archive.record["digest"]:
        raise DataError(f"{folder}: its content is not what was saved (digests differ); remove it and start again")
    parts = {
        part: Encoded(
            **{name: archive.arrays[f"{part}-{name}"] for name in ENCODED_ARRAYS},
            numeric=table.numeric,
            categorical=table.categorical,
        )
        for part, table in zip(PARTS, tables, strict=True)
    }
    return Encoding(**parts, lexicon=Lexicon(words=tuple(archive.strings["words"])))


@cache
def _say_unkept(problem: str) -> None:
    """Once for each: a trial goes on without the kept copy, which saves time and memory alone."""
    _log.warning("encoded texts are not kept, so every process makes its own: %s", problem)


def _encoding_digest(arrays: Mapping[str, NDArray[Any]], words: Sequence[str]) -> str:
    return text_digest(*(f"{name} {array_digest(arrays[name])}" for name in sorted(arrays)), *words)
