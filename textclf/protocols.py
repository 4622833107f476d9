"""What a model family promises to the k-fold objective."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from textclf.arrays import FloatArray, IntArray
from textclf.config import Task, TextConfig
from textclf.errors import TextclfError
from textclf.inputs import Inputs
from textclf.table import Table
from textclf.turns import Turns


class DivergedError(TextclfError):
    """The training loss became NaN or infinite: a result of these parameters, not a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All rows of a study as one family reads them.

    train, test, holdout: made row by row, nothing learned; they have ``len``, ``rows(selected)`` by mask or index, in
        the order given, and ``join(others)`` of the same study, asked for where test rows join training rows
    shared: what the rows refer to (words and their vectors, n-gram names); learned from no label and no split
    """

    train: Any
    test: Any
    holdout: Any
    shared: Any


Predict = Callable[[Any], FloatArray]
"""rows -> (n_rows, n_outputs) float64 probabilities."""

OnEpoch = Callable[[int, float, Predict], None]
"""Hears (epoch, mean training loss, predict) after each epoch but the last."""


class Fitted(Protocol):
    """A model fitted on one fold's training rows."""

    @property
    def n_parameters(self) -> int:
        """Learned numbers."""
        ...

    @property
    def train_loss(self) -> float:
        """Mean log loss over the training rows during the last epoch."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the record should mention."""
        ...

    def predict(self, rows: Any) -> FloatArray:
        """Probabilities (n_rows, n_outputs) float64, in the order of the rows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FitTask:
    """What a fit is told beside its rows: nothing of it comes from held-out rows.

    frugal: the GPU's memory was too short before; do with as little as there is a way to
    """

    task: Task
    seed: int
    device: str
    shared: Any
    on_epoch: OnEpoch
    frugal: bool = False


class Fit(Protocol):
    """Fits on the training rows of one fold."""

    def __call__(self, rows: Any, labels: IntArray, config: Any, /, *, how: FitTask) -> Fitted:
        """Learn from these rows and labels, from nothing else."""
        ...


class FitInTurns(Protocol):
    """Fits as ``Fit`` does, pausing where other fits may hand the device work of theirs."""

    def __call__(self, rows: Any, labels: IntArray, config: Any, /, *, how: FitTask) -> Turns[Fitted]:
        """Learn from these rows and labels; the same bits as by itself, whatever runs beside it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The fitted models of a trial as they are without the study.

    read: rows of any table as the models take them; predicts: one per model, in the order they were fitted
    """

    read: Callable[[Table], Any]
    predicts: tuple[Predict, ...]


class Keeper(Protocol):
    """Keeps the fitted models of a trial in a folder of tensors, without pickle and without the study's inputs."""

    def save(self, fits: Sequence[Any], *, inputs: Inputs, config: Any, folder: Path) -> dict[str, Any]:
        """Write the models' tensors (textclf.tensors); returns what restores them, JSON values."""
        ...

    def restore(self, record: dict[str, Any], *, task: Task, config: Any, folder: Path, device: str) -> Restored:
        """Read what ``save`` wrote; DataError where a file is missing or altered."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of model: its parameters, how its rows are made, how it is fitted.

    keeper: how its fitted models are shipped; None for a family that cannot be part of a model to ship
    fit_in_turns: its fit in instalments, for the folds of a trial side by side on a GPU; None for one after another
    """

    description: str
    config: type[TextConfig]
    prepare: Callable[[Inputs, Any], Prepared]
    fit: Fit
    keeper: Keeper | None = None
    fit_in_turns: FitInTurns | None = None
