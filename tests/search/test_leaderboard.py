"""The leaderboard in words, and how it looks where nobody draws."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.leaderboard import describe_lead, fitting_columns, leader_rows, leader_table
from search.summary import COLUMNS, print_summary
from textclf.records import TrialSummary

SPACE = {"nbsvm": {"c": {"low": 0.3, "high": 30.0}, "min_df": {"choices": [2]}, "nb_mix": {"choices": [0.5, 1.0]}}}


def made(number: int, score: float, **params: Any) -> TrialSummary:
    """A complete trial of two folds, both with the trial's score."""
    params = {"family": "nbsvm", "c": 4.0, "min_df": 2, "nb_mix": 1.0} | params
    return TrialSummary(
        study="s", number=number, outcome="complete", params=params, seed=0, score=score, fold_scores=(score, score)
    )


def summary_of(trials: list[TrialSummary], space: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a run's summary that are its table, as a pipe receives them."""
    options = SimpleNamespace(study_name="s", storage=None, tracking_uri=None, output=Path("runs"), test=None)
    record = SimpleNamespace(metric="f1", settings={"space": space})
    outcome: Any = SimpleNamespace(
        trials=trials, record=record, study=SimpleNamespace(options=options), inputs_folder="runs/inputs/x"
    )
    print_summary(outcome)
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if "family" in line)
    return lines[start : start + 1 + len(trials)]


def test_differing_parameters_are_shown() -> None:
    """Of those that are equal in all trials a reader learns nothing."""
    rows = leader_rows([made(0, 0.7), made(1, 0.8, c=1.5)], {"space": SPACE})

    assert [(row.rank, row.trial, row.parameters) for row in rows] == [("1", "1", "c 1.5"), ("2", "0", "c 4")]


def test_the_lead_is_told_in_a_sentence_or_two() -> None:
    """Leader, gap to the next one with its standard error, how many are as good, and for how long it has led."""
    assert describe_lead([]) == ""
    assert describe_lead([made(0, 0.7)]) == "Trial 0 (nbsvm) leads with 0.70000."
    assert describe_lead([made(0, 0.5), made(1, 0.8), made(2, 0.7), made(3, 0.8)]) == (
        "Trial 1 (nbsvm) leads with 0.80000. Trial 3 is 0.00000 ± 0.00000 behind. "
        "1 trial is within two standard errors of it. The 2 trials after it found nothing better."
    )


def test_where_nothing_differs_the_searched_parameters_are_shown() -> None:
    """The only trial of a family has its parameters beside it, but for those that the study fixes."""
    (row,) = leader_rows([made(0, 0.7)], {"space": SPACE})

    assert row.parameters == "c 4, nb_mix 1"


def test_parameters_keep_the_order_of_their_space() -> None:
    """However a trial was read back: a store sorts its names."""
    (first, second) = leader_rows([made(0, 0.7, nb_mix=0.5, c=2.0), made(1, 0.8)], {"space": SPACE})
    turned = {"nbsvm": dict(reversed(SPACE["nbsvm"].items()))}

    assert (first.parameters, second.parameters) == ("c 4, nb_mix 1", "c 2, nb_mix 0.5")
    assert leader_rows([made(0, 0.7, nb_mix=0.5, c=2.0), made(1, 0.8)], {"space": turned})[0].parameters == (
        "nb_mix 1, c 4"
    )


def test_a_column_without_content_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A study that searches nothing has no parameters to show, a single trial nobody to be behind."""
    heading, row = summary_of([made(0, 0.7)], {"nbsvm": {"c": {"choices": [4.0]}}}, capsys)

    assert heading.split() == ["trial", "f1", "folds", "time", "family"]
    assert row.split()[:3] == ["1", "0", "0.70000"]


def test_a_piped_table_has_no_trailing_spaces_and_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of different length end where their words end, however long they are."""
    lines = summary_of([made(0, 0.7, nb_mix="x" * 300), made(1, 0.6, nb_mix="y")], SPACE, capsys)

    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1].endswith("nb_mix " + "x" * 300)
    assert lines[2].endswith("nb_mix y")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_of_any_width_shows_whole_numbers(width: int) -> None:
    """Trial, score, gap and time of every line stand uncut, and no line is wider than the terminal."""
    from rich.console import Console

    rows = leader_rows([made(0, 0.7, nb_mix="x" * 300), made(1, 0.6, nb_mix="y")], {"space": SPACE})
    console = Console(width=width)
    with console.capture() as drawn:
        console.print(leader_table(rows, fitting_columns(rows, COLUMNS, metric="f1", width=width), metric="f1"))
    heading, *lines = drawn.get().splitlines()

    assert len(lines) == len(rows)
    assert all(len(line) <= width for line in (heading, *lines))
    for row, line in zip(rows, lines, strict=True):
        assert all(cell in line for cell in (row.trial, row.score, row.behind, row.time, row.family))
        assert (row.folds in line) == (width >= 80)
        assert (row.parameters[:20] in line) == (width >= 100)
