"""Linear models on TF-IDF n-grams: fast, strong on long topical texts, and unlike any network in a blend."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from textclf.arrays import BoolArray, Float32Array, FloatArray, IntArray
from textclf.config import LinearConfig, Task
from textclf.encode import Encoded
from textclf.features import FeatureScaler
from textclf.inputs import Inputs
from textclf.ngrams import Ngrams, find_char_ngrams, find_word_ngrams
from textclf.protocols import FitTask, Prepared
from textclf.text import make_cleaner

ALL_TOKENS = 1_000_000  # linear models read whole texts
MAX_ITERATIONS = 100
TOLERANCE = 1e-3
NB_SMOOTHING = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Tfidf:
    """Sublinear TF-IDF of the chosen columns, rows of length one.

    columns: (n_chosen,) int64; idf: (n_chosen,) float32
    """

    columns: IntArray
    idf: Float32Array

    def __call__(self, counts: csr_matrix) -> csr_matrix:
        """Counts -> features, (n_rows, n_chosen)."""
        tfidf = TfidfTransformer(sublinear_tf=True)
        tfidf.idf_ = self.idf
        return tfidf.transform(counts[:, self.columns])


@dataclass(frozen=True, slots=True, eq=False)
class LogRatio:
    """The chosen columns, 1 where the n-gram is there, times its log-count ratio.

    columns: (n_chosen,) int64; scale: (n_chosen,) float64
    """

    columns: IntArray
    scale: FloatArray

    def __call__(self, counts: csr_matrix) -> csr_matrix:
        """Counts -> features, (n_rows, n_chosen)."""
        return _binary(counts[:, self.columns]).multiply(self.scale).tocsr()


Weigh = Tfidf | LogRatio


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramRows:
    """Rows as n-gram counts beside their raw features.

    counts: one (n_rows, n_ngrams) float32 matrix per kind of n-gram
    """

    counts: tuple[csr_matrix, ...]
    encoded: Encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def rows(self, selected: BoolArray | IntArray) -> "NgramRows":
        """Choose rows by mask or index."""
        chosen = np.arange(len(self))[selected]
        return NgramRows(counts=tuple(kind[chosen] for kind in self.counts), encoded=self.encoded.rows(chosen))

    def join(self, others: "NgramRows") -> "NgramRows":
        """These rows, then others of the same study."""
        pairs = zip(self.counts, others.counts, strict=True)
        counts = tuple(vstack(pair, format="csr") for pair in pairs)
        return NgramRows(counts=counts, encoded=self.encoded.join(others.encoded))


def prepare(inputs: Inputs, config: LinearConfig) -> Prepared:
    """Count the n-grams of all rows; nothing is learned."""
    encoded = inputs.encoding(config.cleaning, ALL_TOKENS)
    parts = (encoded.train, encoded.test, encoded.holdout)
    counts = [kind.ngrams.counts for kind in count_ngrams(inputs, config)]
    ends = np.cumsum([len(part) for part in parts])
    train, test, holdout = (
        NgramRows(counts=tuple(kind[end - len(part) : end] for kind in counts), encoded=part)
        for part, end in zip(parts, ends, strict=True)
    )
    return Prepared(train=train, test=test, holdout=holdout, shared=None)


def fit_logistic(rows: NgramRows, labels: IntArray, config: LinearConfig, *, how: FitTask) -> "FittedLinear":
    """Logistic regression on sublinear TF-IDF, each kind of n-gram normalised for itself."""
    weighs = [_learn_tfidf(kind, config.min_df) for kind in rows.counts]
    scaler = FeatureScaler.fit(rows.encoded)
    fitted = FittedLinear(task=how.task, scaler=scaler)
    design = _design(rows, scaler, weighs)
    for column in _model_labels(labels, how.task):
        fitted.add(_fit_model(design, column, config), weighs)
    return fitted


def fit_nbsvm(rows: NgramRows, labels: IntArray, config: LinearConfig, *, how: FitTask) -> "FittedLinear":
    """A linear model per class on binarised counts times naive Bayes log-count ratios (Wang & Manning 2012).

    Logistic loss takes the place of the hinge, so that the outputs are probabilities.
    """
    scaler = FeatureScaler.fit(rows.encoded)
    fitted = FittedLinear(task=how.task, scaler=scaler)
    for column in _one_against_rest(labels, how.task):
        weighs = [_learn_log_ratio(kind, column, config) for kind in rows.counts]
        fitted.add(_fit_model(_design(rows, scaler, weighs), column, config), weighs)
    return fitted


class FittedLinear:
    """The models of one fold: one for all classes, or one per class or label."""

    def __init__(self, *, task: Task, scaler: FeatureScaler) -> None:
        self.task, self.scaler = task, scaler
        self.models: list[tuple[LogisticRegression, list[Weigh]]] = []
        self.train_loss = 0.0
        self.notes: tuple[str, ...] = ()

    @property
    def n_parameters(self) -> int:
        """Learned numbers of all models together."""
        return sum(model.coef_.size + model.intercept_.size for model, _ in self.models)

    def add(self, fitted: tuple[LogisticRegression, float, bool], weighs: list[Weigh]) -> None:
        """Take in one more model, its training loss and whether it converged."""
        model, loss, converged = fitted
        self.train_loss = (self.train_loss * len(self.models) + loss) / (len(self.models) + 1)
        self.models.append((model, weighs))
        if not converged:
            self.notes = (f"the linear model stopped at {MAX_ITERATIONS} iterations",)

    def predict(self, rows: NgramRows) -> FloatArray:
        """(n_rows, n_outputs) float64, in the order of the rows."""
        if not len(rows):
            return np.zeros((0, self.task.n_outputs))
        designs: dict[int, csr_matrix] = {}  # labels share the weights of n-grams, and so their design
        for _, weighs in self.models:
            if id(weighs) not in designs:
                designs[id(weighs)] = _design(rows, self.scaler, weighs)
        made = [model.predict_proba(designs[id(weighs)]) for model, weighs in self.models]
        if self.task.kind == "multilabel":
            return np.column_stack([proba[:, 1] for proba in made])
        if len(made) == 1:
            return np.asarray(made[0], dtype=np.float64)
        each = np.column_stack([proba[:, 1] for proba in made])
        return each / each.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True, eq=False)
class NgramKind:
    """The n-grams of one kind over all rows of a study; symbols: (n_symbols,) the tokens' ids, or the characters."""

    ngrams: Ngrams
    symbols: IntArray | str


def count_ngrams(inputs: Inputs, config: LinearConfig) -> list[NgramKind]:
    """Count each kind of n-gram that the configuration wants, words first, over training, test and hold-out rows."""
    kinds = []
    if config.word_ngrams:
        encoded = inputs.encoding(config.cleaning, ALL_TOKENS)
        parts = (encoded.train, encoded.test, encoded.holdout)
        tokens = np.concatenate([part.tokens for part in parts])
        starts = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))])
        kinds.append(NgramKind(find_word_ngrams(tokens, starts, longest=config.word_ngrams), tokens))
    if config.char_ngrams:
        clean = make_cleaner(config.cleaning)
        texts = [clean(text) for table in (inputs.train, inputs.test, inputs.holdout) for text in table.texts]
        kinds.append(NgramKind(find_char_ngrams(texts, longest=config.char_ngrams), "".join(texts)))
    return kinds


def _learn_tfidf(counts: csr_matrix, min_df: int) -> Weigh:
    columns = _frequent(counts, min_df)
    return Tfidf(columns, TfidfTransformer(sublinear_tf=True).fit(counts[:, columns]).idf_)


def _learn_log_ratio(counts: csr_matrix, column: IntArray, config: LinearConfig) -> Weigh:
    columns = _frequent(counts, config.min_df)
    present = _binary(counts[:, columns])
    for_class = NB_SMOOTHING + np.asarray(present[column == 1].sum(axis=0)).ravel()
    against = NB_SMOOTHING + np.asarray(present[column == 0].sum(axis=0)).ravel()
    ratio = np.log(for_class / for_class.sum()) - np.log(against / against.sum())
    scale = (1 - config.nb_mix) + config.nb_mix * ratio
    return LogRatio(columns, scale)


def _frequent(counts: csr_matrix, min_df: int) -> IntArray:
    n_rows_with = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.flatnonzero(n_rows_with >= min_df)


def _binary(counts: csr_matrix) -> csr_matrix:
    return csr_matrix((np.ones_like(counts.data), counts.indices, counts.indptr), shape=counts.shape)


def _design(rows: NgramRows, scaler: FeatureScaler, weighs: list[Weigh]) -> csr_matrix:
    features: Float32Array = scaler.transform(rows.encoded)
    kinds = [weigh(counts) for weigh, counts in zip(weighs, rows.counts, strict=True)]
    return hstack([*kinds, csr_matrix(features)], format="csr", dtype=np.float64)


def _model_labels(labels: IntArray, task: Task) -> list[IntArray]:
    return list(labels.T) if task.kind == "multilabel" else [labels]


def _one_against_rest(labels: IntArray, task: Task) -> list[IntArray]:
    if task.kind == "multiclass":
        return [(labels == label).astype(np.int64) for label in range(task.n_outputs)]
    return _model_labels(labels, task)


def _fit_model(design: csr_matrix, labels: IntArray, config: LinearConfig) -> tuple[LogisticRegression, float, bool]:
    # of scikit-learn's solvers the one that reached the minimum in the least time on 4,000 to 32,000 rows
    model = LogisticRegression(C=config.c, solver="newton-cg", tol=TOLERANCE, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(design, labels)
    proba = model.predict_proba(design)[np.arange(len(labels)), np.searchsorted(model.classes_, labels)]
    loss = float(-np.log(np.maximum(proba, 1e-15)).mean())
    return model, loss, bool(model.n_iter_.max() < MAX_ITERATIONS)
