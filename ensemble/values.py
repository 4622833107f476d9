"""What a submission's cells hold: labels or probabilities, written as the sample writes them."""

from collections.abc import Sequence
from typing import Literal, get_args

from textclf.config import Task
from textclf.errors import ConfigError, did_you_mean
from textclf.metrics import Metric

Values = Literal["labels", "probabilities"]

METRICS_OF_PROBABILITIES = frozenset({"roc_auc", "average_precision", "log_loss", "brier"})


def choose_values(
    asked: Values | Literal["auto"],
    task: Task,
    metric: Metric,
    *,
    shape: str | None,
    sample_cells: Sequence[str],
) -> Values:
    """Labels or probabilities.

    As asked; else as the sample shows: fractions are probabilities, names of classes are labels. Whole numbers may be
    either (a placeholder of zeros is common), so there the metric decides: those of rankings and losses need
    probabilities, those of decisions need labels. A column per class holds probabilities, one column for several
    classes holds labels.

    shape: of the sample, None without one
    Raises ConfigError for an unknown word and for probabilities of several classes in one column.
    """
    allowed = ("auto", *get_args(Values))
    if asked not in allowed:
        raise ConfigError(f"--values: {asked!r} is not one of {', '.join(allowed)}{did_you_mean(asked, allowed)}")
    one_of_many = shape == "one column" and task.kind == "multiclass"
    if asked == "probabilities" and one_of_many:
        raise ConfigError(
            f"--values: one column cannot hold the probabilities of {task.n_outputs} classes; ask for labels, or give "
            "a sample with a column per class"
        )
    if asked != "auto":
        return asked
    if shape == "column per class" or any(is_fraction(cell) for cell in sample_cells):
        return "labels" if one_of_many else "probabilities"
    named = bool(sample_cells) and set(sample_cells) <= set(task.class_names)
    if one_of_many or (named and not all(is_number(cell) for cell in sample_cells)):
        return "labels"
    return "probabilities" if metric.name in METRICS_OF_PROBABILITIES else "labels"


def is_number(cell: str) -> bool:
    """Whether the cell is written as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def is_fraction(cell: str) -> bool:
    """Whether the cell is a number with something behind the point."""
    return is_number(cell) and not float(cell).is_integer()


def in_style_of(sample_cells: Sequence[str], name: str) -> str:
    """A numeric label written as the sample writes whole numbers ("1" or "1.0"); any other as it is.

    >>> in_style_of(["0.0", "0.0"], "1"), in_style_of(["0"], "1.0"), in_style_of(["0"], "spam")
    ('1.0', '1', 'spam')
    """
    if not sample_cells or name in sample_cells or not is_number(name) or is_fraction(name):
        return name
    if not all(is_number(cell) for cell in sample_cells):
        return name
    pointed = "." in sample_cells[0]
    return str(float(name)) if pointed else str(int(float(name)))
