"""From options to a study that can run: inputs, space and rules, all checked before anything is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from search.combines import offer_combines
from search.jobs import SearchRules
from search.options import StudyOptions
from search.pruning import PrunerChoice
from search.sampler import SamplerChoice
from search.space import DEFAULT_FAMILIES, Space, check_enqueued, known_good, make_space, read_space_file
from textclf import gpu
from textclf.build import FoldRequest, InputsReport, build_inputs
from textclf.config import Columns, RecurrentConfig
from textclf.engine import Precision, check_engine
from textclf.errors import ConfigError, did_you_mean
from textclf.families import FAMILIES, config_dict, parse_config
from textclf.inputs import Inputs
from textclf.metrics import METRICS, Metric, get_metric
from textclf.records import StudyRecord

if TYPE_CHECKING:
    import optuna

    from textclf.duplicates import DuplicateRule
    from textclf.table import DuplicateIds, EmptyTexts

DEFAULT_METRICS = {"binary": "roc_auc", "multilabel": "roc_auc", "multiclass": "accuracy"}


@dataclass(frozen=True, kw_only=True)
class PreparedStudy:
    """A checked study, of which nothing is written yet.

    first_trials: parameters of the known-good trials it begins with
    """

    options: StudyOptions
    inputs: Inputs
    metric: Metric
    space: Space
    rules: SearchRules
    first_trials: tuple[Mapping[str, Any], ...]
    report: InputsReport

    def suggest(self, trial: "optuna.Trial") -> dict[str, Any]:
        """Suggest a whole configuration; the first trials bring values that are not searched, too."""
        first = self.first_trials[trial.number] if trial.number < len(self.first_trials) else {}
        return config_dict(parse_config({**first, **self.space.suggest(trial)}, source=f"trial {trial.number}"))

    @property
    def record(self) -> StudyRecord:
        """What the prediction store keeps of it."""
        inputs = self.inputs
        return StudyRecord(
            name=self.options.study_name,
            task=inputs.task,
            columns=inputs.columns,
            metric=self.metric.name,
            data_digest=inputs.data_digest,
            fold_digest=inputs.folds.digest,
            train_ids=inputs.train.row_ids,
            test_ids=inputs.test.row_ids,
            labels=np.asarray(inputs.labels),
            fold_of_row=inputs.folds.fold_of_row,
            holdout_ids=inputs.holdout.row_ids,
            holdout_labels=inputs.holdout_labels,
            settings={
                **self.rules.to_settings(),
                "inputs": inputs.key,
                "families": list(self.space.families),
                "space": self.space.to_json(),
                "first_trials": [dict(params) for params in self.first_trials],
            },
            report=tuple(str(self.report).splitlines()),
        )


def prepare_study(
    options: StudyOptions,
    *,
    ranges: Mapping[str, Any],
    enqueued: Sequence[Mapping[str, Any]] | None,
    threads: int,
    device: str,
    vector_cache: Path | None,
) -> PreparedStudy:
    """Read and check everything; raises ConfigError or DataError for whatever is wrong with it.

    ranges: changes of the space, which those of a --space file come on top of
    enqueued: first trials; those of an --enqueue file, or one known-good one per family, where it is None
    threads, device: as decided for this study; device is "cpu" or "cuda"
    """
    sampler = SamplerChoice(name=options.sampler, kwargs=_json_mapping("--sampler-kwargs", options.sampler_kwargs))
    pruner = PrunerChoice(name=options.pruner, kwargs=_json_mapping("--pruner-kwargs", options.pruner_kwargs))
    sampler.check()
    pruner.check()
    if options.metric is not None and options.metric not in METRICS:  # said before a large file is read
        hint = did_you_mean(options.metric, METRICS)
        raise ConfigError(f"--metric: {options.metric!r} is not one of {', '.join(METRICS)}{hint}")
    space = _make_space(options, ranges)
    _chosen_trials(options, space, enqueued)  # likewise
    if device == "cpu":
        check_engine(cast("Precision", options.precision or "fp32"))
    else:
        gpu.engine_name()
    inputs, report = _build_inputs(options, space, cache=vector_cache)
    space = offer_combines(space, inputs.vectors)
    chosen = _chosen_trials(options, space, enqueued)  # once more: only now is it known what the files allow
    metric = get_metric(options.metric or DEFAULT_METRICS[inputs.task.kind], inputs.task)
    first_trials = chosen if chosen is not None else tuple(known_good(space, n_rows=len(inputs.train)))
    fixed = tuple(space.to_optuna(params) for params in first_trials)
    return PreparedStudy(
        options=options,
        inputs=inputs,
        metric=metric,
        space=space,
        rules=SearchRules(
            seed=options.seed,
            lag=options.lag,
            sampler=sampler,
            pruner=pruner,
            first_trials=fixed,
            device=device,
            threads=threads,
        ),
        first_trials=first_trials,
        report=report,
    )


def _build_inputs(options: StudyOptions, space: Space, *, cache: Path | None) -> tuple[Inputs, InputsReport]:
    """Read the tables and word vectors that the options name."""
    if options.train is None or options.test is None:
        missing = "--train" if options.train is None else "--test"
        raise ConfigError(f"{missing}: name a CSV file (or try --demo)")
    columns = Columns(
        text=options.text,
        targets=options.target,
        row_id=options.id,
        numeric=options.features,
        categorical=options.categorical,
        group=options.group,
    )
    return build_inputs(
        options.train,
        options.test,
        columns,
        folds=FoldRequest(
            n_folds=options.n_folds,
            seed=options.seed,
            n_repeats=options.n_repeats,
            duplicates=cast("DuplicateRule", options.duplicates),  # options check their choices
            file=options.folds_file,
            holdout=options.holdout,
        ),
        embeddings=options.embeddings,
        embedding_weights=options.embedding_weights,
        cleanings=_cleanings(space),
        positive=options.positive,
        duplicate_ids=cast("DuplicateIds", options.duplicate_ids),
        empty_texts=cast("EmptyTexts", options.empty_texts),
        cache=cache,
    )


def _make_space(options: StudyOptions, ranges: Mapping[str, Any]) -> Space:
    families = options.family or DEFAULT_FAMILIES
    changes = {section: dict(values) for section, values in ranges.items()}
    source = "space"
    if options.space is not None:
        source = str(options.space)
        for section, values in read_space_file(options.space).items():
            changes.setdefault(section, {}).update(values)
    if options.n_epochs is not None:
        for family in families:
            if not _is_linear(family):
                changes.setdefault(family, {})["n_epochs"] = options.n_epochs
    if options.precision is not None:
        for family in _recurrent_ones(families):
            changes.setdefault(family, {})["precision"] = options.precision
    if options.checkpoint is not None:
        families = families if "encoder" in families else (*families, "encoder")
        changes.setdefault("encoder", {}).update(_describe_checkpoint(options.checkpoint))
    elif "encoder" in families:
        raise ConfigError("--family encoder needs --checkpoint DIR, a folder with a transformer and its tokenizer")
    if len(set(families)) != len(families):
        raise ConfigError(f"--family: {', '.join(families)} names one twice")
    return make_space(families, changes, source=source)


def _recurrent_ones(families: Sequence[str]) -> list[str]:
    known = [family for family in families if family in FAMILIES]  # what is wrong with the others is said later
    recurrent = [family for family in known if issubclass(FAMILIES[family].config, RecurrentConfig)]
    if not recurrent and len(known) == len(families):
        raise ConfigError(
            f"--precision is for recurrent networks, and --family names none of them: {', '.join(families)}"
        )
    return recurrent


def _is_linear(family: str) -> bool:
    return family in ("tfidf_logreg", "nbsvm")


def _describe_checkpoint(folder: Path) -> dict[str, str]:
    """Its place and a digest of its files, so that a changed model makes another study."""
    import hashlib

    if not folder.is_dir():
        raise ConfigError(f"--checkpoint: {folder} is no folder; give one with a transformer and its tokenizer")
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return {"checkpoint": str(folder.resolve()), "checkpoint_digest": digest.hexdigest()}


def _chosen_trials(
    options: StudyOptions, space: Space, enqueued: Sequence[Mapping[str, Any]] | None
) -> tuple[Mapping[str, Any], ...] | None:
    """The first trials that the user wants, checked; None where the choice is ours."""
    if enqueued is not None:
        return tuple(check_enqueued(enqueued, space, source="enqueue"))
    if options.enqueue is None:
        return None
    try:
        entries = json.loads(options.enqueue.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--enqueue: {options.enqueue} cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise ConfigError(f"--enqueue: {options.enqueue} is not JSON ({error})") from None
    if not isinstance(entries, list):
        raise ConfigError(f"--enqueue: {options.enqueue} holds no list; write [{{...}}, {{...}}]")
    return tuple(check_enqueued(entries, space, source=str(options.enqueue)))


def _cleanings(space: Space) -> tuple[str, ...]:
    """Every cleaning recipe that a trial of the space can have."""
    default = parse_config({"family": space.families[0]}, source="default").cleaning
    everywhere = all("cleaning" in ranges for ranges in space.ranges.values())
    named = tuple(str(value) for value in space.values_of("cleaning"))
    return named if everywhere else tuple(dict.fromkeys((default, *named)))


def _json_mapping(option: str, raw: str) -> dict[str, Any]:
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise ConfigError(f"{option}: {raw!r} is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{option}: {raw!r} is not a mapping; write '{{\"name\": value}}'")
    return values
