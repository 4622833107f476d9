"""A real study, run and blended by the commands, as a person sees it: MLflow's pages and the report, in Chromium."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from search.ranking import Standing, rank_trials
from search.report import write_report
from search.ui import find_runs, find_studies, find_tracking, serve
from search.views import BLENDS, TRIALS, run_link, view_link
from tests.browser import WHY_SKIPPED, Tab, find_chromium, open_browser, open_tab
from tests.competition import write_competition
from textclf.place import open_study_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = find_chromium()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.skipif(CHROMIUM is None, reason=WHY_SKIPPED)]
SHOWN = ("oof_score", "behind", "behind_error", "fold_std", "seconds")
FAMILIES = ("tfidf_logreg", "nbsvm", "dan")


def run(*arguments: str, folder: Path) -> None:
    """Run one of our commands in a folder, as its user would."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three quick trials and its blend, through the command line."""
    folder = tmp_path_factory.mktemp("study")
    write_competition(folder)
    data = [
        "--train",
        "train.csv",
        "--test",
        "test.csv",
        "--text",
        "question_text",
        "--target",
        "target",
        "--id",
        "qid",
    ]
    families = [word for family in FAMILIES for word in ("--family", family)]
    size = [
        "--metric",
        "f1",
        "--n-trials",
        "3",
        "--n-folds",
        "3",
        "--n-epochs",
        "2",
        "--threads",
        "1",
        "--study-name",
        "quora",
    ]
    run("search.run", *data, *families, *size, "--output", "runs", "--quiet", folder=folder)
    run("ensemble.export", "--output", "runs", "--sample-submission", "sample_submission.csv", folder=folder)
    return folder / "runs"


@pytest.fixture(scope="module")
def standings(folder: Path) -> list[Standing]:
    """The trials by score, from the prediction store."""
    with open_study_store(folder, storage=None) as store:
        return rank_trials(store.trials("quora"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """MLflow's server on the study."""
    with serve(find_tracking(folder)) as server:
        yield server.address


@pytest.fixture(scope="module")
def experiment(server: str) -> str:
    """MLflow's id of the study."""
    return find_studies(server)["quora"]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium."""
    assert CHROMIUM is not None
    with open_browser(CHROMIUM) as browser:
        yield browser


def assert_clean(tab: Tab, server: str) -> None:
    """No error was reported, and nothing was asked of another machine."""
    assert tab.errors == []
    assert {urlsplit(address).netloc for address in tab.addresses if address.startswith("http")} == {
        urlsplit(server).netloc
    }


def test_the_run_table_answers_at_a_glance(
    browser: "Browser", server: str, experiment: str, standings: list[Standing]
) -> None:
    """The link shows every trial, the leader first, with score, distance, spread, cost and family in their columns."""
    tab = open_tab(browser, width=2600)  # columns out of sight are not drawn
    tab.visit(view_link(server, experiment, TRIALS), see=f"text='trial {standings[-1].trial.number}'")
    tab.page.locator("text=oof_score").first.wait_for()
    names = [text for text in tab.page.locator("a").all_inner_texts() if re.fullmatch(r"trial \d+", text)]
    body = tab.page.inner_text("body")

    assert names == [f"trial {one.trial.number}" for one in standings]
    for column in (*SHOWN, "family"):
        assert column in body
    for one in standings:
        assert str(one.score)[:8] in body
    assert str(round(standings[1].gap, 6))[:8] in body
    places = [left_of(tab, f"metrics.`{name}`") for name in SHOWN]
    assert [*places, left_of(tab, "params.`family`")] == sorted([*places, left_of(tab, "params.`family`")])
    assert "train.csv" in body  # the data set column
    assert_clean(tab, server)


def test_a_trial_shows_what_it_is_and_how_it_did(
    browser: "Browser", server: str, experiment: str, standings: list[Standing]
) -> None:
    """The trial's page has its description, parameters and metrics; its figures open."""
    best = standings[0]
    run_id = find_trial(server, experiment, best.trial.number)
    tab = open_tab(browser, height=2000)
    tab.visit(run_link(server, experiment, run_id), see="text=oof_score")
    body = tab.page.inner_text("body")
    assert f"trial {best.trial.number}" in body
    assert f"{best.score:.5f}" in body
    assert best.family in body

    artifacts = run_link(server, experiment, run_id).replace("?", "/artifacts/out_of_fold.png?")
    tab.visit(artifacts, see="img[src^='blob:'], img[alt*='out_of_fold']")
    assert "worst_mistakes.csv" in tab.page.inner_text("body")
    assert_clean(tab, server)


def test_the_study_run_carries_the_leaderboard(
    browser: "Browser", server: str, experiment: str, standings: list[Standing]
) -> None:
    """The parent's description lists the trials with their scores."""
    (parent,) = find_runs(server, experiment, stage="study")
    tab = open_tab(browser, height=2000)
    tab.visit(run_link(server, experiment, parent), see="text=higher is better")
    body = tab.page.locator("body").text_content() or ""

    assert all(f"{one.score:.5f}" in body for one in standings)
    assert_clean(tab, server)


def test_trials_compare_side_by_side(browser: "Browser", server: str, experiment: str) -> None:
    """MLflow's comparison draws parallel coordinates of our parameters and lists our metrics."""
    runs = quote(str(find_runs(server, experiment, stage="trial")).replace("'", '"'))
    encoded = quote(f'["{experiment}"]')
    tab = open_tab(browser)
    tab.visit(f"{server}/#/compare-runs?runs={runs}&experiments={encoded}", see=".js-plotly-plot .main-svg")
    body = tab.page.inner_text("body")

    assert "Comparing 3 Runs" in body
    assert "fold_mean" in body
    assert_clean(tab, server)


def test_the_blend_has_its_run(browser: "Browser", server: str, experiment: str) -> None:
    """The blends' view lists it with its honest score, and its page has scores, weights and the submission."""
    tab = open_tab(browser, width=1700, height=2000)
    tab.visit(view_link(server, experiment, BLENDS), see="text='blend greedy'")
    tab.page.locator("text=cross_fitted").first.wait_for()
    assert_clean(tab, server)

    (blend,) = find_runs(server, experiment, stage="blend")
    tab.visit(run_link(server, experiment, blend), see="text=cross-fitted")
    tab.visit(run_link(server, experiment, blend).replace("?", "/artifacts?"), see="text=submission.csv")
    body = tab.page.inner_text("body")
    assert all(name in body for name in ("diversity.png", "members.csv", "submission.provenance.json"))
    assert_clean(tab, server)


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_report_reads_well_everywhere(
    browser: "Browser", folder: Path, tmp_path: Path, scheme: str, *, is_dark: bool
) -> None:
    """Light or dark as the reader's system is, no wider than a phone, no request and no error; the blend is in it."""
    report = write_report(tmp_path / "report.html", output=folder)
    tab = open_tab(browser, width=390, height=844, color_scheme=scheme)
    tab.visit(report.as_uri(), see="h1")
    colours = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    widths = tab.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")

    assert (sum(map(int, re.findall(r"\d+", colours)[:3])) < 3 * 128) == is_dark
    assert widths[0] <= widths[1]
    assert tab.page.locator("svg[role=img]").count() > 8
    assert tab.page.locator("#blend").count() == 1
    assert tab.errors == []
    assert tab.addresses == [report.as_uri()]


def test_a_blackened_page_would_be_seen(browser: "Browser", tmp_path: Path) -> None:
    """The guard above bites: a page with an error, a request and a wide table fails each of its checks."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<h1>bad</h1><div style='width:900px'>wide</div><img src='missing.png'><script>console.error('broken')</script>"
    )
    tab = open_tab(browser, width=390)
    tab.visit(page.as_uri(), see="h1")

    assert any("broken" in error for error in tab.errors)
    assert len(tab.addresses) == 2
    assert tab.page.evaluate("document.documentElement.scrollWidth") > 390


def left_of(tab: Tab, column: str) -> float:
    """Where a column of the run table begins, in pixels."""
    box = tab.page.locator(f'.ag-header-cell[col-id="{column}"]').first.bounding_box()
    assert box is not None
    return box["x"]


def find_trial(server: str, experiment: str, number: int) -> str:
    """MLflow's id of a trial's run."""
    from search.ui import ask

    query = {"experiment_ids": [experiment], "filter": f"tags.`optuna.trial_number` = '{number}'"}
    (found,) = ask(f"{server}/api/2.0/mlflow/runs/search", query)["runs"]
    return str(found["info"]["run_id"])
