"""The loops that the engine is timed against train the same network."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.reference import PackedNet, PaddedNet
from benchmarks.workloads import synthesize
from textclf.config import RecurrentConfig
from textclf.nets import BiLstmBiGru, NetShape
from textclf.recurrent import Engine, pack, set_engine

ROWS = synthesize("quora-like", n_rows=60, median=5, spread=0.5, max_tokens=12, n_words=50, dim=8)
CONFIG = RecurrentConfig(family="bilstm_bigru", hidden_size=6, dense_size=7, caps_flag=False)
SHAPE = NetShape(table=torch.from_numpy(ROWS.words.matrix), learn_table=False, n_features=5, n_logits=1)


def losses(net: BiLstmBiGru, *, n_steps: int = 12) -> list[float]:
    """The losses of some steps from fixed weights, batches and dropout masks."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    lengths = np.diff(ROWS.rows.starts)
    ids = np.zeros((60, 12), dtype=np.int64)
    ids[np.arange(12) < lengths[:, None]] = ROWS.rows.tokens
    features = torch.from_numpy(ROWS.rows.meta).float()
    found = []
    for step in range(n_steps):
        rows = np.random.default_rng(step).permutation(60)[:17]
        if isinstance(net, PaddedNet):
            logits = net.logits(torch.from_numpy(ids[rows]), torch.from_numpy(lengths[rows]), features[rows])
        else:
            logits = net(pack(ROWS.rows.tokens, ROWS.rows.starts, rows), features[rows])
        target = torch.from_numpy(ROWS.labels[rows]).float()
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(loss.item())
    return found


def draw_as_torch(n_rows: int, n_channels: int, *, dropped: float, device: torch.device, noise: None) -> torch.Tensor:
    """Masks from torch's own dropout, which the loops use."""
    assert noise is None, "the loops draw from torch's own generator"
    return nn.functional.dropout(torch.ones(n_rows, n_channels, device=device), dropped)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_an_engine_trains_as_packed_layers_do(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From equal weights, batches and dropout masks come equal losses, step after step."""
    monkeypatch.setattr("textclf.nets.draw_mask", draw_as_torch)
    set_engine(engine)
    try:
        own = losses(BiLstmBiGru(CONFIG, SHAPE))
    finally:
        set_engine(None)

    np.testing.assert_allclose(own, losses(PackedNet(CONFIG, SHAPE)), rtol=1e-4)
    assert own[-1] < own[0]


def test_the_padded_loop_differs_by_its_pass_over_the_padding_only() -> None:
    """Rows as long as the padding have no padding: there it is the same network."""
    torch.manual_seed(1)
    padded, packed = PaddedNet(CONFIG, SHAPE).eval(), PackedNet(CONFIG, SHAPE).eval()
    packed.load_state_dict(padded.state_dict())
    ids, full = torch.randint(2, 50, (4, 12)), torch.full((4,), 12)
    features = torch.zeros(4, 5)

    torch.testing.assert_close(padded.logits(ids, full, features), packed.logits(ids, full, features))
    short = full - 3
    assert not torch.allclose(padded.logits(ids, short, features), packed.logits(ids, short, features))
