"""A study that is there already: whether this run asks for the same one, said in the words of the command line."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from search.ranges import parse_range
from textclf.errors import ConfigError
from textclf.records import StudyRecord

COLUMN_OPTIONS = {
    "text": "--text",
    "targets": "--target",
    "row_id": "--id",
    "numeric": "--features",
    "categorical": "--categorical",
    "group": "--group",
}
SETTINGS = ("lag", "sampler", "sampler_kwargs", "pruner", "pruner_kwargs")
KEPT_SETTINGS = ("device", "threads")  # the study's own hold where nothing is said


def check_same_study(there: StudyRecord, asked: StudyRecord) -> None:
    """Compare a study with the one that a run asks for under its name.

    Raises ConfigError that names the option, what the study has, what was asked for, and how to go on.
    """
    for difference in _differences(there, asked):
        raise ConfigError(f"{difference}, or begin another study with --study-name or --output")


def _differences(there: StudyRecord, asked: StudyRecord) -> Iterator[str]:
    """The plain causes come first: a changed seed, say, changes the digest of the folds as well."""
    name, before, now = there.name, there.settings, json.loads(json.dumps(dict(asked.settings)))
    for field, option in COLUMN_OPTIONS.items():
        yield from _compare(option, name, getattr(there.columns, field), getattr(asked.columns, field))
    yield from _compare("--metric", name, there.metric, asked.metric)
    yield from _compare("--seed", name, before.get("seed"), now.get("seed"))
    yield from _compare("--n-folds", name, int(there.fold_of_row.max()) + 1, int(asked.fold_of_row.max()) + 1)
    yield from _compare("--n-repeats", name, len(there.fold_of_row), len(asked.fold_of_row))
    for key in SETTINGS:
        yield from _compare("--" + key.replace("_", "-"), name, before.get(key), now.get(key))
    for key in KEPT_SETTINGS:
        old, new = before.get(key), now.get(key)
        if old != new:
            yield f"--{key}: study {name!r} has {old} and this run asks for {new}; leave --{key} away to go on"
    yield from _compare("--family", name, before.get("families"), now.get("families"))
    yield from _compare_spaces(name, before.get("space", {}), now.get("space", {}))
    yield from _compare_first_trials(name, before.get("first_trials", []), now.get("first_trials", []))
    yield from _compare_data(there, asked)


def _compare(option: str, study: str, old: Any, new: Any) -> Iterator[str]:
    old, new = _as_list(old), _as_list(new)
    if old != new:
        before = " ".join(f"{option} {_quoted(value)}" for value in old)
        go_on = f"give {before} to go on" if before else f"leave {option} away to go on"
        yield f"{option}: study {study!r} has {_told(old)} and this run asks for {_told(new)}; {go_on}"


def _compare_spaces(study: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for family, ranges in old.items():
        for name in sorted(ranges.keys() | new.get(family, {}).keys()):
            before, after = _range(ranges.get(name)), _range(new.get(family, {}).get(name))
            if before == after:
                continue
            if name in ("checkpoint", "checkpoint_digest"):
                yield f"--checkpoint: study {study!r} has another one ({before}, now {after}); give that one to go on"
            else:
                yield (
                    f"--space: study {study!r} has {name} = {before} for {family} and this run asks for {after}; give "
                    "the --preset, --space, --precision and --n-epochs it began with to go on"
                )


def _compare_first_trials(study: str, old: Any, new: Any) -> Iterator[str]:
    for number in range(max(len(old), len(new))):
        before, after = old[number : number + 1], new[number : number + 1]
        if before != after:
            yield (
                f"--enqueue: study {study!r} began with other settings (trial {number}: {_told(before)}, now "
                f"{_told(after)}); give the file it began with to go on"
            )


def _compare_data(there: StudyRecord, asked: StudyRecord) -> Iterator[str]:
    study = f"study {there.name!r}"
    for option, part, n_there, n_asked in (
        ("--train, --holdout", "training", len(there.train_ids), len(asked.train_ids)),
        ("--test", "test", len(there.test_ids), len(asked.test_ids)),
    ):
        if n_there != n_asked:
            yield f"{option}: {study} has {n_there:,} {part} rows and this run {n_asked:,}; give the same to go on"
    if there.task != asked.task:
        names, new_names = ", ".join(there.task.class_names), ", ".join(asked.task.class_names)
        yield f"--positive, --train: {study} has the classes {names} and this run {new_names}; give the same to go on"
    for what, old, new in (
        ("--train, --test, --embeddings", there.data_digest, asked.data_digest),
        ("--group, --duplicates, --folds-file", there.fold_digest, asked.fold_digest),
        ("--space (its cleanings)", there.settings.get("inputs"), asked.settings.get("inputs")),
    ):
        if old != new:
            yield (
                f"{what}: what {study} began with has changed (digest {str(old)[:12]}, now {str(new)[:12]}); give the "
                "same as before to go on"
            )


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value is None else [value]


def _range(raw: Any) -> str:
    return "its default" if raw is None else str(parse_range(raw, source="study"))


def _told(values: list[Any]) -> str:
    return ", ".join(map(str, values)) or "none"


def _quoted(value: Any) -> str:
    return shlex.quote(json.dumps(value) if isinstance(value, dict) else str(value))
