"""The sections of a report about what is given: the data, the folds, and how to repeat it all."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from search.report_page import Section, code_block, paragraph, quoted, table
from search.report_sections import ReportData
from textclf.records import StudyRecord, TrialSummary


def data_section(data: ReportData) -> Section:
    """Rows, classes by fold, and what was said about the data when the study began."""
    study = data.study
    text = f"{len(study.train_ids):,} training rows and {len(study.test_ids):,} test rows."
    if study.holdout_ids:
        text += f" {len(study.holdout_ids):,} further rows are set apart; no trial saw them."
    parts = [paragraph(text)]
    if study.report:
        parts.append(quoted("\n".join(study.report)))
    n_repeats = len(study.fold_of_row)
    heading = "Rows of each class by fold" + (f" (first of {n_repeats} plans)" if n_repeats > 1 else "")
    parts.append(f"<h3>{heading}</h3>{_fold_table(study)}")
    return Section("Data", "\n".join(parts))


def _fold_table(study: StudyRecord) -> str:
    folds = study.fold_of_row[0]
    held_out = [folds == fold for fold in np.unique(folds)]
    yes = study.labels if study.labels.ndim == 2 else study.labels[:, None] == np.arange(study.task.n_outputs)
    columns = [("class", "name"), *((f"fold {fold}", "number") for fold in range(len(held_out))), ("all", "number")]
    columns.append(("share", "number"))
    rows: list[list[Any]] = []
    for place, name in enumerate(study.task.class_names):
        counts = [int(yes[rows_of, place].sum()) for rows_of in held_out]
        total = sum(counts)
        rows.append([name, *(f"{count:,}" for count in counts), f"{total:,}", f"{total / len(folds):.1%}"])
    rows.append(["rows", *(f"{int(rows_of.sum()):,}" for rows_of in held_out), f"{len(folds):,}", ""])
    return table(columns, rows)


def reproduce_section(data: ReportData) -> Section:
    """How to check and repeat the study, and what it was made with."""
    study = data.study
    number = data.best.number if data.best is not None else 0
    commands = (
        f"python -m search.reproduce {data.where} --trial {number}   # run it again, compare every digest\n"
        f"python -m search.reproduce {data.where} --all\n"
        f"python -m search.ui {data.where}   # every trial in MLflow\n"
        f"python -m ensemble.export {data.where} --sample-submission sample_submission.csv"
    )
    digests = [["data", study.data_digest], ["folds", study.fold_digest]]
    if data.best is not None:
        digests += [[f"trial {number}: {name}", digest] for name, digest in sorted(data.best.digests.items())]
    parts = [
        paragraph(
            "A trial is a pure function of the data, the folds, its parameters and the seed: under the same versions, "
            "on the same kind of processor and with the same number of threads it gives the same bits."
        ),
        code_block(commands),
        "<h3>Digests (SHA-256)</h3>",
        table([("", "name"), ("", "code")], digests),
        "<h3>Settings</h3>",
        table(
            [("", "name"), ("", "code")], [[name, _setting(value)] for name, value in sorted(study.settings.items())]
        ),
        "<h3>Environments</h3>",
        _environment_table(data.trials),
    ]
    return Section("Reproduce", "\n".join(parts))


def _setting(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def _environment_table(trials: Sequence[TrialSummary]) -> str:
    """Every environment that trials ran in; more than one means that digests may differ by rounding."""
    groups: dict[str, list[TrialSummary]] = {}
    for trial in trials:
        groups.setdefault(json.dumps(dict(trial.environment), sort_keys=True), []).append(trial)
    known = [(dict(members[0].environment), members) for members in groups.values() if members[0].environment]
    if not known:
        return paragraph("No trial has recorded its environment.", note=True)
    columns = [("", "name"), *((_numbers(members), "code") for _, members in known)]
    names = dict.fromkeys(name for environment, _ in known for name in environment)
    return table(columns, [[name, *(environment.get(name, "") for environment, _ in known)] for name in names])


def _numbers(trials: Sequence[TrialSummary]) -> str:
    return f"trial {trials[0].number}" if len(trials) == 1 else f"{len(trials)} trials from {trials[0].number} on"
