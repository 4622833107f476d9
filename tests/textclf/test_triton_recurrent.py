"""The GPU kernels, run by Triton's interpreter on the CPU."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.textclf.test_recurrent import Problem, largest_error
from textclf.recurrent import bigru, bilstm, set_engine

pytest.importorskip("triton", reason="Triton is not installed (it comes with torch's CUDA builds)")


@pytest.mark.parametrize("hidden", [5, 16, 24])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
def test_a_kernel_agrees_with_torchs_layers(cell: type[nn.LSTM | nn.GRU], hidden: int) -> None:
    """Outputs and all gradients, over more rows than one program holds."""
    kernels = importlib.import_module("textclf.triton_recurrent")
    set_engine("torch")
    problem = Problem([7, 1, 3, 1, 5, 2, 2, 4, 1] * 3, 6, hidden, dtype=torch.float32)
    batch, layer = problem.batch(), cell(6, hidden, bidirectional=True)
    x, weight = torch.randn(batch.n_packed, 6), torch.randn(batch.n_packed, 2 * hidden)
    found: list[list[Tensor]] = []
    expected: Any = bilstm if cell is nn.LSTM else bigru
    for run in (expected, kernels.run_layer):
        layer.zero_grad()
        own_x = x.clone().requires_grad_()
        h = run(batch, own_x, layer)
        (h * weight).sum().backward()
        parameters = [parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None]
        found.append([h.detach(), *parameters, *([own_x.grad] if own_x.grad is not None else [])])
    set_engine(None)

    assert largest_error(found[1], found[0]) < 1e-5


COMPILE = """
import json
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from textclf import triton_recurrent as kernels

def type_of(argument):
    if argument in ("steps", "alive", "step_start"):
        return "*i64"
    return {"ROWS": "constexpr", "WIDTH": "constexpr", "n_tokens": "i32", "hidden": "i32"}.get(argument, "*fp32")

sizes = {"ROWS": kernels.ROWS, "WIDTH": kernels.LARGEST_HIDDEN}
shared = {}
for name in ("lstm_forward", "lstm_backward", "gru_forward", "gru_backward"):
    kernel = getattr(kernels, name)
    source = ASTSource(fn=kernel, signature={at: type_of(at) for at in kernel.arg_names}, constexprs=sizes)
    made = compile(source, target=GPUTarget("cuda", 80, 32))
    assert made.asm["cubin"]
    shared[name] = made.metadata.shared
print(json.dumps(shared))
"""
LEAST_SHARED_MEMORY = 99 * 1024  # bytes a program may have on any GPU from compute capability 8.0 on (8.6 and 8.9)


def test_the_kernels_compile_for_a_gpu_and_fit_it(tmp_path: Path) -> None:
    """Triton's compiler makes machine code of all kernels at their largest size; none needs more than a GPU has."""
    outside = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = outside | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    assert set(shared) == {"lstm_forward", "lstm_backward", "gru_forward", "gru_backward"}
    assert 0 < max(shared.values()) <= LEAST_SHARED_MEMORY
