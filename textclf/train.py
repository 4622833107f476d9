"""The epoch loop: fit a network on the training rows of one fold."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CyclicLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from textclf.arrays import BoolArray, Float32Array, FloatArray, IntArray
from textclf.config import NetConfig, Task
from textclf.determinism import derive_seed, one_thread, seeded
from textclf.embeddings import vector_matrix
from textclf.encode import Encoded, fold_vocabulary
from textclf.features import FeatureScaler
from textclf.inputs import Inputs
from textclf.nets import NetShape, NetworkFactory
from textclf.protocols import DivergedError, FitTask, Prepared
from textclf.recurrent import RaggedBatch, pack

EVALUATION_ROWS = 1024  # fixed: the shape of a matrix product may move its last bit
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
    reader = RowReader.learn(rows, config, how)
    fitted = FittedNets(reader=reader)
    for replica in range(config.n_seeds):
        tell = how.on_epoch if replica == config.n_seeds - 1 else _ignore_epoch
        with seeded(derive_seed(how.seed, replica), device=how.device):
            net = reader.build(network, config)
            loop = EpochLoop(net, reader.read(rows), targets_of(labels, how.task, how.device), config, fitted)
            loop.run(tell, order_seed=derive_seed(how.seed, replica, 1))
    return fitted


class EpochLoop:
    """Train one network: Adam, cyclical learning rate, clipped gradients of the mean loss."""

    def __init__(
        self, net: nn.Module, rows: "NetRows", targets: Tensor, config: NetConfig, fitted: "FittedNets"
    ) -> None:
        self.net, self.rows, self.targets, self.config, self.fitted = net, rows, targets, config, fitted
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=config.lr_min, weight_decay=config.weight_decay, fused=True)
        steps_per_epoch = math.ceil(len(rows) / config.batch_size)
        self.scheduler = CyclicLR(
            self.optimizer,
            base_lr=config.lr_min,
            max_lr=config.lr_max,
            step_size_up=max(1, round(config.cycle_epochs * steps_per_epoch / 2)),
            mode="exp_range",
            gamma=config.lr_decay ** (1 / (config.n_epochs * steps_per_epoch)),
            cycle_momentum=False,  # with Adam it would silently cycle beta1
        )
        self.average = (
            AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))  # type: ignore[no-untyped-call]
            if config.ema_decay
            else None
        )
        self.n_pieces = 1

    def run(self, tell: Any, *, order_seed: int) -> None:
        """Train all epochs; tell of each but the last; leave the network among the fitted ones."""
        order = np.random.default_rng(order_seed)
        self.fitted.nets.append(self.net if self.average is None else self.average)
        for epoch in range(self.config.n_epochs):
            self.net.train()
            total = torch.zeros((), dtype=torch.float64, device=self.targets.device)
            for batch_rows in batches(order.permutation(len(self.rows)), self.config.batch_size):
                total += self.update(batch_rows) * len(batch_rows)
                self.scheduler.step()
                if self.average is not None:
                    self.average.update_parameters(self.net)

            self.fitted.train_loss = float(total) / len(self.rows)
            if not math.isfinite(self.fitted.train_loss):
                raise DivergedError(f"the training loss became {self.fitted.train_loss} in epoch {epoch + 1}")
            if epoch < self.config.n_epochs - 1:
                tell(epoch, self.fitted.train_loss, self.fitted.predict)

    def update(self, batch_rows: IntArray) -> Tensor:
        """One step; when the GPU's memory is short, the same step in more and smaller pieces."""
        while True:
            try:
                return self._step(batch_rows)
            except torch.cuda.OutOfMemoryError:
                if self.n_pieces >= len(batch_rows):
                    raise
                self.n_pieces *= 2
                self.fitted.note(f"GPU memory was short: batches were trained in {self.n_pieces} pieces")

    def _step(self, batch_rows: IntArray) -> Tensor:
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.targets.device)
        for piece in np.array_split(batch_rows, min(self.n_pieces, len(batch_rows))):
            logits = self.net(*self.rows.batch(piece))
            loss = mean_loss(logits, self.targets[torch.from_numpy(piece)]) * (len(piece) / len(batch_rows))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return total


class FittedNets:
    """The networks of one fold; predicts with the mean of their probabilities."""

    def __init__(self, reader: "RowReader") -> None:
        self.reader = reader
        self.nets: list[nn.Module] = []
        self.train_loss = math.nan
        self.notes: tuple[str, ...] = ()
        self.evaluation_rows = EVALUATION_ROWS

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
        read = self.reader.read(rows)
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
        by_length = np.argsort(-np.diff(rows.encoded.starts), kind="stable")
        with torch.inference_mode():
            logits = torch.cat([net(*rows.batch(chunk)) for chunk in batches(by_length, self.evaluation_rows)])
            back = torch.from_numpy(np.argsort(by_length, kind="stable"))
            return logits.cpu()[back]


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
        table = torch.from_numpy(words.matrix).to(how.device)
        return cls(how.task, how.device, vocabulary, FeatureScaler.fit(rows), table, words.pretrained)

    def read(self, rows: Encoded) -> "NetRows":
        """Put rows where the network runs."""
        features = torch.from_numpy(self.scaler.transform(rows)).to(self.device)
        tokens = torch.from_numpy(self.vocabulary[rows.tokens]).to(self.device)
        return NetRows(rows, tokens, torch.from_numpy(np.array(rows.caps)).to(self.device), features)

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
    """Rows on the device. tokens: (n_tokens,) int32; features: (n_rows, n_features) float32."""

    encoded: Encoded
    tokens: Tensor
    caps: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.encoded)

    def batch(self, rows: IntArray) -> tuple[RaggedBatch, Tensor]:
        """What a network is called with."""
        batch = pack(self.tokens, self.encoded.starts, rows, caps=self.caps)
        return batch, self.features[torch.from_numpy(rows)]


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean log loss: of classes for int64 targets, else of independent labels."""
    if targets.dtype == torch.int64:
        return nn.functional.cross_entropy(logits, targets)
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


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


def batches(rows: IntArray, n_batch: int) -> Iterator[IntArray]:
    """Cut rows into batches; the last may be smaller."""
    for begin in range(0, len(rows), n_batch):
        yield rows[begin : begin + n_batch]


def _ignore_epoch(epoch: int, train_loss: float, predict: Any) -> None:
    pass
