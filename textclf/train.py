"""Fit networks on the training rows of one fold, and predict with them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textclf import gpu
from textclf.arrays import BoolArray, Float32Array, FloatArray, IntArray
from textclf.config import NetConfig, Task
from textclf.determinism import derive_seed, exact, one_thread, seeded
from textclf.embeddings import vector_matrix
from textclf.encode import Encoded, fold_vocabulary
from textclf.features import FeatureScaler
from textclf.gpu.batches import pack_on_device
from textclf.inputs import Inputs
from textclf.loop import EpochLoop, batches
from textclf.nets import NetShape, NetworkFactory, Recurrent
from textclf.protocols import FitTask, Prepared
from textclf.recurrent import RaggedBatch, pack
from textclf.turns import Turns, finish

EVALUATION_ROWS = 1024  # fixed: the shape of a matrix product may move its last bit
GPU_EVALUATION_ROWS = 16_384
GPU_EVALUATION_POSITIONS = 2**18  # rows times tokens of the longest: what bounds a GPU's memory
OOV_SEED = 0  # vectors of unknown words are the same in each trial of every study


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTable:
    """The study's words as vectors.

    matrix: (n_words + 2, dim) float32; known: (n_words + 2,) whether a pretrained vector was found
    pretrained: whether there was an embedding file; without one the table starts random and is always learned
    """

    matrix: Float32Array
    known: BoolArray
    pretrained: bool
    _on_devices: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def on(self, device: str) -> Tensor:
        """The matrix on a device; all fits there share one."""
        if device not in self._on_devices:
            self._on_devices[device] = torch.from_numpy(self.matrix).to(device)
        return self._on_devices[device]


def prepare(inputs: Inputs, config: NetConfig) -> Prepared:
    """Token ids of all rows, and a vector for each word of the study; nothing is learned."""
    encoded = inputs.encoding(config.cleaning, config.max_tokens)
    words = encoded.lexicon.words
    matrix, known = vector_matrix(
        words,
        inputs.vectors,
        combine=config.combine,
        oov="random" if not inputs.vectors else config.oov,
        seed=OOV_SEED,
        dim=config.embedding_dim,
    )
    table = WordTable(matrix=matrix, known=known, pretrained=bool(inputs.vectors))
    return Prepared(train=encoded.train, test=encoded.test, holdout=encoded.holdout, shared=table)


def fit(rows: Encoded, labels: IntArray, config: NetConfig, *, how: FitTask, network: NetworkFactory) -> "FittedNets":
    """Train config.n_seeds networks, each from its own initialisation; their probabilities are averaged.

    rows, labels: the training rows of the fold. Vocabulary and feature scaling are learned from them alone.
    Raises DivergedError when the loss is not finite.
    """
    with exact():
        return finish(fit_in_turns(rows, labels, config, how=how, network=network))


def fit_in_turns(
    rows: Encoded, labels: IntArray, config: NetConfig, *, how: FitTask, network: NetworkFactory
) -> Turns["FittedNets"]:
    """As ``fit``, but pauses where the device has work to do, so that other fits can hand it theirs meanwhile."""
    reader = RowReader.learn(rows, config, how)
    fitted = FittedNets(reader=reader)
    read, targets = reader.read(rows), targets_of(labels, how.task, how.device)
    for replica in range(config.n_seeds):
        tell = how.on_epoch if replica == config.n_seeds - 1 else _ignore_epoch
        order_seed = derive_seed(how.seed, replica, 1)
        with seeded(derive_seed(how.seed, replica), device=how.device):
            net = reader.build(network, config)
            recorded = is_recordable(net, how.device) and not how.frugal
            if not recorded:
                finish(EpochLoop(net, read, targets, config, fitted).turns(tell, order_seed=order_seed))
        if recorded:
            from textclf.gpu.loop import RecordedLoop

            loop = RecordedLoop(net, read, targets, config, fitted, noise_seed=derive_seed(how.seed, replica, 2))
            yield from loop.turns(tell, order_seed=order_seed)
    if how.frugal:
        fitted.note("GPU memory was short: steps were not recorded, and dropout drew other numbers for that")
    return fitted


def is_recordable(net: nn.Module, device: str) -> bool:
    """Whether a network's steps can be recorded on this device: its layers read batches of one shape as any other."""
    trunk = getattr(net, "trunk", None)
    return isinstance(trunk, Recurrent) and gpu.runs(torch.device(device), trunk.lstm.hidden_size)


class FittedNets:
    """The networks of one fold; predicts with the mean of their probabilities."""

    def __init__(self, reader: "RowReader") -> None:
        self.reader = reader
        self.nets: list[nn.Module] = []
        self.train_loss = math.nan
        self.notes: tuple[str, ...] = ()
        self.evaluation_rows = EVALUATION_ROWS if reader.device == "cpu" else GPU_EVALUATION_ROWS
        self._read: NetRows | None = None

    @property
    def n_parameters(self) -> int:
        """Learned numbers of all networks together."""
        return sum(p.numel() for net in self.nets for p in net.parameters() if p.requires_grad)

    def note(self, text: str) -> None:
        """Remember something for the record, once."""
        self.notes = tuple(dict.fromkeys((*self.notes, text)))

    def predict(self, rows: Encoded) -> FloatArray:
        """(n_rows, n_outputs) float64, in the order of the rows."""
        if not len(rows):
            return np.zeros((0, self.reader.task.n_outputs))
        if self._read is None or self._read.encoded is not rows:  # epoch after epoch the same rows are asked for
            self._read = self.reader.read(rows)
        read = self._read
        return np.mean([self._predict(net, read) for net in self.nets], axis=0)

    def _predict(self, net: nn.Module, rows: "NetRows") -> FloatArray:
        net.eval()
        while True:
            try:
                return logits_to_proba(self._evaluate(net, rows), self.reader.task)
            except torch.cuda.OutOfMemoryError:
                if self.evaluation_rows == 1:
                    raise
                self.evaluation_rows //= 2
                self.note(f"GPU memory was short: evaluated in batches of {self.evaluation_rows} rows")

    def _evaluate(self, net: nn.Module, rows: "NetRows") -> Tensor:
        by_length = np.argsort(-rows.encoded.lengths, kind="stable")
        with torch.inference_mode():
            logits = torch.cat([net(*rows.batch(chunk)) for chunk in self._chunks(by_length, rows)])
            back = torch.from_numpy(np.argsort(by_length, kind="stable"))
            return logits.cpu()[back]

    def _chunks(self, by_length: IntArray, rows: "NetRows") -> Iterator[IntArray]:
        """Cut rows, the longest first, into as many as are evaluated at once."""
        if self.reader.device == "cpu":
            yield from batches(by_length, self.evaluation_rows)
            return
        lengths, begin = rows.encoded.lengths, 0
        while begin < len(by_length):
            n_fit = max(1, GPU_EVALUATION_POSITIONS // int(lengths[by_length[begin]]))
            end = begin + min(n_fit, self.evaluation_rows)
            yield by_length[begin:end]
            begin = end


@dataclass(frozen=True, slots=True)
class RowReader:
    """Turns rows into what a network reads; learned from the fold's training rows alone.

    vocabulary: (n_words + 2,) int32, a study-wide token id to itself or to 1 (unknown)
    """

    task: Task
    device: str
    vocabulary: np.ndarray[Any, np.dtype[np.int32]]
    scaler: FeatureScaler
    table: Tensor
    pretrained: bool

    @classmethod
    def learn(cls, rows: Encoded, config: NetConfig, how: FitTask) -> "RowReader":
        """Learn vocabulary and scaling."""
        words: WordTable = how.shared
        vocabulary = fold_vocabulary(rows, len(words.matrix) - 2, known=words.known, min_count=config.min_count)
        table = words.on(how.device)
        return cls(how.task, how.device, vocabulary, FeatureScaler.fit(rows), table, words.pretrained)

    def read(self, rows: Encoded) -> "NetRows":
        """Put rows where the network runs."""
        parts = (self.vocabulary[rows.tokens], np.array(rows.caps), rows.starts, self.scaler.transform(rows))
        return NetRows(rows, *(torch.from_numpy(part).to(self.device) for part in parts))

    def learns_table(self, config: NetConfig) -> bool:
        """Whether each network learns word vectors of its own, from the table's on."""
        return config.trainable_embeddings or not self.pretrained

    def build(self, network: NetworkFactory, config: NetConfig) -> nn.Module:
        """Make a freshly initialised network."""
        n_logits = 1 if self.task.kind == "binary" else self.task.n_outputs
        shape = NetShape(
            table=self.table,
            learn_table=self.learns_table(config),
            n_features=self.scaler.n_features,
            n_logits=n_logits,
        )
        with one_thread():
            return network(config, shape).to(self.device)


@dataclass(frozen=True, slots=True)
class NetRows:
    """Rows on the device.

    tokens: (n_tokens,) int32, caps: (n_tokens,) uint8, starts: (n_rows + 1,) int64, as in ``encoded``
    features: (n_rows, n_features) float32
    """

    encoded: Encoded
    tokens: Tensor
    caps: Tensor
    starts: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.encoded)

    def batch(self, rows: IntArray) -> tuple[RaggedBatch, Tensor]:
        """What a network is called with."""
        if self.tokens.is_cuda:
            batch = pack_on_device(self.tokens, self.caps, self.starts, rows, self.encoded.lengths[rows])
        else:
            batch = pack(self.tokens, self.starts, rows, caps=self.caps)
        return batch, self.features[torch.from_numpy(rows).to(self.features.device, non_blocking=True)]


def targets_of(labels: IntArray, task: Task, device: str) -> Tensor:
    """Labels as the loss wants them: int64 classes, or (n_rows, n_logits) float32."""
    wanted = torch.from_numpy(labels).to(device)
    if task.kind == "multiclass":
        return wanted
    return (wanted[:, None] if task.kind == "binary" else wanted).float()


def logits_to_proba(logits: Tensor, task: Task) -> FloatArray:
    """(n_rows, n_logits) on the CPU -> (n_rows, n_outputs) float64."""
    exact = logits.double()
    if task.kind == "multiclass":
        return exact.softmax(1).numpy()
    proba = exact.sigmoid()
    return (torch.cat((1 - proba, proba), 1) if task.kind == "binary" else proba).numpy()


def _ignore_epoch(epoch: int, train_loss: float, predict: Any) -> None:
    pass
