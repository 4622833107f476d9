"""What is printed when a study ends: the best trials, where everything is, and what to type next."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from search.leaderboard import fitting_columns, leader_rows, leader_table
from search.ranking import count_outcomes, rank_trials, seconds_saved, show_seconds

if TYPE_CHECKING:
    from search.launch import StudyOutcome

N_BEST = 10
COLUMNS = ("rank", "trial", "score", "folds", "behind", "time", "family", "parameters")
ENDLESS = 10_000  # columns of what is no terminal: nothing is cut


def print_summary(outcome: "StudyOutcome") -> None:
    """Print the summary of a run."""
    from rich.console import Console

    console = Console(highlight=False)
    options = outcome.study.options
    counts = ", ".join(f"{count} {what}" for what, count in count_outcomes(outcome.trials).items() if count)
    saved = seconds_saved(outcome.trials, outcome.record)
    told = f"; pruning saved about {show_seconds(saved)}" if saved else ""
    console.print(f"\nstudy {options.study_name}: {counts or 'no trial finished'}{told}", soft_wrap=True, markup=False)
    rows = leader_rows(outcome.trials, outcome.record.settings)[:N_BEST]
    if not console.is_terminal:
        console.width = ENDLESS
    if rows:
        metric = outcome.record.metric
        shown = fitting_columns(rows, COLUMNS, metric=metric, width=console.width)
        table = leader_table(rows, shown, metric=metric)
        with console.capture() as drawn:
            console.print(table)
        print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
        if rows[0].parameters and ("parameters" not in shown or console.measure(table).maximum >= console.width):
            console.print(f"trial {rows[0].trial}: {rows[0].parameters}", markup=False)
    for line in describe_places(outcome):
        console.print(line, soft_wrap=True, markup=False)


def describe_places(outcome: "StudyOutcome") -> list[str]:
    """Where everything is, and the next two commands."""
    options = outcome.study.options
    lines = [
        f"\ntrials and predictions: {options.storage or options.output / 'study.db'}",
        f"MLflow record:          {options.tracking_uri or options.output / 'mlflow.db'}",
        f"inputs:                 {outcome.inputs_folder}",
    ]
    if any(trial.outcome == "complete" for trial in outcome.trials):
        lines += ["\nnext:", *(f"  {command}" for command in next_commands(outcome))]
    return lines


def next_commands(outcome: "StudyOutcome") -> tuple[str, str]:
    """How to look at the study, and how to make a submission of it."""
    options = outcome.study.options
    place = f"--output {shlex.quote(str(options.output))}"
    uri = f" --tracking-uri {shlex.quote(options.tracking_uri)}" if options.tracking_uri else ""
    storage = f" --storage {shlex.quote(options.storage)}" if options.storage else ""
    export = f"python -m ensemble.export {place}{storage}{uri} --study-name {options.study_name}"
    sample = None if options.test is None else Path(options.test).parent / "sample_submission.csv"
    if sample is not None and sample.is_file():
        export += f" --sample-submission {shlex.quote(str(sample))}"
    submission = shlex.quote(str(options.output / "submission.csv"))
    return f"python -m search.ui {place}{uri}", f"{export} --submission {submission}"


def summary_json(outcome: "StudyOutcome") -> str:
    """The end of the run for programs."""
    standings = rank_trials(outcome.trials)
    best = standings[0] if standings else None
    told = {
        "event": "end",
        "interrupted": outcome.interrupted,
        "counts": count_outcomes(outcome.trials),
        "best": None if best is None else {"trial": best.trial.number, "score": best.score},
        "next": next_commands(outcome),
    }
    return json.dumps(told)
