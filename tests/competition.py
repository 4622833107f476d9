"""The files of a small competition, made up: questions of which some are rude, as CSV files on disk."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

FILLER = ["the", "a", "of", "in", "how", "why", "people", "think", "is", "are", "can", "what", "where", "my", "some"]
RUDE = ["stupid", "awful", "idiots", "terrible", "disgusting", "liars"]
KIND = ["learn", "help", "travel", "music", "books", "science"]
N_TRAIN, N_TEST = 300, 60


def write_competition(folder: Path) -> None:
    """Write train.csv, test.csv, sample_submission.csv and a small embedding file, glove.txt."""
    chance = random.Random(3)
    train = [(f"q{number}", *_question(chance)) for number in range(N_TRAIN)]
    test = [(f"t{number}", _question(chance)[0]) for number in range(N_TEST)]
    _write(folder / "train.csv", ("qid", "question_text", "target"), train)
    _write(folder / "test.csv", ("qid", "question_text"), test)
    _write(folder / "sample_submission.csv", ("qid", "prediction"), [(row[0], 0) for row in test])
    words = [*FILLER, *RUDE, *KIND]
    vectors = [f"{word} {' '.join(f'{chance.gauss(0, 1):.4f}' for _ in range(8))}" for word in words]
    (folder / "glove.txt").write_text("\n".join(vectors) + "\n", encoding="utf-8")


def _question(chance: random.Random) -> tuple[str, int]:
    label = int(chance.random() < 0.25)
    telling = RUDE if label and chance.random() < 0.85 else KIND
    words = chance.choices(FILLER, k=chance.randint(4, 12)) + chance.choices(telling, k=2)
    chance.shuffle(words)
    return " ".join(words), label


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
