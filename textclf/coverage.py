"""How much of a study's text has pretrained vectors, under each cleaning recipe.

Coverage is not score: a recipe that turns every number into one word covers more and says less. Coverage shows what an
embedding file lacks; out-of-fold scores decide.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.arrays import IntArray
from textclf.csvfile import read_csv
from textclf.embeddings import WordVectors, find_words, load_vectors
from textclf.encode import N_SPECIAL, encode_tokens
from textclf.errors import TextclfError
from textclf.text import NO_CLEANING, STEPS, parse_cleaning

N_MISSING = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What one embedding source covers of all rows under one recipe; ``str()`` of it is for printing.

    word_share, token_share: of the different words, and of all tokens, those that have a vector.
    missing: the most frequent words without one, with their counts.
    """

    source: str
    cleaning: str
    n_words: int
    n_tokens: int
    word_share: float
    token_share: float
    missing: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        missing = ", ".join(f"{word} ({count:,})" for word, count in self.missing)
        return (
            f"coverage of {self.source} under {self.cleaning}: {self.word_share:.1%} of {self.n_words:,} words, "
            f"{self.token_share:.2%} of {self.n_tokens:,} tokens; most frequent without a vector: {missing or 'none'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordCounts:
    """Different words of some texts under a recipe, most frequent first; counts: (n_words,) int64."""

    cleaning: str
    words: tuple[str, ...]
    counts: IntArray


def count_words(texts: Sequence[str], *, cleaning: str) -> WordCounts:
    """Count every token of the texts."""
    (rows,), lexicon = encode_tokens([texts], cleaning=cleaning)
    counts = np.bincount(rows.tokens, minlength=len(lexicon) + N_SPECIAL)[N_SPECIAL:]
    return WordCounts(cleaning=cleaning, words=lexicon.words, counts=counts)


def measure_coverage(counted: WordCounts, source: WordVectors) -> Coverage:
    """Shares of the words and tokens that a source has a vector for, in their own or another case."""
    known = find_words(counted.words, source) >= 0
    n_tokens = int(counted.counts.sum())
    missing = np.flatnonzero(~known)[:N_MISSING].tolist()
    return Coverage(
        source=source.name,
        cleaning=counted.cleaning,
        n_words=len(known),
        n_tokens=n_tokens,
        word_share=float(known.mean()) if len(known) else 0.0,
        token_share=int(counted.counts[known].sum()) / n_tokens if n_tokens else 0.0,
        missing=tuple((counted.words[place], int(counted.counts[place])) for place in missing),
    )


def growing_recipes(cleaning: str) -> tuple[str, ...]:
    """The recipes on the way to one, step by step, to see what each step does to coverage.

    >>> growing_recipes("html+lower")
    ('none', 'html', 'html+lower')
    """
    steps = parse_cleaning(cleaning)
    return (NO_CLEANING, *("+".join(steps[: n_steps + 1]) for n_steps in range(len(steps))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what each cleaning step does to the coverage of an embedding file."""
    parser = argparse.ArgumentParser(
        prog="python -m textclf.coverage",
        description="Share of words and tokens that have a pretrained vector, cleaning step by cleaning step. "
        "Coverage is not score: out-of-fold scores decide.",
    )
    parser.add_argument("table", type=Path, nargs="+", help="CSV files with the text column")
    parser.add_argument("--text", required=True, help="name of the text column")
    parser.add_argument("--embeddings", type=Path, required=True, help="GloVe, word2vec or fastText file")
    parser.add_argument("--cleaning", default="+".join(STEPS), help="recipe whose steps are shown (default: all steps)")
    options = parser.parse_args(arguments)
    try:
        steps = growing_recipes(options.cleaning)
        texts = [text for path in options.table for text in read_csv(path).column(options.text)]
        counted = [count_words(texts, cleaning=step) for step in steps]
        source = load_vectors(options.embeddings, {word for step in counted for word in step.words})
    except TextclfError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    names = [NO_CLEANING, *(f"+ {name}" for name in parse_cleaning(options.cleaning))]
    print(f"{'cleaning':<16}{'words':>20}{'tokens':>22}   most frequent without a vector")
    for name, step in zip(names, counted, strict=True):
        found = measure_coverage(step, source)
        missing = " ".join(word for word, _ in found.missing)
        words = f"{found.word_share:.1%} of {found.n_words:,}"
        print(f"{name:<16}{words:>20}{f'{found.token_share:.2%} of {found.n_tokens:,}':>22}   {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
