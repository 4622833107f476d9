"""Batches of one shape and the recorded loop, with the kernels in Triton's interpreter: equal maths, equal bits."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import make_inputs
from tests.textclf.test_train import Bench, config
from textclf import gpu
from textclf.config import RecurrentConfig
from textclf.crossval import FoldEvent, OofRun, cross_validate
from textclf.gpu.batches import FixedShape, fill_up, lay_out, pack_on_device, take_up
from textclf.metrics import get_metric
from textclf.ragged import RaggedBatch, pack

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")

WITHOUT_NOISE: dict[str, Any] = {"dropout": 0.0, "spatial_dropout": 0.0}


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
        return cls(tokens, caps, torch.from_numpy(np.concatenate(([0], lengths.cumsum()))))

    @property
    def lengths(self) -> Any:
        """(n_rows,) tokens of each row."""
        return self.starts.diff().numpy()


def fields(batch: RaggedBatch) -> dict[str, list[int]]:
    """All of a batch as numbers."""
    return {field.name: getattr(batch, field.name).tolist() for field in dataclasses.fields(batch)}


def test_a_batch_laid_out_by_the_device_is_the_one_that_numpy_packs() -> None:
    """Field by field, for rows in any order."""
    flat = Flat.draw(30)
    rows = np.random.default_rng(1).permutation(30)[:17]

    found = pack_on_device(flat.tokens, flat.caps, flat.starts, rows, flat.lengths[rows])

    assert fields(found) == fields(pack(flat.tokens, flat.starts, rows, caps=flat.caps))


def test_batches_of_one_shape_hold_the_rows_and_what_fills_them_up() -> None:
    """Padding rows have one padding token each; padding positions belong to the last row; the rest is as packed."""
    flat = Flat.draw(30)
    order = np.random.default_rng(1).permutation(30)
    shape = FixedShape.of(flat.lengths, [order], 8)
    filled = fill_up(order, shape)
    place = {"n_packed": shape.n_packed, "longest": shape.longest}
    lines = lay_out(flat.tokens, flat.caps, flat.starts, torch.from_numpy(filled), **place)

    assert filled.shape == (4, 9)
    assert [row for row in filled.ravel() if row >= 0] == order.tolist()
    for number, line in enumerate(lines):
        laid_out = take_up(line, n_rows=9, **place)
        batch, real = laid_out.batch, order[8 * number : 8 * number + 8]
        packed = pack(flat.tokens, flat.starts, real)
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
@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.7}, {"caps_flag": False, "trainable_embeddings": True}])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_steps_of_one_shape_train_as_the_plain_loop_does(
    kind: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, equal losses and predictions: rows of padding weigh nothing, rates and averages are the same."""
    bench = Bench(kind)
    recorded = bench.fit(**WITHOUT_NOISE, **changes)
    monkeypatch.setattr("textclf.train.is_recordable", lambda *_: False)
    plain = bench.fit(**WITHOUT_NOISE, **changes)

    assert recorded.train_loss == pytest.approx(plain.train_loss, rel=1e-5)
    np.testing.assert_allclose(recorded.predict(bench.train), plain.predict(bench.train), atol=1e-5)


def run(settings: RecurrentConfig, events: list[FoldEvent], **options: Any) -> OofRun:
    """Cross-validate a small study."""
    inputs = make_inputs(n_rows=60)
    metric = get_metric("roc_auc", inputs.task)
    return cross_validate(inputs, settings, metric=metric, seed=1, on_event=events.append, **options)


@pytest.mark.usefixtures("kernels")
def test_folds_side_by_side_are_the_folds_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, dropout and all, and the outside hears the same in the same order."""
    alone: list[FoldEvent] = []
    beside: list[FoldEvent] = []
    settings = config(dropout=0.3, spatial_dropout=0.3)
    first = run(settings, alone)
    monkeypatch.setattr("textclf.crossval.fits_at_once", lambda *_: 3)
    second = run(settings, beside)

    assert np.array_equal(first.oof, second.oof)
    assert np.array_equal(first.test_proba, second.test_proba)
    told = [[(event.point.fold, event.point.epoch, event.point.valid_loss) for event in of] for of in (alone, beside)]
    assert told[0] == told[1]
    assert not np.array_equal(first.oof, run(config(dropout=0.2, spatial_dropout=0.3), []).oof)
