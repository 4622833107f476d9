"""Several embedding files: their weights from the command line, and how they are combined as part of the search."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from search.combines import offer_combines
from search.launch import check_study
from search.options import make_options
from search.prepare import PreparedStudy
from search.space import Space, known_good, make_space
from tests.builders import MARKERS, make_labels, make_table
from textclf.embeddings import WordVectors, make_vectors
from textclf.errors import ConfigError

FAMILIES = ("dan", "textcnn", "nbsvm")


def vectors(*sizes: int, weights: tuple[float, ...] = ()) -> list[WordVectors]:
    """Sources of these dimensions."""
    return [
        make_vectors(f"source{place}", (), np.zeros((0, size), dtype=np.float32), weight=weight)
        for place, (size, weight) in enumerate(zip(sizes, weights or [1.0] * len(sizes), strict=True))
    ]


def space(changes: dict[str, Any] | None = None) -> Space:
    """Two networks and a linear model."""
    return make_space(FAMILIES, changes or {}, source="test")


@pytest.mark.parametrize(
    ("sources", "choices"),
    [
        (vectors(), ()),
        (vectors(4), ()),
        (vectors(4, 4), ("concat", "mean")),
        (vectors(4, 4, weights=(2.0, 2.0)), ("concat", "mean")),
        (vectors(4, 4, weights=(2.0, 1.0)), ("concat", "mean", "weighted")),
        (vectors(4, 3), ()),
    ],
)
def test_a_study_chooses_where_there_is_a_choice(sources: list[WordVectors], choices: tuple[str, ...]) -> None:
    """Only several files of one dimension can be combined in several ways; weights that are equal are a plain mean."""
    assert offer_combines(space(), sources).values_of("combine") == choices


def test_networks_alone_choose() -> None:
    """Linear models read no vectors; every network draws each choice, and starts with concatenation."""
    offered = offer_combines(space(), vectors(4, 4, weights=(2.0, 1.0)))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    draws = [offered.suggest(study.ask()) for _ in range(80)]

    for family in ("dan", "textcnn"):
        assert {one["combine"] for one in draws if one["family"] == family} == {"concat", "mean", "weighted"}
    assert not any("combine" in one for one in draws if one["family"] == "nbsvm")
    assert [one.get("combine") for one in known_good(offered, n_rows=1000)] == ["concat", "concat", None]


def test_a_range_that_the_user_named_stands() -> None:
    """A fixed value stays fixed, for the family that it was named for."""
    offered = offer_combines(space({"dan": {"combine": "mean"}}), vectors(4, 4))

    assert [str(offered.ranges[family].get("combine")) for family in FAMILIES] == ["mean", "concat, mean", "None"]


def test_a_mean_of_unequal_dimensions_is_refused() -> None:
    """Before any trial fails of it, with the dimensions."""
    with pytest.raises(ConfigError, match=r"weighted needs vectors of one dimension \(source0: 4, source1: 3\)"):
        offer_combines(space({"common": {"combine": {"choices": ["concat", "weighted"]}}}), vectors(4, 3))


def prepared(folder: Path, *, enqueued: list[dict[str, Any]] | None = None, **more: object) -> PreparedStudy:
    """A checked study with two embedding files."""
    rng, labels = np.random.default_rng(0), make_labels("binary", 60, seed=1)
    rows = [f"{text},{label}" for text, label in zip(make_table(labels, seed=2).texts, labels, strict=True)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (folder / "test.csv").write_text("text\nc0x1 w2\nc1x1 w3\n", encoding="utf-8")
    for name in ("one", "two"):
        lines = [" ".join([word, *(f"{x:.3f}" for x in rng.normal(size=4))]) for word in (*MARKERS[0], *MARKERS[1])]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = {
        "train": folder / "train.csv",
        "test": folder / "test.csv",
        "target": "label",
        "embeddings": (folder / "one.txt", folder / "two.txt"),
        "family": FAMILIES,
        "output": folder / "runs",
        "threads": 1,
        **more,
    }
    return check_study(make_options(("test", told)), {}, enqueued=enqueued)[0]


def test_weights_reach_the_study(tmp_path: Path) -> None:
    """They are part of the data that every trial reads, in the order of the files, and so of its digest."""
    weighted, plain = prepared(tmp_path, embedding_weights=(3, 1.0)), prepared(tmp_path)

    assert [(source.name, source.weight) for source in weighted.inputs.vectors] == [("one.txt", 3.0), ("two.txt", 1.0)]
    assert weighted.inputs.data_digest != plain.inputs.data_digest
    assert weighted.space.values_of("combine") == ("concat", "mean", "weighted")
    assert weighted.record.settings["space"]["dan"]["combine"] == {"choices": ["concat", "mean", "weighted"]}


def test_a_first_trial_is_checked_against_the_choice(tmp_path: Path) -> None:
    """A weighted mean without weights is no choice of the study."""
    with pytest.raises(ConfigError, match="combine = 'weighted' is outside the study's range"):
        prepared(tmp_path, enqueued=[{"family": "dan", "combine": "weighted"}])


@pytest.mark.parametrize(
    ("weights", "named"),
    [((1.0,), "1 for 2 --embeddings"), ((1.0, 0.0), "0.0 is not"), ((1.0, float("nan")), "nan is not")],
)
def test_wrong_weights_are_refused(weights: tuple[float, ...], named: str) -> None:
    """One number above zero for each file; said before a file is opened."""
    with pytest.raises(ConfigError, match=f"--embedding-weights: {named}"):
        make_options(("test", {"embeddings": ("a.txt", "b.txt"), "embedding_weights": weights}))
