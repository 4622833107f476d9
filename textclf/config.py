"""Frozen, validated records of what a user asked for: the task and the columns."""

from dataclasses import dataclass
from typing import Literal, get_args

from textclf.errors import ConfigError

TaskKind = Literal["binary", "multiclass", "multilabel"]

NEWER_PARAMETERS = {"pseudo_share": 0.0}
"""Parameters that came after the first studies, at the value that leaves a trial as it was before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is predicted.

    kind: binary and multiclass rows have one class each; multilabel rows have any number of labels.
    class_names: in the order of the probability columns; for binary the second is the positive class, for
        multilabel they are the target columns.
    """

    kind: TaskKind
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(TaskKind):
            raise ConfigError(f"task: {self.kind!r} is not one of {', '.join(get_args(TaskKind))}")
        if len(set(self.class_names)) != len(self.class_names):
            raise ConfigError(f"task: class names repeat: {', '.join(self.class_names)}")
        fewest = {"binary": 2, "multiclass": 3, "multilabel": 1}[self.kind]
        if len(self.class_names) < fewest or (self.kind == "binary" and len(self.class_names) != 2):
            raise ConfigError(f"task: {len(self.class_names)} classes do not make a {self.kind} task")

    @property
    def n_outputs(self) -> int:
        """Number of probability columns."""
        return len(self.class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of the CSV files means what."""

    text: str
    targets: tuple[str, ...]
    row_id: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    group: str | None = None

    def __post_init__(self) -> None:
        named = [
            self.text,
            *self.targets,
            *self.numeric,
            *self.categorical,
            *(column for column in (self.row_id, self.group) if column is not None),
        ]
        if not self.targets:
            raise ConfigError("--target: no target column was named")
        for column in named:
            # a group may also be a feature or the id; every other column has one meaning
            if named.count(column) > 1 and column != self.group:
                raise ConfigError(f"column {column!r} is named twice among text, target, id and features")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """The part that every family shares: how texts are cleaned, and whether test rows help.

    family: a key of textclf.families.FAMILIES
    cleaning: named steps joined by "+" (textclf.text), or "none"
    pseudo_share: share of the test rows, the surest, that join the training rows for a second fit; 0 turns it off
    """

    family: str
    cleaning: str = "unicode+html+contractions+punctuation+lower"
    pseudo_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.pseudo_share <= 1:
            raise ConfigError(f"pseudo_share: {self.pseudo_share} is outside [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig(TextConfig):
    """Everything that decides a network's predictions, and nothing else.

    max_tokens: tokens kept of a row, from its start
    min_count: a token without a pretrained vector is learned when the fold's training rows hold it so often
    oov, combine: what out-of-vocabulary tokens and several embedding files become (textclf.embeddings)
    lr_min, lr_max: bounds of the cyclical learning rate (Smith 2017, exp_range)
    lr_decay: what is left of the cycle's amplitude at the last step
    cycle_epochs: length of one cycle, in epochs
    clip_norm: largest L2 norm of the gradient of the mean loss
    ema_decay: predict with an exponential moving average of the weights; 0 turns it off
    n_seeds: networks per fold, from seeds of their own; their probabilities are averaged
    precision: "fp32", or "bf16" (other numbers, equal quality)
    """

    max_tokens: int = 200
    min_count: int = 2
    oov: Literal["zero", "random", "mean", "ngram"] = "ngram"
    combine: Literal["concat", "mean", "weighted"] = "concat"
    embedding_dim: int = 100  # of a table that starts random, where no embedding file is given
    trainable_embeddings: bool = False
    caps_flag: bool = True
    dense_size: int = 64
    dropout: float = 0.2
    spatial_dropout: float = 0.2
    lr_min: float = 5e-4
    lr_max: float = 4e-3
    lr_decay: float = 0.3
    cycle_epochs: float = 2.0
    batch_size: int = 128
    n_epochs: int = 4
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    ema_decay: float = 0.0
    n_seeds: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        TextConfig.__post_init__(self)
        _check_choice("oov", self.oov, ("zero", "random", "mean", "ngram"))
        _check_choice("combine", self.combine, ("concat", "mean", "weighted"))
        _check_choice("precision", self.precision, ("fp32", "bf16"))
        for name in ("max_tokens", "min_count", "embedding_dim", "dense_size", "batch_size", "n_epochs", "n_seeds"):
            _check_count(name, getattr(self, name))
        for name in ("dropout", "spatial_dropout", "ema_decay"):
            _check_share(name, getattr(self, name))
        for name in ("lr_min", "lr_max", "lr_decay", "cycle_epochs", "clip_norm"):
            _check_positive(name, getattr(self, name))
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay: {self.weight_decay} is negative; give 0 or more")
        if self.lr_min > self.lr_max:
            raise ConfigError(f"lr_min: {self.lr_min} is above lr_max {self.lr_max}; swap them")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig(NetConfig):
    """The networks with a BiLSTM and a BiGRU; hidden_size is per direction."""

    hidden_size: int = 64

    def __post_init__(self) -> None:
        NetConfig.__post_init__(self)
        _check_count("hidden_size", self.hidden_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextCnnConfig(NetConfig):
    """TextCNN (Kim 2014): n_filters for each of the widths 2, 3, 4 and 5."""

    n_filters: int = 100

    def __post_init__(self) -> None:
        NetConfig.__post_init__(self)
        _check_count("n_filters", self.n_filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class DanConfig(NetConfig):
    """Deep averaging network (Iyyer et al. 2015): the mean of the token vectors, then n_layers dense layers.

    Its vectors learn by default: a mean of frozen ones says too little.
    """

    trainable_embeddings: bool = True
    spatial_dropout: float = 0.4
    n_epochs: int = 6
    n_layers: int = 1

    def __post_init__(self) -> None:
        NetConfig.__post_init__(self)
        _check_count("n_layers", self.n_layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearConfig(TextConfig):
    """A linear model on TF-IDF of word and character n-grams.

    c: inverse strength of the L2 penalty
    word_ngrams, char_ngrams: longest n-gram; 0 leaves that kind out
    min_df: an n-gram counts when so many of the fold's training rows hold it
    nb_mix: NB-SVM only (Wang & Manning 2012): 1 is pure log-count ratios, 0 plain features
    """

    c: float = 4.0
    word_ngrams: int = 2
    char_ngrams: int = 5
    min_df: int = 2
    nb_mix: float = 1.0

    def __post_init__(self) -> None:
        TextConfig.__post_init__(self)
        _check_positive("c", self.c)
        _check_count("min_df", self.min_df)
        if self.word_ngrams < 0 or self.char_ngrams < 0 or self.word_ngrams + self.char_ngrams == 0:
            raise ConfigError("word_ngrams, char_ngrams: at least one must be 1 or more")
        if not 0 <= self.nb_mix <= 1:
            raise ConfigError(f"nb_mix: {self.nb_mix} is outside [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig(TextConfig):
    """A transformer encoder from a local folder or an installed hub cache, frozen with a head or fine-tuned.

    checkpoint: folder with the model and its tokenizer
    checkpoint_digest: SHA-256 of its files; filled in when the study starts, so that a changed model is seen
    """

    checkpoint: str = ""
    checkpoint_digest: str = ""
    fine_tune: bool = False
    max_tokens: int = 128
    dropout: float = 0.1
    lr_max: float = 2e-5
    batch_size: int = 32
    n_epochs: int = 2

    def __post_init__(self) -> None:
        TextConfig.__post_init__(self)
        _check_share("dropout", self.dropout)
        _check_positive("lr_max", self.lr_max)
        for name in ("max_tokens", "batch_size", "n_epochs"):
            _check_count(name, getattr(self, name))


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: {value!r} is not one of {', '.join(allowed)}")


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}: {value!r} is not a whole number of 1 or more")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{name}: {value} is outside [0, 1)")


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name}: {value} is not above 0")
