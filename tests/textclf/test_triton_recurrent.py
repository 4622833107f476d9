"""The GPU kernels, run by Triton's interpreter on the CPU."""

import importlib
import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.textclf.test_recurrent import Problem, largest_error
from textclf.recurrent import bigru, bilstm, set_engine

os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is first imported
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
