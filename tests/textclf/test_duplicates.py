"""Repeated texts are found, exact ones after normalisation and near ones as brute force finds them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from textclf.arrays import IntArray
from textclf.csvfile import read_csv
from textclf.duplicates import duplicate_groups, normalize, report_duplicates
from textclf.errors import ConfigError


def partition(groups: IntArray) -> set[frozenset[int]]:
    """Groups of more than one row."""
    members = {group: frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups).tolist()}
    return {rows for rows in members.values() if len(rows) > 1}


def test_exact_duplicates_differ_in_case_spaces_and_punctuation_only() -> None:
    """Texts without words are compared as they are."""
    texts = ["Thank you!", "thank  YOU", "thanks you", "!!!", "???", "!!!", "thank you @ "]

    groups = duplicate_groups(texts, rule="exact")

    assert groups.tolist() == [0, 0, 1, 2, 3, 2, 0]
    assert groups.dtype == np.int64
    assert duplicate_groups(texts, rule="ignore").tolist() == list(range(7))


def make_texts(n_originals: int, *, seed: int) -> list[str]:
    """Texts of 12 to 40 words, each followed by copies in which no, one or several words are replaced."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(n_originals):
        words = [f"w{number}" for number in rng.integers(0, 2000, rng.integers(12, 41))]
        texts.append(" ".join(words))
        for n_changes in (0, 1, 1, 3, 8):
            copy = list(words)
            for place in rng.integers(0, len(copy), n_changes):
                copy[place] = f"v{rng.integers(0, 2000)}"
            texts.append(" ".join(copy))
    return [texts[row] for row in rng.permutation(len(texts))]


def by_brute_force(texts: list[str]) -> set[frozenset[int]]:
    """Compare the word pairs of all texts; join what shares 80 %, then what shares a member."""
    pairs = [set(zip(text.split(), text.split()[1:], strict=False)) for text in texts]
    groups = [{row} for row in range(len(texts))]
    for one, other in combinations(range(len(texts)), 2):
        if len(pairs[one] & pairs[other]) / len(pairs[one] | pairs[other]) >= 0.8:
            joined = next(group for group in groups if one in group) | next(group for group in groups if other in group)
            groups = [group for group in groups if not group & joined] + [joined]
    return {frozenset(group) for group in groups if len(group) > 1}


def test_near_duplicates_are_those_of_brute_force() -> None:
    """Signatures only save comparisons: on 240 texts no pair is missed or invented."""
    texts = make_texts(40, seed=3)
    expected = by_brute_force(texts)

    assert partition(duplicate_groups(texts, rule="near")) == expected
    assert len(partition(duplicate_groups(texts, rule="exact"))) < len(expected) + 1
    assert {len(group) for group in expected} != {2}  # the case has pairs, chains and rows left alone
    assert sum(map(len, expected)) < len(texts)


def test_near_duplicates_join_exact_ones_and_are_numbered_by_their_first_row() -> None:
    """Groups do not depend on anything but the texts."""
    long = "one two three four five six seven eight nine ten eleven twelve"
    texts = ["other words here", f"{long} !", long.upper(), f"{long} thirteen", "x"]

    assert duplicate_groups(texts, rule="near").tolist() == [0, 1, 1, 1, 2]
    assert duplicate_groups([], rule="near").tolist() == []
    assert duplicate_groups(["a"], rule="near").tolist() == [0]


def test_hundreds_of_copies_of_a_template_are_one_group() -> None:
    """More than are compared with one another."""
    body = " ".join(f"word{number}" for number in range(30))

    assert set(duplicate_groups([f"{body} {number}" for number in range(300)], rule="near")) == {0}


def test_an_unknown_rule_is_refused() -> None:
    """The rules stand in the message."""
    with pytest.raises(ConfigError, match="'fuzzy' is not one of ignore, exact, near"):
        duplicate_groups(["a"], rule="fuzzy")  # type: ignore[arg-type]


def test_the_report_counts_by_hand() -> None:
    """Rows 0, 1, 4 repeat each other with differing labels, rows 2, 3 agree; one test row repeats a training row."""
    groups = np.array([0, 0, 1, 1, 0, 2, 1, 9])
    report = report_duplicates(
        groups,
        np.array([0, 1, 1, 1, 0, 0]),
        rule="exact",
        fold_of_row=np.array([[0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]]),
    )

    assert (report.n_train, report.n_test) == (6, 2)
    assert report.n_repeats == 3
    assert (report.n_conflicting_groups, report.n_conflicting_rows) == (1, 3)
    assert report.n_test_rows == 1
    assert report.n_across_folds == (3 + 0) / 2
    assert "3 of 6 training rows repeat an earlier text" in str(report)


def test_multilabel_rows_conflict_in_any_label() -> None:
    """Equal rows of labels do not."""
    labels = np.array([[0, 1], [0, 0], [1, 1], [1, 1]])

    report = report_duplicates(
        np.array([0, 0, 1, 1]), labels, rule="exact", fold_of_row=np.zeros((1, 4), dtype=np.int64)
    )

    assert (report.n_conflicting_groups, report.n_conflicting_rows, report.n_across_folds) == (1, 2, 0)


def test_real_duplicates_are_those_of_a_dictionary(shared_data: Path) -> None:
    """On messages full of copies, near ones only add to exact ones."""
    texts = read_csv(shared_data / "sms_spam" / "sms_spam.csv").column("text")
    exact, near = duplicate_groups(texts, rule="exact"), duplicate_groups(texts, rule="near")

    assert len(texts) - len(set(texts)) == 403
    assert len(np.unique(exact)) == len({normalize(text) for text in texts}) <= len(set(texts))
    assert len(np.unique(near)) < len(np.unique(exact))
    assert all(len(np.unique(near[exact == group])) == 1 for group in np.unique(exact)[np.bincount(exact) > 1])
