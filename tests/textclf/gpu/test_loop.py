"""Batches of one shape and the recorded loop: equal maths, equal bits."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import make_inputs
from tests.textclf.gpu import DEVICE
from tests.textclf.test_train import Bench, config
from textclf import gpu
from textclf.crossval import FoldEvent, OofRun, cross_validate
from textclf.gpu.batches import FixedShape, fill_up, lay_out, pack_on_device, take_up
from textclf.gpu.loop import WARM_UPS, RecordedLoop
from textclf.metrics import get_metric
from textclf.ragged import RaggedBatch, pack

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")

WITHOUT_NOISE: dict[str, Any] = {"dropout": 0.0, "spatial_dropout": 0.0}
watches_steps = pytest.mark.skipif(DEVICE != "cpu", reason="looks into steps that a GPU records")
N_ROWS, MAX_TOKENS = 20, 3  # a second of the interpreter's for each step


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CPU tensors be treated as those of a GPU."""
    monkeypatch.setattr(gpu, "runs", lambda *_: True)
    monkeypatch.setenv("TEXTCLF_ENGINE", "torch")  # the native engine knows no padding


@dataclasses.dataclass(frozen=True)
class Flat:
    """Rows of random lengths."""

    tokens: torch.Tensor
    caps: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def draw(cls, n_rows: int) -> "Flat":
        """Of 1 to 9 tokens."""
        rng = np.random.default_rng(4)
        lengths = rng.integers(1, 10, n_rows)
        tokens = torch.from_numpy(rng.integers(2, 99, lengths.sum()).astype(np.int32))
        caps = torch.from_numpy(rng.integers(0, 2, lengths.sum()).astype(np.uint8))
        starts = torch.from_numpy(np.concatenate(([0], lengths.cumsum())))
        return cls(tokens.to(DEVICE), caps.to(DEVICE), starts.to(DEVICE))

    @property
    def lengths(self) -> Any:
        """(n_rows,) tokens of each row."""
        return self.starts.cpu().diff().numpy()


def fields(batch: RaggedBatch) -> dict[str, list[int]]:
    """All of a batch as numbers."""
    return {field.name: getattr(batch, field.name).tolist() for field in dataclasses.fields(batch)}


def test_a_batch_laid_out_by_the_device_is_the_one_that_numpy_packs() -> None:
    """Field by field, for rows in any order."""
    flat = Flat.draw(30)
    rows = np.random.default_rng(1).permutation(30)[:17]

    found = pack_on_device(flat.tokens, flat.caps, flat.starts, rows, flat.lengths[rows])

    assert fields(found) == fields(pack(flat.tokens.cpu(), flat.starts.cpu(), rows, caps=flat.caps.cpu()))


def test_batches_of_one_shape_hold_the_rows_and_what_fills_them_up() -> None:
    """Padding rows have one padding token each; padding positions belong to the last row; the rest is as packed."""
    flat = Flat.draw(30)
    order = np.random.default_rng(1).permutation(30)
    shape = FixedShape.of(flat.lengths, [order], 8)
    filled = fill_up(order, shape)
    place = {"n_packed": shape.n_packed, "longest": shape.longest}
    lines = lay_out(flat.tokens, flat.caps, flat.starts, torch.from_numpy(filled).to(DEVICE), **place)

    assert filled.shape == (4, 9)
    assert [row for row in filled.ravel() if row >= 0] == order.tolist()
    for number, line in enumerate(lines):
        laid_out = take_up(line, n_rows=9, **place)
        batch, real = laid_out.batch, order[8 * number : 8 * number + 8]
        packed = pack(flat.tokens.cpu(), flat.starts.cpu(), real)
        n_padding, n_tokens = 9 - len(real), int(batch.step_start[-1])
        assert laid_out.rows[: len(real)].tolist() == real.tolist()
        assert batch.lengths.tolist() == packed.lengths.tolist() + [1] * n_padding
        assert n_tokens == packed.n_packed + n_padding
        assert (batch.row_of_token[n_tokens:] == 8).all()
        assert (batch.token_ids[n_tokens:] == 0).all()
        of_row = {row: batch.token_ids[:n_tokens][batch.row_of_token[:n_tokens] == row].tolist() for row in range(9)}
        for row in range(9):
            if row < len(real):
                begin, end = flat.starts[real[row]], flat.starts[real[row] + 1]
                assert of_row[row] == flat.tokens[begin:end].tolist()
            else:
                assert of_row[row] == [0]


def test_the_shape_is_the_least_that_every_batch_fits_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """By brute force over all batches; 30 rows in batches of 8 leave two places of the last one empty."""
    monkeypatch.setattr("textclf.gpu.batches.POSITIONS", 1)
    flat = Flat.draw(30)
    orders = [np.random.default_rng(seed).permutation(30) for seed in range(3)]
    shape = FixedShape.of(flat.lengths, orders, 8)
    sizes = [
        int(flat.lengths[order[begin : begin + 8]].sum()) + 9 - len(order[begin : begin + 8])
        for order in orders
        for begin in range(0, 30, 8)
    ]

    assert (shape.n_rows, shape.n_packed, shape.longest) == (9, max(sizes), 9)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("binary", {}),
        ("multiclass", {"ema_decay": 0.7}),
        ("multilabel", {"caps_flag": False, "trainable_embeddings": True, "batch_size": 99}),  # one batch
    ],
)
def test_steps_of_one_shape_train_as_the_plain_loop_does(
    kind: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, equal losses and predictions: rows of padding weigh nothing, rates and averages are the same."""
    bench = Bench(kind, n_rows=N_ROWS, max_tokens=MAX_TOKENS, device=DEVICE)
    settings = {"batch_size": 8, **WITHOUT_NOISE, **changes}
    recorded = bench.fit(**settings)
    monkeypatch.setattr("textclf.train.is_recordable", lambda *_: False)
    plain = bench.fit(**settings)

    assert recorded.train_loss == pytest.approx(plain.train_loss, rel=1e-5)
    np.testing.assert_allclose(recorded.predict(bench.train), plain.predict(bench.train), atol=1e-5)


@watches_steps
@pytest.mark.usefixtures("kernels")
def test_warming_up_takes_the_first_step_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an epoch is one batch there is no second line to read."""
    steps: list[tuple[int, int]] = []

    class Watched(RecordedLoop):
        def _fixed_step(self) -> None:
            steps.append((int(self.line_number), int(self.step_number)))
            super()._fixed_step()

        def begin(self, orders: list[Any]) -> None:
            super().begin(orders)
            self._warm_up()

    monkeypatch.setattr("textclf.gpu.loop.RecordedLoop", Watched)
    Bench(n_rows=N_ROWS, max_tokens=MAX_TOKENS).fit(batch_size=99, n_epochs=1, **WITHOUT_NOISE)

    assert steps == [(0, 0)] * (WARM_UPS + 1)


@watches_steps
@pytest.mark.usefixtures("kernels")
def test_what_reads_the_weights_waits_for_the_epochs_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the turn of an epoch is over, so that other fits' turns are not held up, and before the loss is read."""
    happened: list[str] = []

    class Watched(RecordedLoop):
        def train_epoch(self, order: Any) -> torch.Tensor:
            happened.append("train")
            return super().train_epoch(order)

        def catch_up(self) -> None:
            self.stream = FakeStream("own")  # type: ignore[assignment]
            super().catch_up()
            self.stream = None

    class FakeStream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: "FakeStream") -> None:
            happened.append(f"{self.name} waits for {other.name}")

    monkeypatch.setattr("textclf.gpu.loop.RecordedLoop", Watched)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: FakeStream("default"))
    bench = Bench(n_rows=N_ROWS, max_tokens=MAX_TOKENS)
    bench.how = dataclasses.replace(bench.how, on_epoch=lambda *_: happened.append("tell"))
    bench.fit(batch_size=99, n_epochs=2, **WITHOUT_NOISE)

    assert happened == ["train", "default waits for own", "tell", "train", "default waits for own"]


@pytest.mark.usefixtures("kernels")
def test_folds_side_by_side_are_the_folds_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, dropout and all, and the outside hears the same in the same order."""
    inputs = make_inputs(n_rows=N_ROWS, n_folds=2)

    def run(fits_at_once: int, **changes: Any) -> tuple[OofRun, list[tuple[int, int, float]]]:
        told: list[FoldEvent] = []
        settings = config(max_tokens=MAX_TOKENS, batch_size=6, **{"dropout": 0.3, "spatial_dropout": 0.3, **changes})
        metric = get_metric("roc_auc", inputs.task)
        monkeypatch.setattr("textclf.crossval.fits_at_once", lambda *_: fits_at_once)
        oof_run = cross_validate(inputs, settings, metric=metric, seed=1, device=DEVICE, on_event=told.append)
        return oof_run, [(event.point.fold, event.point.epoch, event.point.valid_loss) for event in told]

    alone, told_alone = run(1)
    beside, told_beside = run(2)
    with_other_noise, _ = run(2, dropout=0.2)

    assert np.array_equal(alone.oof, beside.oof)
    assert np.array_equal(alone.test_proba, beside.test_proba)
    assert told_alone == told_beside
    assert not np.array_equal(alone.oof, with_other_noise.oof)
