"""Token ids say what stands in each row, and a fold tells apart only what it may."""

from collections import Counter

import numpy as np
import pytest

from textclf.arrays import IntArray
from textclf.encode import (
    N_SPECIAL,
    PADDING,
    UNKNOWN,
    Encoded,
    Lexicon,
    encode,
    encode_new,
    encode_tables,
    fold_vocabulary,
)
from textclf.errors import ConfigError
from textclf.features import META_FEATURES
from textclf.table import Table
from textclf.text import tokenize

RECIPE = "contractions+punctuation+lower"


def table_of(*texts: str) -> Table:
    """A table of texts alone."""
    return Table(
        row_ids=tuple(str(row) for row in range(len(texts))),
        texts=texts,
        numeric=np.arange(len(texts), dtype=np.float64)[:, None],
        categorical=np.array([[text[:1]] for text in texts], dtype=object).reshape(len(texts), 1),
    )


def words_of(rows: Encoded, lexicon: Lexicon) -> list[list[str]]:
    """Each row's tokens, spelled out."""
    spelled = ["<pad>", "<unk>", *lexicon.words]
    return [
        [spelled[token] for token in rows.tokens[start:end]]
        for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True)
    ]


TRAIN = table_of("The cat, the DOG.", "", "I don't SAY A", "the end")
TEST = table_of("cat unseen", "!!!")


@pytest.mark.parametrize("recipe", ["none", "lower", RECIPE])
def test_rows_read_back_are_the_tokens_of_their_texts(recipe: str) -> None:
    """One text at a time and all at once give the same; a row without tokens has one unknown token."""
    train, test, lexicon = encode(TRAIN, TEST, cleaning=recipe, max_tokens=100)

    for rows, table in ((train, TRAIN), (test, TEST)):
        assert words_of(rows, lexicon) == [tokenize(text, recipe) or ["<unk>"] for text in table.texts]


def test_arrays_have_the_promised_types_and_no_padding() -> None:
    """Shapes agree with each other."""
    train, _, _ = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=100)

    assert [str(array.dtype) for array in (train.tokens, train.starts, train.caps)] == ["int32", "int64", "uint8"]
    assert train.tokens.min() > PADDING
    assert len(train.tokens) == len(train.caps) == train.starts[-1] == train.lengths.sum()
    assert train.lengths.min() == 1
    assert train.meta.shape == (4, len(META_FEATURES))
    assert len(train) == 4


def test_words_are_in_order_of_their_count_in_all_rows() -> None:
    """Ties are alphabetical."""
    _, _, lexicon = encode(TRAIN, TEST, cleaning="lower", max_tokens=100)
    counts = Counter(token for text in (*TRAIN.texts, *TEST.texts) for token in text.lower().split())

    assert list(lexicon.words) == sorted(counts, key=lambda word: (-counts[word], word))
    assert len(lexicon) == len(counts)


def test_capitals_are_seen_before_lower_casing() -> None:
    """A token of one letter is not shouted; other cleaning comes first."""
    train, _, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=100)

    shouted = [
        word
        for row, flags in zip(words_of(train, lexicon), np.split(train.caps, train.starts[1:-1]), strict=True)
        for word, flag in zip(row, flags, strict=True)
        if flag
    ]

    assert shouted == ["dog", "say"]


def test_long_rows_keep_their_first_tokens() -> None:
    """The limit counts tokens, not words of the raw text."""
    train, _, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=3)

    assert words_of(train, lexicon)[0] == ["the", "cat", ","]
    assert words_of(train, lexicon)[2] == ["i", "do", "not"]
    with pytest.raises(ConfigError, match="max_tokens: 0 is below 1"):
        encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=0)


@pytest.mark.parametrize(
    "selected", [np.array([3, 0, 0]), np.array([True, False, True, False]), np.zeros(4, dtype=bool)]
)
def test_chosen_rows_are_those_rows(selected: IntArray) -> None:
    """An index may reorder and repeat; all arrays follow."""
    train, _, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=100)
    chosen = np.arange(4)[selected]

    rows = train.rows(selected)

    assert words_of(rows, lexicon) == [words_of(train, lexicon)[row] for row in chosen]
    assert rows.numeric.ravel().tolist() == chosen.tolist()
    assert rows.categorical.ravel().tolist() == [TRAIN.texts[row][:1] for row in chosen]
    np.testing.assert_array_equal(rows.meta, train.meta[chosen])
    assert rows.caps.sum() == sum(train.rows(np.array([row])).caps.sum() for row in chosen)


def test_a_table_without_rows_encodes_to_none() -> None:
    """A hold-out may be empty."""
    (rows, _), _ = encode_tables([table_of(), TEST], cleaning=RECIPE, max_tokens=9)

    assert (len(rows), rows.meta.shape) == (0, (0, len(META_FEATURES)))


def test_new_rows_are_encoded_as_the_studys_rows_were() -> None:
    """Rows that were there get the same ids and flags; words that were not are unknown."""
    train, _, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=4)

    again = encode_new(TRAIN, lexicon, cleaning=RECIPE, max_tokens=4)
    other = encode_new(table_of("the zebra"), lexicon, cleaning=RECIPE, max_tokens=4)

    for name in ("tokens", "starts", "caps", "meta"):
        np.testing.assert_array_equal(getattr(again, name), getattr(train, name))
    assert words_of(other, lexicon) == [["the", "<unk>"]]


def test_a_fold_tells_apart_what_it_saw_often_enough_or_has_a_vector_for() -> None:
    """Counted by hand: 'the' three times, 'cat' once, 'unseen' never."""
    train, test, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=100)
    known = np.zeros(len(lexicon) + N_SPECIAL, dtype=bool)
    known[lexicon.words.index("dog") + N_SPECIAL] = True

    lookup = fold_vocabulary(train, len(lexicon), known=known, min_count=3)
    learned = {word for place, word in enumerate(lexicon.words) if lookup[place + N_SPECIAL] != UNKNOWN}

    assert lookup.dtype == np.int32
    assert learned == {"the", "dog"}
    assert lookup[[PADDING, UNKNOWN]].tolist() == [PADDING, UNKNOWN]
    assert lookup[train.tokens].max() < len(lexicon) + N_SPECIAL
    seen = fold_vocabulary(train, len(lexicon), known=np.zeros_like(known), min_count=1)
    assert (seen[test.rows(np.array([0])).tokens] == UNKNOWN).tolist() == [False, True]  # cat, unseen


def test_held_out_rows_do_not_widen_a_folds_vocabulary() -> None:
    """Whatever a held-out row says, the fold's vocabulary stays."""
    quiet, _, quiet_words = encode(table_of("a b", "a b"), table_of("x"), cleaning="none", max_tokens=9)
    loud, _, loud_words = encode(table_of("a b", "z z z z a"), table_of("x"), cleaning="none", max_tokens=9)

    def vocabulary(rows: Encoded, lexicon: Lexicon) -> set[str]:
        known = np.zeros(len(lexicon) + N_SPECIAL, dtype=bool)
        lookup = fold_vocabulary(rows.rows(np.array([0])), len(lexicon), known=known, min_count=1)
        return {word for place, word in enumerate(lexicon.words) if lookup[place + N_SPECIAL] != UNKNOWN}

    assert vocabulary(quiet, quiet_words) == vocabulary(loud, loud_words) == {"a", "b"}


def test_a_minimal_count_below_one_is_refused() -> None:
    """It would let unseen words through."""
    train, _, lexicon = encode(TRAIN, TEST, cleaning=RECIPE, max_tokens=9)
    with pytest.raises(ConfigError, match="min_count: 0 is below 1"):
        fold_vocabulary(train, len(lexicon), known=np.zeros(len(lexicon) + N_SPECIAL, dtype=bool), min_count=0)
