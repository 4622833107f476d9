"""The GPU kernels against torch's own layers."""

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.textclf.gpu import DEVICE
from tests.textclf.test_recurrent import Problem, largest_error
from textclf.ragged import RaggedBatch
from textclf.recurrent import bigru, bilstm, pool_states, set_engine

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")
layers: Any = pytest.importorskip("textclf.gpu.layers")

LENGTHS = [7, 1, 3, 1, 5, 2, 2, 4, 1] * 3  # more rows than one program holds
CELLS = (nn.LSTM, nn.GRU)


def batch_of(lengths: list[int], device: str) -> RaggedBatch:
    """Rows of these lengths, shuffled."""
    batch = Problem(lengths, 1, 1).batch()
    moved = {field.name: getattr(batch, field.name).to(device) for field in dataclasses.fields(batch)}
    return RaggedBatch(**moved)


def run_both(cell: type[nn.LSTM | nn.GRU], hidden: int, *, precision: str) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and all gradients: of our kernels, then of torch's engine in float32."""
    torch.manual_seed(0)
    layer = cell(6, hidden, bidirectional=True)
    x, weight = torch.randn(sum(LENGTHS), 6), torch.randn(sum(LENGTHS), 2 * hidden)

    def run(forward: Any, device: str) -> list[Tensor]:
        own = copy.deepcopy(layer).to(device)
        own_x = x.to(device, copy=True).requires_grad_()
        h = forward(batch_of(LENGTHS, device), own_x, own)
        (h.float() * weight.to(device)).sum().backward()
        gradients = [part.grad for part in (*own.parameters(), own_x) if part.grad is not None]
        return [h.detach().float().cpu(), *(gradient.cpu() for gradient in gradients)]

    set_engine("torch")
    found = run(lambda *of: layers.run_layer(*of, precision=precision), DEVICE)
    expected = run(bilstm if cell is nn.LSTM else bigru, "cpu")
    set_engine(None)
    return found, expected


@pytest.mark.parametrize("hidden", [5, 16, 24, 64])
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_agrees_with_torchs(cell: type[nn.LSTM | nn.GRU], hidden: int) -> None:
    """Outputs and the gradients of all parameters and of the input, in float32."""
    found, expected = run_both(cell, hidden, precision="fp32")

    assert len(found) == len(expected) == 10
    assert largest_error(found, expected) < 1e-5


@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_in_bfloat16_is_near(cell: type[nn.LSTM | nn.GRU]) -> None:
    """To the three digits that bfloat16 has, and no better: it is another arithmetic."""
    found, expected = run_both(cell, 16, precision="bf16")

    for here, there in zip(found, expected, strict=True):
        error = float((here - there).norm() / there.norm())
        assert 1e-5 < error < 0.02


def test_pools_agree_with_torchs() -> None:
    """Values and gradient, over rows longer than what a program reads at once."""
    lengths = [40, 1, 16, 17, 3]
    h, weight = torch.randn(sum(lengths), 24), torch.randn(5, 72)
    found = []
    set_engine("torch")
    for pool, device in ((layers.pool, DEVICE), (pool_states, "cpu")):
        own = h.to(device, copy=True).requires_grad_()
        pooled = pool(batch_of(lengths, device), own)
        (pooled * weight.to(device)).sum().backward()
        assert own.grad is not None
        found.append([pooled.detach().cpu(), own.grad.cpu()])
    set_engine(None)

    assert largest_error(found[0], found[1]) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
def test_without_gradients_nothing_is_kept_and_the_states_are_the_same(cell: type[nn.LSTM | nn.GRU]) -> None:
    """Evaluation runs the same arithmetic."""
    batch = batch_of(LENGTHS, DEVICE)
    layer, x = cell(6, 8, bidirectional=True).to(DEVICE), torch.randn(batch.n_packed, 6, device=DEVICE)
    learning = layers.run_layer(batch, x, layer, precision="fp32")
    with torch.inference_mode():
        evaluating = layers.run_layer(batch, x, layer, precision="fp32")
        pooled = layers.pool(batch, evaluating)

    assert torch.equal(learning, evaluating)
    assert torch.equal(pooled, layers.pool(batch, learning))


COMPILE = """
import json
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from textclf.gpu import kernels, layers

SIZES = {"ROWS": kernels.ROWS, "WIDTH": 64, "LEARNS": True, "STEPS": kernels.STEPS, "COLUMNS": 128}
KINDS = dict.fromkeys(("lengths", "order", "step_start"), "*i64") | dict.fromkeys(("n_rows", "hidden"), "i32")
KINDS["step_of_top"] = "*i32"
shared = {}
for name in ("lstm_forward", "lstm_backward", "gru_forward", "gru_backward", "pool_forward", "pool_backward"):
    kernel = getattr(kernels, name)
    sizes = {at: size for at, size in (SIZES | {"PRODUCT": PRODUCT}).items() if at in kernel.arg_names}
    signature = {at: "constexpr" if at in sizes else KINDS.get(at, "*fp32") for at in kernel.arg_names}
    made = compile(
        ASTSource(fn=kernel, signature=signature, constexprs=sizes),
        target=GPUTarget("cuda", CAPABILITY, 32),
        options={"num_warps": layers.N_WARPS},
    )
    assert made.asm["cubin"]
    shared[name] = made.metadata.shared
print(json.dumps(shared))
"""


@pytest.mark.parametrize(("capability", "product"), [(80, "tf32x3"), (90, "tf32x3"), (86, "ieee")])
def test_the_kernels_compile_for_a_gpu_and_fit_it(tmp_path: Path, capability: int, product: str) -> None:
    """Triton's compiler makes machine code of all kernels at their largest size; none needs more than a GPU has."""
    outside = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = outside | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    code = f"PRODUCT, CAPABILITY = {product!r}, {capability}\n{COMPILE}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    room = layers.ROOM_FOR_TERMS if product == "tf32x3" else 99 * 1024  # bytes; 99 kB is the least from 8.0 on
    assert len(shared) == 6
    assert 0 < max(shared.values()) <= room
