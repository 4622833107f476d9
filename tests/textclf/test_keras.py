"""The Keras ancestor of the network of record, against Keras 3 itself."""

import os

import numpy as np
import pytest
import torch

from textclf.config import RecurrentConfig
from textclf.nets import BiLstmBiGruKeras, NetShape
from textclf.recurrent import pack

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

DIM, HIDDEN, N_FEATURES, N_TOKENS, N_ROWS = 6, 5, 3, 8, 4


def keras_weights(layer: torch.nn.LSTM | torch.nn.GRU, suffix: str) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias in Keras' gate order.

    torch orders the LSTM i, f, g, o, as Keras does; its GRU r, z, n, where Keras has z, r, h. Keras adds the LSTM's two
    biases up and keeps the GRU's apart (reset_after).
    """
    named = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
    parts = [named[f"{part}_l0{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    if isinstance(layer, torch.nn.LSTM):
        return [parts[0].T, parts[1].T, parts[2] + parts[3]]
    order = np.r_[HIDDEN : 2 * HIDDEN, 0:HIDDEN, 2 * HIDDEN : 3 * HIDDEN]
    return [parts[0][order].T, parts[1][order].T, np.stack([parts[2][order], parts[3][order]])]


@pytest.mark.slow
def test_copied_weights_give_the_outputs_of_keras() -> None:
    """Gate order, GRU reset convention, states and pools agree to 1e-5 on rows of full length."""
    config = RecurrentConfig(
        family="bilstm_bigru_keras", hidden_size=HIDDEN, dense_size=7, caps_flag=False, dropout=0.0, spatial_dropout=0.0
    )
    torch.manual_seed(0)
    table = torch.randn(12, DIM)
    net = BiLstmBiGruKeras(config, NetShape(table=table, learn_table=False, n_features=N_FEATURES, n_logits=1)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    lstm, gru = net.trunk.lstm, net.trunk.gru

    words = keras.Input((N_TOKENS, DIM))
    features = keras.Input((N_FEATURES,))
    first = keras.layers.Bidirectional(keras.layers.LSTM(HIDDEN, return_sequences=True))
    second = keras.layers.Bidirectional(keras.layers.GRU(HIDDEN, return_sequences=True, return_state=True))
    states, forward_state, _backward_state = second(first(words))
    pooled = keras.layers.concatenate(
        [
            forward_state,
            keras.layers.GlobalAveragePooling1D()(states),
            keras.layers.GlobalMaxPooling1D()(states),
            features,
        ]
    )
    dense, output = keras.layers.Dense(7, activation="relu"), keras.layers.Dense(1)
    model = keras.Model([words, features], output(dense(pooled)))
    first.set_weights(keras_weights(lstm, "") + keras_weights(lstm, "_reverse"))
    second.set_weights(keras_weights(gru, "") + keras_weights(gru, "_reverse"))
    for layer, ours in ((dense, net.head.dense), (output, net.head.output)):
        layer.set_weights([ours.weight.detach().numpy().T, ours.bias.detach().numpy()])

    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 12, N_ROWS * N_TOKENS).astype(np.int32)
    starts = np.arange(N_ROWS + 1) * N_TOKENS
    beside = rng.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32)
    with torch.no_grad():
        ours = net(pack(tokens, starts, np.arange(N_ROWS)), torch.from_numpy(beside)).numpy()
    theirs = model.predict([table[tokens].numpy().reshape(N_ROWS, N_TOKENS, DIM), beside], verbose=0)

    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.ptp(theirs) > 0.01
