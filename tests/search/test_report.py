"""Ranking, importances, figures, artifacts and the HTML report of a study."""

import base64
import csv
import json
import math
import zlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

from search.artifacts import leaderboard_note, trial_note, write_study_artifacts, write_trial_artifacts
from search.figures import PAGE, PRINT, drawing, new_figure, to_svg
from search.importance import find_importances
from search.ranking import (
    best_so_far,
    is_logarithmic,
    rank_trials,
    searched,
    seconds_saved,
    share_done,
    show_seconds,
)
from search.report import write_report
from search.report_blend import find_blend
from search.trial_figures import confusion, reliability, thinned, threshold_curve, worst_mistakes
from search.views import saved_views, shared_params
from tests.search.studies import make_study, make_trial, write_study
from textclf.errors import ConfigError, DataError
from textclf.metrics import row_losses
from textclf.records import TrialOutcome, TrialRecord, TrialSummary
from textclf.store import PredictionStore

KINDS = ("binary", "multiclass", "multilabel")


def trial(number: int, score: float | None, folds: Sequence[float] = (), **more: Any) -> TrialSummary:
    """A trial of few words."""
    outcome: TrialOutcome = "complete" if score is not None else "pruned"
    params = more.pop("params", {"family": "dan"})
    return TrialSummary(
        study="s", number=number, outcome=outcome, params=params, seed=0, score=score, fold_scores=tuple(folds), **more
    )


def test_the_best_trial_leads_and_equals_keep_their_order() -> None:
    """Complete trials are ranked by score, the earlier of two equals first; pruned ones are not ranked."""
    standings = rank_trials([trial(0, 0.7), trial(1, 0.9), trial(2, None), trial(3, 0.9)])

    assert [(one.rank, one.trial.number) for one in standings] == [(1, 1), (2, 3), (3, 0)]


def test_gap_and_its_error_are_paired_over_folds() -> None:
    """By hand: fold differences .1, .3 have mean .2 and standard error .1; deviations count n - 1."""
    leader, second = rank_trials([trial(0, 0.9, (0.8, 1.0)), trial(1, 0.7, (0.7, 0.7))])

    assert second.gap == pytest.approx(0.2)
    assert second.gap_error == pytest.approx(0.1)
    assert leader.fold_std == pytest.approx(math.sqrt(0.02))
    assert second.fold_std == 0


def test_an_undefined_fold_is_left_out() -> None:
    """A fold without a score counts neither in the mean nor in the error; one fold alone has no error."""
    (one,) = rank_trials([trial(0, 0.5, (0.4, math.nan, 0.6))])
    (alone,) = rank_trials([trial(0, 0.5, (0.5, math.nan))])

    assert one.fold_mean == pytest.approx(0.5)
    assert math.isnan(alone.fold_std)


def test_the_lead_changes_only_upwards() -> None:
    """Best so far names the trials that took the lead."""
    assert best_so_far([trial(0, 0.5), trial(1, 0.4), trial(2, None), trial(3, 0.6), trial(4, 0.6)]) == [
        (0, 0.5),
        (3, 0.6),
    ]


def test_time_saved_by_pruning_is_the_rest_of_the_trial() -> None:
    """By hand: pruned after 2 of 5 fits in 40 s, a trial would have taken 60 s more."""
    study = make_study()
    pruned = trial(1, None, reports=((100, 0.5), (200, 0.5)), seconds=40.0)

    assert share_done(pruned, study) == pytest.approx(0.4)
    assert seconds_saved([trial(0, 0.5, seconds=100.0), pruned], study) == pytest.approx(60)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.6, "60 s"), (60, "1 min 00 s"), (3599.7, "1 h 00 min"), (7980, "2 h 13 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, shown: str) -> None:
    """Two units at most."""
    assert show_seconds(seconds) == shown


def test_only_parameters_that_differ_within_a_family_count_as_searched() -> None:
    """A constant is no parameter of the search, and families do not mix."""
    trials = [
        trial(0, 0.5, params={"family": "dan", "a": 1, "b": 2}),
        trial(1, 0.5, params={"family": "dan", "a": 3, "b": 2}),
        trial(2, 0.5, params={"family": "nbsvm", "a": 9}),
    ]

    assert searched(trials) == {"dan": ["a"], "nbsvm": []}


def test_scales_follow_how_values_spread() -> None:
    """Powers of ten want a logarithmic scale; evenly spread values do not, however small the smallest is."""
    assert is_logarithmic([1e-4, 1e-3, 1e-2, 1e-1])
    assert not is_logarithmic([0.01, 0.25, 0.5, 0.75, 1.0])
    assert not is_logarithmic([0.0, 1.0, 100.0])


def test_the_parameter_that_decides_the_score_is_found() -> None:
    """Scores made from one of three parameters give it nearly all the importance; shares sum to one."""
    rng = np.random.default_rng(0)
    params: list[dict[str, Any]] = [
        {"family": "dan", "a": rng.random(), "b": rng.random(), "c": str(rng.choice(["x", "y"]))} for _ in range(40)
    ]
    (found,) = find_importances([trial(n, one["a"] ** 2, params=one) for n, one in enumerate(params)])

    assert next(iter(found.shares)) == "a"
    assert found.shares["a"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1)


def test_importances_need_ten_trials_of_a_family() -> None:
    """Nine tell nothing; ten do. Families are taken apart."""
    nine = [trial(n, n / 10, params={"family": "dan", "a": n / 10}) for n in range(9)]
    others = [trial(n, n / 10, params={"family": "nbsvm", "c": n / 10}) for n in range(20, 30)]

    assert find_importances(nine) == []
    assert [one.scope for one in find_importances([*nine, *others])] == ["nbsvm"]


def test_the_threshold_curve_is_scikit_learns() -> None:
    """Precision, recall and F1 at every cut agree with another library's."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 80)
    proba = rng.random(80).round(2)
    cuts, precision, recall, f1 = threshold_curve(truth, proba)

    for place in (0, 41, 100, 163):
        decided = proba >= cuts[place]
        assert precision[place] == pytest.approx(precision_score(truth, decided))
        assert recall[place] == pytest.approx(recall_score(truth, decided))
        assert f1[place] == pytest.approx(f1_score(truth, decided))


def test_reliability_of_a_calibrated_forecast_is_the_diagonal() -> None:
    """By hand: ten rows for each probability k / 10, of which k are yes."""
    proba = np.repeat(np.arange(1, 11) / 10, 10)
    truth = (np.tile(np.arange(10), 10) < np.repeat(np.arange(1, 11), 10)).astype(np.int64)
    called, observed = reliability(truth, proba)

    assert called == pytest.approx(np.arange(1, 11) / 10)
    assert observed == pytest.approx(called)


def test_confusion_is_scikit_learns() -> None:
    """Rows are true classes, columns predicted ones, also for a class that never occurs."""
    labels, predicted = np.array([0, 0, 1, 3, 3]), np.array([0, 1, 1, 3, 0])

    assert (confusion(labels, predicted, 4) == confusion_matrix(labels, predicted, labels=range(4))).all()


def test_a_long_curve_keeps_its_ends_and_its_shape() -> None:
    """Thinning leaves a few hundred points, the ends among them, none far from the curve."""
    x = np.linspace(0, 1, 50_000)
    kept_x, kept_y = thinned(x, np.sqrt(x))

    assert len(kept_x) <= 400
    assert (kept_x[0], kept_x[-1]) == (0, 1)
    assert np.abs(np.diff(kept_y)).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_mistakes_have_the_highest_losses(kind: str) -> None:
    """Sorted by log loss, with the id and the text of their own row."""
    study = make_study(kind)
    record = make_trial(study, 1)
    texts = [f"text of {row_id}" for row_id in study.train_ids]
    mistakes = worst_mistakes(study, record, n_rows=10, texts=texts)
    losses = row_losses(study.labels, record.oof, study.task)

    assert [mistake["loss"] for mistake in mistakes] == [round(loss, 4) for loss in sorted(losses, reverse=True)[:10]]
    assert all(mistake["text"] == f"text of {mistake['id']}" for mistake in mistakes)


def test_a_figure_of_the_page_has_only_the_pages_colours() -> None:
    """No marker colour is left, none is fixed, and nothing repeats an id."""
    with drawing(PAGE):
        figure, (axes,) = new_figure(3, 2)
        axes.plot([0, 1], [0, 1], color=PAGE.series[1], label="one")
        axes.legend()
        svg = to_svg(figure, look=PAGE, name="figure", label="a line")

    assert "var(--s1)" in svg
    assert "var(--ink)" in svg
    assert "#0000" not in svg
    assert "#0001" not in svg
    assert 'aria-label="a line"' in svg


@pytest.mark.parametrize("kind", KINDS)
def test_artifacts_of_a_trial_are_files_that_open(kind: str, tmp_path: Path) -> None:
    """Figures are PNG; the table of mistakes reads back, line breaks in texts and all."""
    study = make_study(kind)
    texts = [f'first line\nsecond, "quoted" {number}' for number in range(len(study.train_ids))]
    write_trial_artifacts(tmp_path, study, make_trial(study, 1), texts=texts)
    with (tmp_path / "worst_mistakes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert {path.name for path in tmp_path.glob("*.png")} == {"out_of_fold.png", "learning_curves.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    assert rows[0]["text"] == texts[study.train_ids.index(rows[0]["id"])]


def test_artifacts_of_a_study_leave_out_what_has_nothing_to_show(tmp_path: Path) -> None:
    """A study of one trial has no importances; one without a complete trial has no figures at all."""
    study = make_study()
    write_study_artifacts(tmp_path / "one", study, [make_trial(study, 1)])
    write_study_artifacts(tmp_path / "none", study, [make_trial(study, 3)])

    assert {path.stem for path in (tmp_path / "one").glob("*.png")} == {"history", "pruning", "time"}
    assert not list((tmp_path / "none").glob("*.png"))


def test_the_note_lists_the_best_trials_in_order() -> None:
    """The parent run's description names the ten best trials, best first, with their scores."""
    study = make_study()
    trials = [make_trial(study, number) for number in range(24)]
    lines = [line for line in leaderboard_note(study, trials).splitlines() if line.startswith("| ")]
    listed = [int(line.split("|")[2]) for line in lines[1:]]

    assert listed == [one.trial.number for one in rank_trials(trials)[:10]]
    assert f"{rank_trials(trials)[0].score:.5f}" in lines[1]


def test_a_trials_note_says_how_it_ended() -> None:
    """A score with its folds, or the reason why there is none."""
    study = make_study()
    complete, pruned = make_trial(study, 1), make_trial(study, 3)

    assert f"{complete.score:.5f}" in trial_note(study, complete)
    assert pruned.reason in trial_note(study, pruned)
    assert "40% of its training" in trial_note(study, pruned)


def test_saved_views_show_searched_parameters_only() -> None:
    """A view's state unpacks to the columns of the space, those of most families first, fixed ones left out."""
    space = {
        "dan": {"lr_max": {"low": 0.1, "high": 1}, "n_epochs": {"choices": [4]}, "n_layers": {"low": 1, "high": 3}},
        "textcnn": {"lr_max": {"low": 0.1, "high": 1}, "oov": {"choices": ["zero", "mean"]}},
    }
    study = make_study()
    view = json.loads(saved_views(study)["mlflow.sharedViewState.trials"])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))

    assert shared_params({"space": space}) == ["lr_max", "n_layers", "oov"]
    assert state["orderByKey"] == "metrics.`oof_score`"
    assert "metrics.`fold_std`" in state["selectedColumns"]


class Page(HTMLParser):
    """What a browser would make of a page: its text, its addresses, and whether its tags are closed in order."""

    VOID = frozenset({"meta", "link", "br", "circle", "line", "rect", "path", "use"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.addresses, self.open, self.ids = "", list[str](), list[str](), list[str]()
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note addresses and ids, and open the tag."""
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")
        ]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that is open."""
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_is_one_file_that_needs_nothing(kind: str, tmp_path: Path) -> None:
    """Closed tags, no address outside the page, no script, no id twice, and small enough to mail."""
    write_study(f"sqlite:///{tmp_path}/study.db", kind)
    report = write_report(tmp_path / "report.html", output=tmp_path)
    page, raw = Page(report), report.read_text(encoding="utf-8")

    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert "<script" not in raw
    assert "@import" not in raw
    assert "url(http" not in raw
    assert sorted(set(page.ids)) == sorted(page.ids)
    assert report.stat().st_size < 5_000_000


def test_the_report_has_the_stores_numbers(tmp_path: Path) -> None:
    """Every complete trial's score, the counts of outcomes, digests and reasons stand on the page."""
    study = write_study(f"sqlite:///{tmp_path}/study.db")
    text = Page(write_report(tmp_path / "report.html", output=tmp_path)).text
    store = PredictionStore(f"sqlite:///{tmp_path}/study.db")
    trials = store.trials(study.name)
    store.close()

    assert all(f"{one.score:.5f}" in text for one in rank_trials(trials))
    assert "20 complete, 3 pruned, 1 failed" in text
    assert study.data_digest in text
    assert all(one.reason in text for one in trials if one.outcome != "complete")


def test_texts_of_users_cannot_break_the_page(tmp_path: Path) -> None:
    """Markup in names and reports is shown, not obeyed."""
    store = PredictionStore(f"sqlite:///{tmp_path}/study.db")
    store.create_tables()
    base = make_study(name="quora")
    nasty = "<img src=http://x onerror=alert(1)> & 'co'"
    made = {**vars(base), "train_ids": (nasty, *base.train_ids[1:]), "report": (nasty,)}
    store.write_study(type(base)(**made))
    good = make_trial(base, 1)
    oof = good.oof.copy()
    oof[0] = [1.0, 0.0] if base.labels[0] else [0.0, 1.0]  # the worst mistake of all
    store.write_trial(TrialRecord(**{**vars(good), "oof": oof, "digests": {}}))
    store.close()
    page = Page(write_report(tmp_path / "report.html", output=tmp_path))

    assert page.text.count(nasty) == 2
    assert not any("http" in address for address in page.addresses)


def test_a_study_without_results_has_a_report(tmp_path: Path) -> None:
    """Before any trial, and with pruned and failed ones only, the page says what there is."""
    study = write_study(f"sqlite:///{tmp_path}/study.db", n_trials=0)
    assert "No trial is complete yet" in Page(write_report(tmp_path / "empty.html", output=tmp_path)).text

    store = PredictionStore(f"sqlite:///{tmp_path}/study.db")
    for number in (3, 11):
        store.write_trial(make_trial(study, number))
    store.close()
    assert "1 pruned, 1 failed" in Page(write_report(tmp_path / "ended.html", output=tmp_path)).text


def test_the_report_shows_the_latest_blend_of_its_study(tmp_path: Path) -> None:
    """A blend made by ensemble appears with its scores and its command; one of another study does not."""
    from ensemble import blend_study

    write_study(f"sqlite:///{tmp_path}/study.db")
    first = blend_study(tmp_path, method="mean", submission=tmp_path / "a.csv", command="the first command")
    path = tmp_path / "a.provenance.json"
    path.write_text(path.read_text().replace('"created": "20', '"created": "19'))  # long ago
    last = blend_study(tmp_path, method="greedy", submission=tmp_path / "b.csv", command="the last command")
    text = Page(write_report(tmp_path / "report.html", output=tmp_path)).text

    assert first.submission != last.submission
    assert "the last command" in text
    assert "the first command" not in text
    assert f"{last.evaluation.blend.cross_fitted:.5f}" in text
    assert find_blend(tmp_path, "another study") is None


def test_a_wrong_request_writes_nothing(tmp_path: Path) -> None:
    """An unknown study, an empty folder, a torn blend file and an impossible target are refused in one line."""
    write_study(f"sqlite:///{tmp_path}/study.db", n_trials=2)
    (tmp_path / "torn.json").write_text("{")
    (tmp_path / "empty").mkdir()
    html = tmp_path / "report.html"

    with pytest.raises(DataError, match="did you mean quora"):
        write_report(html, output=tmp_path, study_name="quara")
    with pytest.raises(ConfigError, match=r"holds no study\.db"):
        write_report(html, output=tmp_path / "empty")
    with pytest.raises(DataError, match=r"torn\.json: cannot be read"):
        write_report(html, output=tmp_path, blend=tmp_path / "torn.json")
    with pytest.raises(ConfigError, match="a folder that exists"):
        write_report(tmp_path / "nowhere" / "report.html", output=tmp_path)
    assert not html.exists()


def test_one_of_several_studies_has_to_be_named(tmp_path: Path) -> None:
    """With two studies the name decides; without it the choice is shown."""
    write_study(f"sqlite:///{tmp_path}/study.db", n_trials=1)
    write_study(f"sqlite:///{tmp_path}/study.db", "multiclass", n_trials=2, name="spooky")

    with pytest.raises(ConfigError, match="holds 2 studies \\(quora, spooky\\); name one"):
        write_report(tmp_path / "report.html", output=tmp_path)
    assert "spooky" in Page(write_report(tmp_path / "report.html", output=tmp_path, study_name="spooky")).text


def test_drawing_leaves_the_readers_settings_alone() -> None:
    """A notebook's own Matplotlib style survives."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with drawing(PRINT):
        new_figure(2, 2)

    assert dict(mpl.rcParams) == before
