"""The epoch loop: learning rate, clipping, averaging, seeds, and short GPU memory."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.builders import make_inputs
from textclf.config import RecurrentConfig
from textclf.encode import Encoded
from textclf.loop import EpochLoop, mean_loss
from textclf.nets import BiLstmBiGru
from textclf.protocols import FitTask, Prepared
from textclf.train import FittedNets, RowReader, fit, prepare, targets_of


def config(**changes: Any) -> RecurrentConfig:
    """A network that trains in a moment."""
    options = {"hidden_size": 4, "dense_size": 4, "batch_size": 16, "n_epochs": 2, **changes}
    return RecurrentConfig(family="bilstm_bigru", **options)


class Bench:
    """A toy study's rows, ready to be fitted."""

    def __init__(self, kind: str = "binary", *, n_rows: int = 60, max_tokens: int = 200, device: str = "cpu") -> None:
        self.inputs = make_inputs(kind, n_rows=n_rows)
        self.prepared: Prepared = prepare(self.inputs, config(max_tokens=max_tokens))
        self.how = FitTask(
            task=self.inputs.task, seed=3, device=device, shared=self.prepared.shared, on_epoch=lambda *_: None
        )

    def fit(self, **changes: Any) -> FittedNets:
        """Fit on all rows."""
        return fit(self.prepared.train, self.inputs.labels, config(**changes), how=self.how, network=BiLstmBiGru)

    def loop(self, **changes: Any) -> EpochLoop:
        """A loop that has not begun."""
        reader = RowReader.learn(self.prepared.train, config(**changes), self.how)
        torch.manual_seed(1)
        net = reader.build(BiLstmBiGru, config(**changes))
        targets = targets_of(self.inputs.labels, self.inputs.task, "cpu")
        return EpochLoop(net, reader.read(self.prepared.train), targets, config(**changes), FittedNets(reader))

    @property
    def train(self) -> Encoded:
        """The training rows."""
        rows: Encoded = self.prepared.train
        return rows


def test_learning_rate_cycles_between_its_bounds_and_momentum_stays() -> None:
    """Every step's rate is that of Smith's exp_range formula; beta1 of Adam never moves."""
    loop = Bench().loop(lr_min=0.001, lr_max=0.009, lr_decay=0.5, cycle_epochs=1.0, n_epochs=3)
    steps_per_epoch, n_steps = 4, 12
    half = steps_per_epoch / 2

    for step in range(n_steps):
        cycle = np.floor(1 + step / (2 * half))
        height = max(0.0, 1 - abs(step / half - 2 * cycle + 1))
        expected = 0.001 + 0.008 * height * 0.5 ** (step / n_steps)
        assert loop.optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        assert loop.optimizer.param_groups[0]["betas"] == (0.9, 0.999)
        loop.update(np.arange(16))
        loop.scheduler.step()


def test_a_cycle_completes_on_small_data() -> None:
    """The cycle is tied to the steps of an epoch: with one step per epoch the rate still moves."""
    loop = Bench().loop(batch_size=60, cycle_epochs=2.0, n_epochs=4)
    rates = []
    for _ in range(4):
        rates.append(loop.optimizer.param_groups[0]["lr"])
        loop.update(np.arange(60))
        loop.scheduler.step()

    assert max(rates) > 2 * min(rates)


def test_loss_is_a_mean_over_rows() -> None:
    """The loss of a batch is that of the batch repeated: clipping means the same for every batch size."""
    logits = torch.randn(5, 3)
    classes, labels = torch.tensor([0, 1, 2, 1, 0]), torch.randint(0, 2, (5, 3)).float()

    for targets in (classes, labels):
        twice = torch.cat((targets, targets))
        torch.testing.assert_close(mean_loss(torch.cat((logits, logits)), twice), mean_loss(logits, targets))


def test_gradients_are_clipped_to_the_norm() -> None:
    """After an update the gradient's L2 norm is at most clip_norm, and it was above before."""

    def norm(loop: EpochLoop) -> float:
        loop.update(np.arange(16))
        return float(torch.cat([p.grad.flatten() for p in loop.net.parameters() if p.grad is not None]).norm())

    bench = Bench()

    assert norm(bench.loop(clip_norm=1e9)) > 0.01
    assert norm(bench.loop(clip_norm=0.01)) == pytest.approx(0.01, rel=1e-3)


def test_probabilities_of_several_seeds_are_averaged() -> None:
    """n_seeds networks differ, and the prediction is their mean."""
    bench = Bench()
    fitted = bench.fit(n_seeds=2)
    both = fitted.predict(bench.train)
    nets = list(fitted.nets)
    apart = []
    for net in nets:
        fitted.nets = [net]
        apart.append(fitted.predict(bench.train))

    np.testing.assert_allclose(both, (apart[0] + apart[1]) / 2, atol=1e-12)
    assert not np.allclose(apart[0], apart[1])


def test_moving_average_of_weights_is_what_predicts() -> None:
    """With ema_decay the prediction comes from averaged weights: decay * old + (1 - decay) * new, by hand."""
    loop = Bench().loop(ema_decay=0.5, batch_size=16)
    assert loop.average is not None
    name, _ = next(iter(loop.net.named_parameters()))
    history = []
    for step in range(3):
        loop.train_epoch(np.arange(16 * step, 16 * step + 16))
        history.append(loop.net.get_parameter(name).detach().clone())

    by_hand = history[0]
    for weights in history[1:]:
        by_hand = 0.5 * by_hand + 0.5 * weights
    torch.testing.assert_close(loop.average.get_parameter(name), by_hand)
    frozen = [dict(net.named_buffers())["trunk.vectors.table"].data_ptr() for net in (loop.average, loop.net)]
    assert frozen[0] == frozen[1]  # a step does not copy what it cannot change


class ShortMemory(nn.Module):
    """A network on a device with room for a few rows at a time."""

    def __init__(self, net: nn.Module, room: int) -> None:
        super().__init__()
        self.net, self.room = net, room

    def forward(self, batch: Any, features: torch.Tensor) -> torch.Tensor:
        """Run, or be out of memory as CUDA is."""
        if batch.n_rows > self.room:
            raise torch.cuda.OutOfMemoryError("no room")
        return self.net(batch, features)


def test_short_gpu_memory_keeps_the_same_update() -> None:
    """A batch that does not fit is trained in pieces; the weights after the step agree, and the record says so."""
    bench = Bench()
    plain, short = bench.loop(dropout=0.0, spatial_dropout=0.0), bench.loop(dropout=0.0, spatial_dropout=0.0)
    short.net = ShortMemory(short.net, room=5)
    plain.update(np.arange(16))
    short.update(np.arange(16))

    assert isinstance(short.net, ShortMemory)
    for here, there in zip(plain.net.parameters(), short.net.net.parameters(), strict=True):
        torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-4)
    assert short.fitted.notes == (
        "GPU memory was short: batches were trained in 2 pieces",
        "GPU memory was short: batches were trained in 4 pieces",
    )


def test_short_gpu_memory_shrinks_evaluation() -> None:
    """Prediction halves its chunks until they fit, and gives the same probabilities."""
    bench = Bench()
    fitted = bench.fit()
    expected = fitted.predict(bench.train)
    fitted.nets = [ShortMemory(net, room=20) for net in fitted.nets]

    np.testing.assert_allclose(fitted.predict(bench.train), expected, atol=1e-6)
    assert any("evaluated in batches of 16 rows" in note for note in fitted.notes)


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    """There is an end to halving."""
    bench = Bench()
    loop = bench.loop()
    loop.net = ShortMemory(loop.net, room=0)

    with pytest.raises(torch.cuda.OutOfMemoryError):
        loop.update(np.arange(16))


def test_embeddings_learn_only_when_told() -> None:
    """A frozen table is no parameter; a trainable one moves, and the study's own table stays as it was."""
    bench = Bench()
    before = np.array(bench.prepared.shared.matrix)
    frozen, learned = bench.fit(), bench.fit(trainable_embeddings=True)

    assert learned.n_parameters - frozen.n_parameters == before.size
    moved = learned.nets[0].get_parameter("trunk.vectors.table").detach().numpy()
    assert not np.allclose(moved, before)
    np.testing.assert_array_equal(bench.prepared.shared.matrix, before)


def test_without_an_embedding_file_the_table_is_learned() -> None:
    """Random vectors that never learn would be noise."""
    bench = Bench()
    bench.inputs = dataclasses.replace(bench.inputs, vectors=())
    bench.prepared = prepare(bench.inputs, config())
    bench.how = dataclasses.replace(bench.how, shared=bench.prepared.shared)

    learned = {name for name, _ in bench.fit(n_epochs=1).nets[0].named_parameters()}

    assert "trunk.vectors.table" in learned


def test_predict_of_no_rows_is_empty() -> None:
    """A study without hold-out rows asks for none."""
    bench = Bench("multiclass")

    assert bench.fit(n_epochs=1).predict(bench.prepared.holdout).shape == (0, 3)
