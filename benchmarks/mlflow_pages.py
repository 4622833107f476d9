"""How MLflow's pages bear 1,000 recorded trials, and what recording one costs.

    python -m benchmarks.mlflow_pages [--n-trials 1000] [--repeats 5]

Writes that many trials of five folds and four epochs through the prediction store and search/tracking.py on SQLite,
starts MLflow's server as ``python -m search.ui`` does, and times its pages in headless Chromium from the request to the
moment the named content shows. Writes benchmarks/results/mlflow_pages.md. About fifteen minutes on two cores.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from benchmarks.tables import RESULTS, describe_machine
from search.tracking import Tracking
from search.ui import end_like_ctrl_c, find_runs, find_studies, serve
from search.views import TRIALS, run_link, view_link
from tests.browser import WHY_SKIPPED, find_chromium, open_browser, open_tab
from tests.search.studies import make_study, make_trial
from textclf.store import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

N_PATTERNS = 60  # trials that are drawn; the others are copies under new numbers, with other scores
N_COMPARED = 10
PREFACE = """\
# MLflow's pages with {n_trials:,} trials

Written by `python -m benchmarks.mlflow_pages` on {machine}. SQLite, one server worker, as `python -m search.ui` starts
it. Every trial has 5 folds of 4 epochs, {n_metrics} metric values and {n_params} parameters.

## Recording a trial

Milliseconds, median of a hundred trials.

| trials recorded before | prediction store | MLflow | together |
|--:|--:|--:|--:|
"""
PAGES_HEADING = """
Closing the study (leaderboard note, all figures of the study and of its five best trials): {closing:.1f} s, once.

## Opening a page

Seconds from the request to the named content, in a fresh browser profile: median and largest of {repeats}.

| page | content waited for | median | largest |
|:--|:--|--:|--:|
"""


def main() -> None:
    """Record, open, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    end_like_ctrl_c()
    executable = find_chromium()
    if executable is None:
        parser.error(WHY_SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        rows, closing = record_trials(Path(folder), options.n_trials)
        with serve(f"sqlite:///{folder}/mlflow.db") as server, open_browser(executable) as browser:
            pages = time_pages(browser, server.address, repeats=options.repeats)
    trial = make_trial(make_study(), 1)
    preface = PREFACE.format(
        n_trials=options.n_trials,
        machine=describe_machine("mlflow").removesuffix("."),
        n_metrics=len(trial.curves) * 3 + 5 + 4 + 12 + 2,
        n_params=len(trial.params),
    )
    heading = PAGES_HEADING.format(closing=closing, repeats=options.repeats)
    text = "\n".join([preface + "\n".join(rows), heading + "\n".join(pages), ""])
    (RESULTS / "mlflow_pages.md").write_text(text, encoding="utf-8")
    print(text)


def record_trials(folder: Path, n_trials: int) -> tuple[list[str], float]:
    """Write the trials; returns lines of a table and the seconds that the end of the study took."""
    rng = np.random.default_rng(0)
    study = make_study(n_rows=2000)
    patterns = [make_trial(study, number) for number in range(N_PATTERNS)]
    stored, recorded = [], []
    with open_store(f"sqlite:///{folder}/study.db") as store:
        store.write_study(study)
        tracking = Tracking(f"sqlite:///{folder}/mlflow.db", store, study, artifacts=folder / "artifacts", warn=print)
        tracking.begin({"train": "train.csv"})
        for number in range(n_trials):
            pattern = patterns[number % N_PATTERNS]
            score = None if pattern.score is None else pattern.score - 0.05 * float(rng.random())
            trial = dataclasses.replace(pattern, number=number, score=score)
            began = time.perf_counter()
            store.write_trial(trial)
            stored.append(time.perf_counter() - began)
            began = time.perf_counter()
            tracking.record(trial)
            recorded.append(time.perf_counter() - began)
        began = time.perf_counter()
        tracking.end("FINISHED")
        closing = time.perf_counter() - began
    marks = [mark for mark in (0, 100, n_trials // 2, n_trials - 100) if 0 <= mark <= n_trials - 100]
    return [recording_row(mark, stored, recorded) for mark in sorted(set(marks))], closing


def recording_row(start: int, stored: Sequence[float], recorded: Sequence[float]) -> str:
    """One line of the first table."""
    window = slice(start, start + 100)
    times = [1000 * statistics.median(seconds[window]) for seconds in (stored, recorded)]
    return f"| {start:,} | {times[0]:.0f} | {times[1]:.0f} | {sum(times):.0f} |"


def time_pages(browser: "Browser", address: str, *, repeats: int) -> list[str]:
    """Open each page several times; returns lines of a table."""
    ((_, experiment_id),) = find_studies(address).items()
    trials = find_runs(address, experiment_id, stage="trial")
    (parent,) = find_runs(address, experiment_id, stage="study")
    table = view_link(address, experiment_id, TRIALS)
    compared = quote("[" + ",".join(f'"{run_id}"' for run_id in trials[:N_COMPARED]) + "]")
    encoded = f'["{experiment_id}"]'
    comparison = f"{address}/#/compare-runs?runs={compared}&experiments={quote(encoded)}"
    pages = {
        "trials, best first": (table, "the first row's link", "a:has-text('trial')"),
        "the same with charts": (f"{table}&compareRunsMode=CHART", "the first chart", ".js-plotly-plot .main-svg"),
        "a trial": (run_link(address, experiment_id, trials[0]), "its parameters", "text=cleaning"),
        "the study": (run_link(address, experiment_id, parent), "its leaderboard", "text=higher is better"),
        f"{N_COMPARED} trials compared": (comparison, "the parallel coordinates", ".js-plotly-plot .main-svg"),
    }
    return [page_row(browser, name, *page, repeats=repeats) for name, page in pages.items()]


def page_row(browser: "Browser", name: str, address: str, content: str, selector: str, *, repeats: int) -> str:
    """One line of the second table."""
    times = []
    for _ in range(repeats):
        tab = open_tab(browser)
        began = time.perf_counter()
        tab.visit(address, see=selector)
        times.append(time.perf_counter() - began)
        tab.page.context.close()
    return f"| {name} | {content} | {statistics.median(times):.1f} | {max(times):.1f} |"


if __name__ == "__main__":
    main()
