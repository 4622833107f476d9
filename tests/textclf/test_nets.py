"""The networks: a row's output is its own, and every weight is used."""

import numpy as np
import pytest
import torch
from torch import nn

from textclf.config import DanConfig, NetConfig, RecurrentConfig, TextCnnConfig
from textclf.families import FAMILIES
from textclf.nets import (
    CNN_WIDTHS,
    BiLstmAttention,
    BiLstmBiGru,
    BiLstmBiGruKeras,
    DeepAveraging,
    NetShape,
    NetworkFactory,
    TextCnn,
    draw_mask,
    initialise_recurrent,
)
from textclf.recurrent import RaggedBatch, pack

NETWORKS: dict[str, tuple[NetworkFactory, NetConfig]] = {
    "bilstm_bigru": (BiLstmBiGru, RecurrentConfig(family="bilstm_bigru", hidden_size=7, dense_size=5)),
    "bilstm_bigru_keras": (BiLstmBiGruKeras, RecurrentConfig(family="bilstm_bigru_keras", hidden_size=7, dense_size=5)),
    "bilstm_attention": (BiLstmAttention, RecurrentConfig(family="bilstm_attention", hidden_size=7, dense_size=5)),
    "textcnn": (TextCnn, TextCnnConfig(family="textcnn", n_filters=6, dense_size=5)),
    "dan": (DeepAveraging, DanConfig(family="dan", n_layers=2, dense_size=16, trainable_embeddings=False)),
}
LENGTHS = (1, 9, 3, 3, 6, 1, 12)
N_WORDS, DIM, N_FEATURES = 20, 10, 4


def make_network(name: str) -> nn.Module:
    """A network of a family in double precision, with a random table whose padding row is random too."""
    factory, config = NETWORKS[name]
    torch.manual_seed(3)
    table = torch.randn(N_WORDS + 2, DIM)
    return factory(config, NetShape(table=table, learn_table=False, n_features=N_FEATURES, n_logits=2)).double()


def make_rows() -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Token ids, row starts and features of a few rows of different length."""
    rng = np.random.default_rng(5)
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    tokens = rng.integers(1, N_WORDS + 2, starts[-1]).astype(np.int32)
    return tokens, starts, torch.randn(len(LENGTHS), N_FEATURES, dtype=torch.float64)


def make_batch(rows: list[int]) -> tuple[RaggedBatch, torch.Tensor]:
    """What a network is called with for the chosen rows."""
    torch.manual_seed(4)
    tokens, starts, features = make_rows()
    caps = (tokens % 3 == 0).astype(np.uint8)
    return pack(tokens, starts, np.array(rows), caps=caps), features[rows]


def test_every_network_family_is_tested() -> None:
    """A network that joins FAMILIES joins this file."""
    networks = {name for name, family in FAMILIES.items() if issubclass(family.config, NetConfig)}

    assert networks == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_alone_gives_what_it_gives_in_company(name: str) -> None:
    """Neither batch companions nor padding move a row's logits."""
    net = make_network(name).eval()
    together = net(*make_batch(list(range(len(LENGTHS)))))

    alone = torch.cat([net(*make_batch([row])) for row in range(len(LENGTHS))])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_come_back_in_the_order_asked_for(name: str) -> None:
    """Sorting by length inside a batch is never seen outside."""
    net = make_network(name).eval()
    order = [4, 0, 6, 2, 5, 1, 3]

    torch.testing.assert_close(net(*make_batch(order)), net(*make_batch(sorted(order)))[order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_different_rows_get_different_logits(name: str) -> None:
    """The two tests above could not pass on a network that ignores its rows."""
    logits = make_network(name).eval()(*make_batch(list(range(len(LENGTHS)))))

    assert len(torch.unique(logits[:, 0])) == len(LENGTHS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    """No weight is dead."""
    net = make_network(name).train()
    net(*make_batch(list(range(len(LENGTHS))))).square().sum().backward()

    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_repeats_itself_and_training_drops(name: str) -> None:
    """Dropout acts in training alone."""
    net, batch = make_network(name), make_batch(list(range(len(LENGTHS))))

    assert torch.equal(net.eval()(*batch), net.eval()(*batch))
    assert not torch.equal(net.train()(*batch), net.train()(*batch))


def test_the_padding_row_of_the_table_is_never_read() -> None:
    """A random vector in row 0 changes nothing, because no row holds padding."""
    net = make_network("bilstm_bigru").eval()
    batch = make_batch(list(range(len(LENGTHS))))
    before = net(*batch)
    with torch.no_grad():
        net.get_buffer("trunk.vectors.table")[0] = 1e6

    assert torch.equal(net(*batch), before)


def test_spatial_dropout_drops_a_channel_for_the_whole_row() -> None:
    """Within a row a channel is kept at every token or dropped at every token."""
    net = make_network("dan").train()
    vectors = net.get_submodule("vectors")
    net.get_buffer("vectors.table")[:] = 1.0
    batch, _ = make_batch(list(range(len(LENGTHS))))

    x = vectors(batch)[:, :DIM]

    for row in range(len(LENGTHS)):
        values = x[batch.row_of_token == row]
        assert (values == values[0]).all()
    assert len(x.unique()) == 2  # both outcomes occur, so the test can fail


def test_masks_drop_the_share_asked_for() -> None:
    """Kept channels are scaled to keep the mean; draws differ, repeat under a seed, and meet the binomial's bounds."""
    n_rows, n_channels, dropped = 400, 250, 0.3
    torch.manual_seed(5)
    first, second = (draw_mask(n_rows, n_channels, dropped=dropped, device=torch.device("cpu")) for _ in range(2))
    torch.manual_seed(5)
    again = draw_mask(n_rows, n_channels, dropped=dropped, device=torch.device("cpu"))

    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert set(first.flatten().tolist()) == {0.0, np.float32(1 / 0.7)}
    four_errors = 4 * (dropped * (1 - dropped) / (n_rows * n_channels)) ** 0.5
    assert abs(float((first == 0).double().mean()) - dropped) < four_errors
    by_column = (first == 0).double().mean(0)  # no channel is favoured
    assert (by_column - dropped).abs().max() < 5 * (dropped * (1 - dropped) / n_rows) ** 0.5


def test_network_of_record_pools_what_the_design_says() -> None:
    """The head reads [last forward | last backward | mean | max | features] of torch's own layers, row by row."""
    net = make_network("bilstm_bigru").eval()
    assert isinstance(net, BiLstmBiGru)
    tokens, starts, _ = make_rows()
    _, all_features = make_batch(list(range(len(LENGTHS))))
    row = 4
    ids = torch.from_numpy(tokens[starts[row] : starts[row + 1]]).long()
    caps = (ids % 3 == 0).double()[:, None]
    x = torch.cat((net.get_buffer("trunk.vectors.table")[ids], caps), 1)
    states, last = net.trunk.gru(net.trunk.lstm(x[:, None])[0])  # (n_tokens, 1, 2H), (2, 1, H)
    pooled = torch.cat((last[0, 0], last[1, 0], states.mean(0)[0], states.amax(0)[0], all_features[row]))

    expected = net.head.output(torch.relu(net.head.dense(pooled)))

    torch.testing.assert_close(net(*make_batch([row]))[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layer", [nn.LSTM(6, 5, bidirectional=True), nn.GRU(6, 5, bidirectional=True)])
def test_recurrent_weights_start_orthogonal_gate_by_gate(layer: nn.LSTM | nn.GRU) -> None:
    """Each gate's recurrent matrix is orthogonal; biases are zero but for the LSTM's forget gate."""
    initialise_recurrent(layer)

    for gate in torch.split(layer.get_parameter("weight_hh_l0").detach(), 5):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5), rtol=0, atol=1e-5)
    bias = layer.get_parameter("bias_ih_l0").detach().reshape(-1, 5).sum(1)
    assert bias.tolist() == ([0, 5, 0, 0] if isinstance(layer, nn.LSTM) else [0, 0, 0])


def test_text_cnn_is_the_convolution_of_torch() -> None:
    """A row's pooled features are the maxima of nn.Conv1d over its tokens, zeros after its end."""
    net = make_network("textcnn").eval()
    assert isinstance(net, TextCnn)
    tokens, starts, _ = make_rows()
    row = 2
    ids = torch.from_numpy(tokens[starts[row] : starts[row + 1]]).long()
    x = torch.cat((net.vectors.table[ids], (ids % 3 == 0).double()[:, None]), 1)
    pooled = []
    for width, filters in zip(CNN_WIDTHS, net.filters, strict=True):
        weight = filters.get_parameter("weight").view(-1, x.shape[1], width)
        padded = nn.functional.pad(x.T[None], (0, width - 1))
        found = nn.functional.conv1d(padded, weight, filters.get_parameter("bias"))
        pooled.append(torch.relu(found).amax(2)[0])
    _, features = make_batch(list(range(len(LENGTHS))))

    expected = net.head(torch.cat((*pooled, features[row]))[None])

    torch.testing.assert_close(net(*make_batch([row])), expected, rtol=0, atol=1e-10)
