"""Frozen, validated records of what a user asked for: the task and the columns."""

from dataclasses import dataclass
from typing import Literal, get_args

from textclf.errors import ConfigError

TaskKind = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is predicted.

    kind: binary and multiclass rows have one class each; multilabel rows have any number of labels.
    class_names: in the order of the probability columns; for binary the second is the positive class, for
        multilabel they are the target columns.
    """

    kind: TaskKind
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(TaskKind):
            raise ConfigError(f"task: {self.kind!r} is not one of {', '.join(get_args(TaskKind))}")
        if len(set(self.class_names)) != len(self.class_names):
            raise ConfigError(f"task: class names repeat: {', '.join(self.class_names)}")
        fewest = {"binary": 2, "multiclass": 3, "multilabel": 1}[self.kind]
        if len(self.class_names) < fewest or (self.kind == "binary" and len(self.class_names) != 2):
            raise ConfigError(f"task: {len(self.class_names)} classes do not make a {self.kind} task")

    @property
    def n_outputs(self) -> int:
        """Number of probability columns."""
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of the CSV files means what."""

    text: str
    targets: tuple[str, ...]
    row_id: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    group: str | None = None

    def __post_init__(self) -> None:
        named = [
            self.text,
            *self.targets,
            *self.numeric,
            *self.categorical,
            *(column for column in (self.row_id, self.group) if column is not None),
        ]
        if not self.targets:
            raise ConfigError("--target: no target column was named")
        for column in named:
            # a group may also be a feature or the id; every other column has one meaning
            if named.count(column) > 1 and column != self.group:
                raise ConfigError(f"column {column!r} is named twice among text, target, id and features")
