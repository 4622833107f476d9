"""Pools of quick linear and naive Bayes members on real data sets, for the benchmarks of the ensembler.

Words and characters are hashed once, which learns nothing; inverse document frequencies, class ratios and coefficients
are learned inside each fold. A pool is predicted out of fold on its rows and by every fold's model on held-out rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB

from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.csvfile import read_csv
from textclf.folds import plan_folds

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
N_FEATURES = 2**17
N_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Texts with their labels; views: how each member may see them, (n_rows, n_features) sparse counts by name."""

    name: str
    metrics: tuple[str, ...]
    task: Task
    labels: IntArray
    views: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LinearPool:
    """Predictions of all members.

    oof: (n_members, n_rows, n_classes); held_out: (n_folds, n_members, n_held_out, n_classes), by each fold's models
    """

    oof: FloatArray
    held_out: FloatArray
    labels: IntArray
    held_out_labels: IntArray
    fold_of_row: IntArray


TOXIC = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
FILES: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...], int]] = {
    # file, text column, target columns, metrics, most rows read
    "sst2": ("sst2/train.csv", "text", ("label",), ("accuracy", "roc_auc"), 6_920),
    "trec": ("trec/train.csv", "text", ("label",), ("macro_f1", "log_loss"), 5_452),
    "sms_spam": ("sms_spam/sms_spam.csv", "text", ("label",), ("f1", "roc_auc"), 5_574),
    "airline": ("airline/train.csv", "text", ("airline_sentiment",), ("macro_f1", "accuracy"), 8_000),
    "spooky": ("spooky/train.csv", "text", ("author",), ("log_loss", "accuracy"), 8_000),
    "quora": ("quora/train.csv", "question_text", ("target",), ("f1", "roc_auc"), 12_000),
    "jigsaw": ("jigsaw/train.csv", "comment_text", TOXIC, ("roc_auc",), 8_000),
}

VIEWS: dict[str, HashingVectorizer] = {
    "words": HashingVectorizer(n_features=N_FEATURES, alternate_sign=False, norm=None),
    "pairs": HashingVectorizer(n_features=N_FEATURES, alternate_sign=False, norm=None, ngram_range=(1, 2)),
    "letters": HashingVectorizer(
        n_features=N_FEATURES, alternate_sign=False, norm=None, analyzer="char_wb", ngram_range=(2, 4)
    ),
}


def logistic(strength: float) -> Callable[[], OneVsRestClassifier]:
    """Make logistic regressions, each class against the rest, with this inverse regularisation."""
    return lambda: OneVsRestClassifier(LogisticRegression(C=strength, solver="liblinear", tol=1e-2))


MEMBERS: dict[str, tuple[str, Callable[[], Any]]] = {  # view, model
    "logreg words C=1": ("words", logistic(1.0)),
    "logreg words C=5": ("words", logistic(5.0)),
    "logreg pairs C=1": ("pairs", logistic(1.0)),
    "logreg pairs C=5": ("pairs", logistic(5.0)),
    "logreg pairs C=20": ("pairs", logistic(20.0)),
    "logreg letters C=2": ("letters", logistic(2.0)),
    "logreg letters C=8": ("letters", logistic(8.0)),
    "bayes words .1": ("words", lambda: MultinomialNB(alpha=0.1)),
    "bayes words .5": ("words", lambda: MultinomialNB(alpha=0.5)),
    "bayes pairs .1": ("pairs", lambda: MultinomialNB(alpha=0.1)),
    "complement pairs .3": ("pairs", lambda: ComplementNB(alpha=0.3)),
    "bayes letters .05": ("letters", lambda: MultinomialNB(alpha=0.05)),
}


def read_data_set(name: str, *, n_most: int | None = None) -> DataSet:
    """Read one of FILES, at most ``n_most`` rows; the first rows are as good as any, the files are shuffled."""
    path, text, targets, metrics, usual = FILES[name]
    n_most = n_most or usual
    file = read_csv(DATA / path)
    texts, cells = file.column(text)[:n_most], [file.column(target)[:n_most] for target in targets]
    if len(targets) > 1:
        task, labels = Task(kind="multilabel", class_names=targets), np.array(cells, dtype=np.int64).T
    else:
        class_names = tuple(sorted(set(cells[0])))
        task = Task(kind="binary" if len(class_names) == 2 else "multiclass", class_names=class_names)
        labels = np.array([class_names.index(cell) for cell in cells[0]], dtype=np.int64)
    views = {view: vectorizer.transform(texts).tocsr() for view, vectorizer in VIEWS.items()}
    return DataSet(name=name, metrics=metrics, task=task, labels=labels, views=views)


def train_pool(data: DataSet, rows: IntArray, held_out: IntArray, *, seed: int) -> LinearPool:
    """Train every member by stratified folds of ``rows`` and predict the held-out rows with each fold's models."""
    labels = data.labels[rows]
    n_classes = data.task.n_outputs
    oof = np.zeros((len(MEMBERS), len(rows), n_classes))
    outside = np.zeros((N_FOLDS, len(MEMBERS), len(held_out), n_classes))
    fold_of_row = np.zeros((1, len(rows)), dtype=np.int64)
    for fold, (learn, judge) in enumerate(deal(labels, data.task, seed=seed)):
        fold_of_row[0, judge] = fold
        for view, counts in data.views.items():
            weighting = TfidfTransformer(sublinear_tf=True).fit(counts[rows[learn]])
            known, unknown = (
                weighting.transform(counts[part]) for part in (rows[learn], np.append(rows[judge], held_out))
            )
            for number, (its_view, make_model) in enumerate(MEMBERS.values()):
                if its_view == view:
                    proba = predict(make_model(), known, labels[learn], unknown=unknown)
                    oof[number, judge], outside[fold, number] = proba[: len(judge)], proba[len(judge) :]
    return LinearPool(
        oof=oof, held_out=outside, labels=labels, held_out_labels=data.labels[held_out], fold_of_row=fold_of_row
    )


def deal(labels: IntArray, task: Task, *, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Rows to learn from and to judge by, of each fold."""
    if task.kind == "multilabel":
        folds = plan_folds(labels, task, n_folds=N_FOLDS, seed=seed).fold_of_row[0]
        return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(N_FOLDS)]
    return list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(labels, labels))


def predict(model: Any, known: sparse.csr_matrix, labels: IntArray, *, unknown: sparse.csr_matrix) -> FloatArray:
    """Fit a model, one per label where a row may have several, and give its probabilities on other rows."""
    if labels.ndim == 2 and not isinstance(model, OneVsRestClassifier):
        model = OneVsRestClassifier(model)
    return np.asarray(model.fit(known, labels).predict_proba(unknown), dtype=np.float64)
