"""From files to the inputs of a study: tables, hold-out, fold plan and word vectors, with a report to print."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.arrays import BoolArray, IntArray
from textclf.config import Columns
from textclf.coverage import Coverage, count_words, measure_coverage
from textclf.duplicates import DuplicateReport, DuplicateRule, duplicate_groups, report_duplicates
from textclf.embeddings import load_vectors
from textclf.errors import ConfigError, DataError
from textclf.folds import FoldPlan, plan_folds, read_folds_file
from textclf.inputs import Inputs
from textclf.table import DuplicateIds, EmptyTexts, TableReport, TrainTable, compare_tables, read_test, read_train
from textclf.text import DEFAULT_CLEANING, parse_cleaning


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsReport:
    """What a person should know before a study starts; ``str()`` of it is for printing.

    warnings: about both tables.
    coverage: one per embedding file and cleaning recipe.
    """

    train: TableReport
    n_test: int
    n_holdout: int
    duplicates: DuplicateReport
    coverage: tuple[Coverage, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [str(self.train), f"test: {self.n_test:,} rows"]
        if self.n_holdout:
            lines.append(f"hold-out: {self.n_holdout:,} of the training rows are set apart; no trial sees them")
        lines += [str(self.duplicates), *map(str, self.coverage)]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRequest:
    """How rows are dealt to folds.

    duplicates: which repeated texts are held out together.
    file: a plan of the user's own, which decides alone; its ids stand in a column named as in the tables, or ``id``.
    holdout: share of the training rows to set apart first, rounded to 1 / n; 0 for none.
    """

    n_folds: int = 5
    seed: int = 0
    n_repeats: int = 1
    duplicates: DuplicateRule = "near"
    file: Path | None = None
    holdout: float = 0.0

    def __post_init__(self) -> None:
        if self.n_folds < 2 or self.n_repeats < 1:
            raise ConfigError(f"folds: {self.n_folds} folds, {self.n_repeats} repeats; at least 2 and 1 are needed")
        if not 0 <= self.holdout <= 0.5:
            raise ConfigError(f"holdout: {self.holdout} is outside [0, 0.5]")


def build_inputs(
    train: Path | str,
    test: Path | str,
    columns: Columns,
    *,
    folds: FoldRequest | None = None,
    embeddings: Sequence[Path | str] = (),
    embedding_weights: Sequence[float] = (),
    cleanings: Sequence[str] = (DEFAULT_CLEANING,),
    positive: str | None = None,
    duplicate_ids: DuplicateIds = "refuse",
    empty_texts: EmptyTexts = "refuse",
    cache: Path | str | None = None,
) -> tuple[Inputs, InputsReport]:
    """Read both tables, set a hold-out apart, plan the folds and load the vectors of every word a trial can meet.

    cleanings: all recipes that the study may use. cache: folder for parsed embedding files.
    Raises ConfigError and DataError as ``read_train``, ``plan_folds`` and ``load_vectors`` do.
    """
    folds = folds or FoldRequest()
    recipes = tuple(dict.fromkeys("+".join(parse_cleaning(cleaning)) or "none" for cleaning in cleanings))
    if embedding_weights and len(embedding_weights) != len(embeddings):
        raise ConfigError(f"embedding weights: {len(embedding_weights)} for {len(embeddings)} files; give one for each")
    labelled = read_train(train, columns, positive=positive, duplicate_ids=duplicate_ids, empty_texts=empty_texts)
    unlabelled = read_test(test, columns, duplicate_ids=duplicate_ids)
    texts = [*labelled.table.texts, *unlabelled.texts]
    groups = duplicate_groups(texts, rule=folds.duplicates)
    kept, plan = _deal(
        labelled, groups[: len(labelled.table)], folds, id_column=columns.row_id or "id", source=str(train)
    )
    counts = {recipe: count_words(texts, cleaning=recipe) for recipe in recipes if embeddings}
    words = {word for counted in counts.values() for word in counted.words}
    vectors = tuple(
        load_vectors(path, words, weight=weight, cache=cache)
        for path, weight in zip(embeddings, embedding_weights or [1.0] * len(embeddings), strict=True)
    )
    inputs = Inputs(
        task=labelled.task,
        columns=columns,
        train=labelled.table.rows(kept),
        labels=labelled.labels[kept],
        test=unlabelled,
        folds=plan,
        vectors=vectors,
        holdout=labelled.table.rows(~kept),
        holdout_labels=labelled.labels[~kept],
        cleanings=recipes,
    )
    rows = np.concatenate([kept, np.ones(len(unlabelled), dtype=bool)])
    report = InputsReport(
        train=labelled.report,
        n_test=len(unlabelled),
        n_holdout=len(inputs.holdout),
        duplicates=report_duplicates(groups[rows], inputs.labels, rule=folds.duplicates, fold_of_row=plan.fold_of_row),
        coverage=tuple(measure_coverage(counted, source) for source in vectors for counted in counts.values()),
        warnings=compare_tables(labelled.table, unlabelled, has_ids=columns.row_id is not None),
    )
    return inputs, report


def _deal(
    labelled: TrainTable, duplicates: IntArray, request: FoldRequest, *, id_column: str, source: str
) -> tuple[BoolArray, FoldPlan]:
    """The rows that are not set apart, (n_rows,) bool, and the plan for them; source: the training file, for errors."""
    table, labels, task = labelled.table, labelled.labels, labelled.task
    kept = np.ones(len(table), dtype=bool)
    if request.holdout:
        n_parts = round(1 / request.holdout)
        try:
            parts = plan_folds(
                labels, task, n_folds=n_parts, seed=request.seed, groups=table.groups, duplicate_groups=duplicates
            )
        except DataError as error:
            cause = str(error).partition(";")[0]
            raise DataError(
                f"{source}: --holdout {request.holdout} cannot set one row in {n_parts} apart: {cause}; give a larger "
                "share, merge classes or add rows"
            ) from None
        kept = parts.fold_of_row[0] != 0
    if request.file is not None:
        return kept, read_folds_file(request.file, table.row_ids, id_column=id_column).rows(kept)
    groups = None if table.groups is None else tuple(np.array(table.groups, dtype=object)[kept].tolist())
    try:
        plan = plan_folds(
            labels[kept],
            task,
            n_folds=request.n_folds,
            seed=request.seed,
            n_repeats=request.n_repeats,
            groups=groups,
            duplicate_groups=duplicates[kept],
        )
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    return kept, plan
