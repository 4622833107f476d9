"""The networks, one class each. A row's output depends on no other row and on no padding."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textclf.config import DanConfig, NetConfig, RecurrentConfig, TextCnnConfig
from textclf.recurrent import Precision, RaggedBatch, bigru, embed, embed_bilstm, pool_states, unpack

CNN_WIDTHS = (2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetShape:
    """Sizes that come from the rows, not from the configuration.

    table: (n_words + 2, dim) float32 word vectors; row 0 is padding, row 1 the unknown word
    learn_table: whether the vectors are trained with the network
    n_features: columns beside the text; n_logits: 1 for binary, else one per class or label
    """

    table: Tensor
    learn_table: bool
    n_features: int
    n_logits: int


NetworkFactory = Callable[[Any, NetShape], nn.Module]
"""(config, shape) -> a module called with (batch, features) that returns logits (n_batch, n_logits)."""


class TokenVectors(nn.Module):
    """Word vectors with spatial dropout: whole channels of a row are dropped; all-caps words may carry a flag."""

    table: Tensor

    def __init__(self, config: NetConfig, shape: NetShape) -> None:
        super().__init__()
        if shape.learn_table:
            self.table = nn.Parameter(shape.table.clone())
        else:
            self.register_buffer("table", shape.table, persistent=False)
        self.caps_flag = config.caps_flag
        self.dropped = config.spatial_dropout
        self.dim = shape.table.shape[1] + config.caps_flag
        self.noise: torch.Generator | None = None

    def kept(self, batch: RaggedBatch) -> Tensor | None:
        """Which channels each row keeps, (n_batch, dim) of 0 and 1 / (1 - p); None where all are kept."""
        if not self.training or self.dropped == 0:
            return None
        return draw_mask(batch.n_rows, self.dim, dropped=self.dropped, device=self.table.device, noise=self.noise)

    def forward(self, batch: RaggedBatch) -> Tensor:
        """Look up and drop channels; returns (n_packed, dim)."""
        return embed(batch, self.table, self.kept(batch), caps_flag=self.caps_flag)


class Dropout(nn.Dropout):
    """Dropout that may draw from a generator of its own."""

    noise: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(n_rows, n_channels), the same shape out."""
        if self.noise is None or not self.training or self.p == 0:
            return super().forward(x)
        return x * draw_mask(*x.shape, dropped=self.p, device=x.device, noise=self.noise)


class Head(nn.Module):
    """Dense ReLU layer, dropout, linear output."""

    def __init__(self, n_inputs: int, config: NetConfig, n_logits: int) -> None:
        super().__init__()
        self.dense = nn.Linear(n_inputs, config.dense_size)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.dense_size, n_logits)

    def forward(self, pooled: Tensor) -> Tensor:
        """(n_batch, n_inputs) -> (n_batch, n_logits)."""
        return self.output(self.dropout(torch.relu(self.dense(pooled))))


class Recurrent(nn.Module):
    """Word vectors, BiLSTM, BiGRU: the trunk of the recurrent networks."""

    def __init__(self, config: RecurrentConfig, shape: NetShape) -> None:
        super().__init__()
        self.vectors = TokenVectors(config, shape)
        self.lstm = nn.LSTM(self.vectors.dim, config.hidden_size, bidirectional=True)
        self.gru = nn.GRU(2 * config.hidden_size, config.hidden_size, bidirectional=True)
        self.precision: Precision = config.precision
        initialise_recurrent(self.lstm)
        initialise_recurrent(self.gru)

    def forward(self, batch: RaggedBatch) -> Tensor:
        """States of the BiGRU, (n_packed, 2 * hidden_size)."""
        vectors, precision = self.vectors, self.precision
        h = embed_bilstm(
            batch,
            vectors.table,
            vectors.kept(batch),
            self.lstm,
            caps_flag=vectors.caps_flag,
            precision=precision,
        )  # (n_packed, 2H)
        return bigru(batch, h, self.gru, precision=precision)


class BiLstmBiGru(nn.Module):
    """The network of record: [last state forward | last state backward | mean | max | features], 6H + n_features."""

    def __init__(self, config: RecurrentConfig, shape: NetShape) -> None:
        super().__init__()
        self.trunk = Recurrent(config, shape)
        self.head = Head(6 * config.hidden_size + shape.n_features, config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        pooled = pool_states(batch, self.trunk(batch))  # (n_batch, 6H)
        return self.head(torch.cat((pooled, features), 1))


class BiLstmBiGruKeras(nn.Module):
    """Its Keras ancestor, which keeps the forward final state only: 5H + n_features."""

    def __init__(self, config: RecurrentConfig, shape: NetShape) -> None:
        super().__init__()
        self.hidden_size = config.hidden_size
        self.trunk = Recurrent(config, shape)
        self.head = Head(5 * config.hidden_size + shape.n_features, config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        pooled = pool_states(batch, self.trunk(batch))  # (n_batch, 6H)
        forward_state, pools = pooled[:, : self.hidden_size], pooled[:, 2 * self.hidden_size :]
        return self.head(torch.cat((forward_state, pools, features), 1))


class BiLstmAttention(nn.Module):
    """BiLSTM, BiGRU, then additive attention (Yang et al. 2016) beside the maximum: 4H + n_features."""

    def __init__(self, config: RecurrentConfig, shape: NetShape) -> None:
        super().__init__()
        width = 2 * config.hidden_size
        self.trunk = Recurrent(config, shape)
        self.project = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)
        self.head = Head(2 * width + shape.n_features, config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        h = self.trunk(batch).to(self.project.weight.dtype)  # from bfloat16 under that precision
        states, mask = unpack(batch, h)  # (n_batch, longest, 2H), (n_batch, longest)
        score = self.query(torch.tanh(self.project(states)))[..., 0].masked_fill(~mask, -torch.inf)
        attended = (score.softmax(1)[..., None] * states).sum(1)  # (n_batch, 2H)
        top = states.masked_fill(~mask[..., None], -torch.inf).amax(1)
        return self.head(torch.cat((attended, top, features), 1))


class TextCnn(nn.Module):
    """TextCNN (Kim 2014): for each window width, the maximum of n_filters convolutions over a row's tokens.

    A window starts at each token and reads zeros beyond the row's end. Windows are cut from the rows laid end to end,
    so that no padding to the longest row is computed.
    """

    def __init__(self, config: TextCnnConfig, shape: NetShape) -> None:
        super().__init__()
        self.vectors = TokenVectors(config, shape)
        self.filters = nn.ModuleList(nn.Linear(width * self.vectors.dim, config.n_filters) for width in CNN_WIDTHS)
        self.head = Head(len(CNN_WIDTHS) * config.n_filters + shape.n_features, config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        x = self.vectors(batch)
        gap = max(CNN_WIDTHS) - 1  # zeros after each row
        first = (batch.lengths + gap).cumsum(0) - batch.lengths - gap  # (n_batch,)
        place = first[batch.row_of_token] + batch.step_of_token  # (n_packed,)
        end_to_end = x.new_zeros(int(batch.n_packed + gap * batch.n_rows), x.shape[1]).index_copy(0, place, x)
        starts = place.sort().values  # row by row, in the caller's order
        pooled = []
        for width, filters in zip(CNN_WIDTHS, self.filters, strict=True):
            windows = end_to_end.unfold(0, width, 1)[starts]  # (n_packed, dim, width)
            found = torch.relu(filters(windows.flatten(1)))  # (n_packed, n_filters)
            pooled.append(torch.segment_reduce(found, "max", lengths=batch.lengths, axis=0))  # (n_batch, n_filters)
        return self.head(torch.cat((*pooled, features), 1))


class DeepAveraging(nn.Module):
    """Deep averaging network (Iyyer et al. 2015): dense layers over the mean word vector."""

    def __init__(self, config: DanConfig, shape: NetShape) -> None:
        super().__init__()
        self.vectors = TokenVectors(config, shape)
        widths = [self.vectors.dim + shape.n_features] + [config.dense_size] * (config.n_layers - 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = Head(widths[-1], config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        x = self.vectors(batch)
        total = x.new_zeros(batch.n_rows, x.shape[1]).index_add(0, batch.row_of_token, x)
        hidden = torch.cat((total / batch.lengths[:, None], features), 1)
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        return self.head(hidden)


def draw_from(noise: torch.Generator | None, net: nn.Module) -> None:
    """Let a network's dropout draw from this generator; None: from torch's default one, as it is made."""
    for module in net.modules():
        if isinstance(module, TokenVectors | Dropout):
            module.noise = noise


def draw_mask(
    n_rows: int, n_channels: int, *, dropped: float, device: torch.device, noise: torch.Generator | None = None
) -> Tensor:
    """Draw which channels to keep from torch's generator: (n_rows, n_channels) float32 of 0 and 1 / (1 - dropped).

    On the CPU one number of torch's seeds numpy's SFC64, whose 16-bit draws take a fifth of the time of torch's own;
    the share dropped is true to 2**-17.
    """
    if device.type != "cpu":
        mask = torch.empty(n_rows, n_channels, device=device)
        return mask.bernoulli_(1 - dropped, generator=noise).div_(1 - dropped)
    rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, (), generator=noise))))
    lots = rng.integers(2**16, size=(n_rows, n_channels), dtype=np.uint16)
    return torch.from_numpy((lots >= round(dropped * 2**16)) * np.float32(1 / (1 - dropped)))


def initialise_recurrent(layer: nn.LSTM | nn.GRU) -> None:
    """Xavier for input weights, orthogonal for each gate's recurrent weights, zero biases, LSTM forget bias 1.

    Sources: Glorot & Bengio 2010; Saxe et al. 2014; Jozefowicz et al. 2015.
    """
    hidden = layer.hidden_size
    for name, weight in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        elif name.startswith("weight_hh"):
            for gate in torch.split(weight.detach(), hidden):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(weight)
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(weight.detach()[hidden : 2 * hidden])
