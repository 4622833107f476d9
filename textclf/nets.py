"""The networks, one class each. A row's output depends on no other row and on no padding."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textclf.config import DanConfig, NetConfig, RecurrentConfig, TextCnnConfig
from textclf.recurrent import Precision, RaggedBatch, bigru, bilstm, embed, pool_states, unpack

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
        self.dropout = nn.Dropout(config.spatial_dropout)
        self.dim = shape.table.shape[1] + config.caps_flag

    def forward(self, batch: RaggedBatch, precision: Precision = "fp32") -> Tensor:
        """Look up and drop channels; returns (n_packed, dim)."""
        keep = self.dropout(self.table.new_ones(batch.n_rows, self.dim)) if self.training else None
        return embed(batch, self.table, keep, caps_flag=self.caps_flag, precision=precision)


class Head(nn.Module):
    """Dense ReLU layer, dropout, linear output."""

    def __init__(self, n_inputs: int, config: NetConfig, n_logits: int) -> None:
        super().__init__()
        self.dense = nn.Linear(n_inputs, config.dense_size)
        self.dropout = nn.Dropout(config.dropout)
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
        x = self.vectors(batch, self.precision)
        h = bilstm(batch, x, self.lstm, precision=self.precision)
        return bigru(batch, h, self.gru, precision=self.precision)


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
    """TextCNN (Kim 2014): for each window width, the maximum of n_filters convolutions over a row's tokens."""

    def __init__(self, config: TextCnnConfig, shape: NetShape) -> None:
        super().__init__()
        self.vectors = TokenVectors(config, shape)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(self.vectors.dim, config.n_filters, width, padding=width - 1) for width in CNN_WIDTHS
        )
        self.head = Head(len(CNN_WIDTHS) * config.n_filters + shape.n_features, config, shape.n_logits)

    def forward(self, batch: RaggedBatch, features: Tensor) -> Tensor:
        """(n_batch, n_logits)."""
        words, mask = unpack(batch, self.vectors(batch))  # (n_batch, longest, dim)
        pooled = []
        for width, convolve in zip(CNN_WIDTHS, self.convolutions, strict=True):
            found = torch.relu(convolve(words.transpose(1, 2)))  # (n_batch, n_filters, longest + width - 1)
            # a window counts when it holds at least one token of the row; relu makes 0 the neutral element
            inside = nn.functional.pad(mask, (0, width - 1)) | nn.functional.pad(mask, (width - 1, 0))
            pooled.append((found * inside[:, None]).amax(2))
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
