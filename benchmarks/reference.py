"""What the engine is measured against: the network of record trained in today's usual ways, on torch's own layers.

``train_padded`` has every fault of speed and correct maths otherwise: all rows padded to the longest allowed length, a
DataLoader in Python, ``.item()`` on each batch, bidirectional layers over the padding. ``train_packed`` is careful:
packed sequences of exactly the maths that the engine computes, no DataLoader, no waiting, all rows on the device. Both
make as many updates as ``textclf.train.fit``, with the same optimiser, schedule, clipping and number of evaluations.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

from textclf.arrays import FloatArray, IntArray
from textclf.config import RecurrentConfig
from textclf.encode import Encoded
from textclf.features import FeatureScaler
from textclf.nets import BiLstmBiGru, NetShape
from textclf.train import WordTable

EVALUATION_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class FoldData:
    """One fold of a binary task: rows to train on, rows to predict, word vectors; max_tokens is what is padded to."""

    train: Encoded
    labels: IntArray
    held_out: Encoded
    words: WordTable
    max_tokens: int


Step = Callable[[tuple[Tensor, ...]], Tensor]


class PaddedNet(BiLstmBiGru):
    """The network over padded rows; the reverse direction passes over the padding first."""

    def logits(self, ids: Tensor, lengths: Tensor, features: Tensor) -> Tensor:
        """ids: (n_batch, n_tokens) int64, 0 after a row's end; returns (n_batch, 1)."""
        h, _ = self.trunk.lstm(self.embedded(ids).transpose(0, 1))
        h, _ = self.trunk.gru(h)
        return self.head(torch.cat((pool_padded(h.transpose(0, 1), lengths), features), 1))

    def embedded(self, ids: Tensor) -> Tensor:
        """Word vectors with channels dropped, (n_batch, n_tokens, dim)."""
        vectors = self.trunk.vectors
        words = nn.functional.embedding(ids, vectors.table)
        return words * nn.functional.dropout(
            words.new_ones(len(ids), 1, words.shape[2]), vectors.dropped, self.training
        )


class PackedNet(PaddedNet):
    """The network over packed rows: exactly what the engine computes."""

    def logits(self, ids: Tensor, lengths: Tensor, features: Tensor) -> Tensor:
        """As for padded rows."""
        ids = ids[:, : int(lengths.max())]
        packed = pack_padded_sequence(self.embedded(ids), lengths, batch_first=True, enforce_sorted=False)
        h, _ = self.trunk.lstm(packed)
        h, _ = self.trunk.gru(h)
        states, _ = pad_packed_sequence(h, batch_first=True)
        return self.head(torch.cat((pool_padded(states, lengths), features), 1))


def pool_padded(h: Tensor, lengths: Tensor) -> Tensor:
    """(n_batch, n_tokens, 2H) -> [last forward | last backward | mean | max] of each row's own tokens."""
    hidden, lengths = h.shape[2] // 2, lengths.to(h.device)
    rows = torch.arange(len(h), device=h.device)
    inside = (torch.arange(h.shape[1], device=h.device) < lengths[:, None])[:, :, None]
    mean = (h * inside).sum(1) / lengths[:, None]
    top = h.masked_fill(~inside, -torch.inf).amax(1)
    return torch.cat((h[rows, lengths - 1, :hidden], h[:, 0, hidden:], mean, top), 1)


def train_padded(fold: FoldData, config: RecurrentConfig, *, seed: int, device: str = "cpu") -> FloatArray:
    """Train as most published code does, and predict the held-out rows: (n_held_out,) probabilities."""
    torch.manual_seed(seed)
    scaler = FeatureScaler.fit(fold.train)
    net = PaddedNet(config, _shape(fold, scaler)).to(device)
    train = TensorDataset(*_padded(fold.train, scaler, fold.max_tokens), torch.from_numpy(fold.labels).float())
    loader = DataLoader(train, batch_size=config.batch_size, shuffle=True)
    valid = DataLoader(TensorDataset(*_padded(fold.held_out, scaler, fold.max_tokens)), batch_size=EVALUATION_ROWS)
    optimizer, scheduler = _optimizer(net, config, len(loader), fused=False)
    predicted: list[Tensor] = []
    for _ in range(config.n_epochs):
        net.train()
        average_loss = 0.0
        for batch in loader:
            *inputs, target = (part.to(device) for part in batch)
            loss = nn.functional.binary_cross_entropy_with_logits(net.logits(*inputs)[:, 0], target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            scheduler.step()
            average_loss += loss.item() / len(loader)
        net.eval()
        with torch.no_grad():
            predicted = [torch.sigmoid(net.logits(*(part.to(device) for part in batch))[:, 0]) for batch in valid]
    return torch.cat(predicted).double().cpu().numpy()


def train_packed(fold: FoldData, config: RecurrentConfig, *, seed: int, device: str = "cpu") -> FloatArray:
    """Train with packed sequences and little else between the steps; as ``train_padded``."""
    torch.manual_seed(seed)
    scaler = FeatureScaler.fit(fold.train)
    net = PackedNet(config, _shape(fold, scaler)).to(device)
    train, valid = (_resident(_padded(rows, scaler, fold.max_tokens), device) for rows in (fold.train, fold.held_out))
    targets = torch.from_numpy(fold.labels).float().to(device)
    n_steps = -(-len(targets) // config.batch_size)
    optimizer, scheduler = _optimizer(net, config, n_steps, fused=True)
    predicted = torch.zeros(0)
    for _ in range(config.n_epochs):
        net.train()
        for rows in torch.split(torch.randperm(len(targets)), config.batch_size):
            logits = net.logits(*(part[rows] for part in train))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            scheduler.step()
        net.eval()
        predicted = _predict_packed(net, valid)
    return predicted.double().cpu().numpy()


def _predict_packed(net: PackedNet, rows: tuple[Tensor, ...]) -> Tensor:
    """Evaluate in order of length, so that packed batches are dense."""
    order = rows[1].argsort(descending=True, stable=True)
    with torch.inference_mode():
        logits = torch.cat(
            [net.logits(*(part[chunk] for part in rows)) for chunk in torch.split(order, EVALUATION_ROWS)]
        )
        return torch.sigmoid(logits[order.argsort(), 0])


def _resident(rows: tuple[Tensor, Tensor, Tensor], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and features on the device; lengths stay, as torch packs sequences by lengths of the host."""
    ids, lengths, features = rows
    return ids.to(device), lengths, features.to(device)


def _shape(fold: FoldData, scaler: FeatureScaler) -> NetShape:
    table = torch.from_numpy(fold.words.matrix)
    return NetShape(table=table, learn_table=False, n_features=scaler.n_features, n_logits=1)


def _optimizer(
    net: nn.Module, config: RecurrentConfig, n_steps: int, *, fused: bool
) -> tuple[torch.optim.Adam, torch.optim.lr_scheduler.CyclicLR]:
    optimizer = torch.optim.Adam(net.parameters(), lr=config.lr_min, fused=fused)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=config.lr_min,
        max_lr=config.lr_max,
        step_size_up=max(1, round(config.cycle_epochs * n_steps / 2)),
        mode="exp_range",
        gamma=config.lr_decay ** (1 / (config.n_epochs * n_steps)),
        cycle_momentum=False,
    )
    return optimizer, scheduler


def _padded(rows: Encoded, scaler: FeatureScaler, max_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids (n_rows, max_tokens) int64 padded with 0, lengths (n_rows,), features (n_rows, n_features)."""
    ids = np.zeros((len(rows), max_tokens), dtype=np.int64)
    lengths = np.diff(rows.starts)
    for row, own in enumerate(_token_lists(rows)):
        ids[row, : len(own)] = own
    return torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(scaler.transform(rows))


def _token_lists(rows: Encoded) -> Iterator[IntArray]:
    for begin, end in zip(rows.starts[:-1], rows.starts[1:], strict=True):
        yield rows.tokens[begin:end].astype(np.int64)
