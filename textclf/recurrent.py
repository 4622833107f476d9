"""Recurrent layers over ragged batches: no padding is computed, and a row never meets its neighbours.

A batch is packed once (``pack``) into one flat sequence of tokens, and every function here works on that layout:

    batch = pack(tokens, starts, rows)
    x = embed(batch, table, channel_mask)     # (n_packed, dim)
    h = bilstm(batch, x, lstm)                # (n_packed, 2 * hidden)
    h = bigru(batch, h, gru)                  # (n_packed, 2 * hidden)
    features = pool_states(batch, h)          # (n_batch, 6 * hidden), rows in the caller's order

Weights live in ordinary ``nn.LSTM`` and ``nn.GRU`` modules, so a saved model does not depend on the engine.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from textclf import gpu, unrolled
from textclf.engine import Engine, Precision, engine_fingerprint, engine_name, native_problem, set_engine
from textclf.native import layers, rows
from textclf.native.build import Storage
from textclf.ragged import RaggedBatch, pack, unpack

__all__ = [
    "Engine",
    "Precision",
    "RaggedBatch",
    "bigru",
    "bilstm",
    "embed",
    "embed_bilstm",
    "engine_fingerprint",
    "engine_name",
    "native_problem",
    "pack",
    "pool_states",
    "set_engine",
    "unpack",
]


def embed(
    batch: RaggedBatch,
    table: Tensor,
    channel_mask: Tensor | None = None,
    *,
    caps_flag: bool = False,
    precision: Precision = "fp32",
) -> Tensor:
    """Look the tokens up, and drop whole channels per row (spatial dropout).

    table: (n_words + 2, dim), frozen or learnt
    channel_mask: (n_batch, width) of 0 and 1 / (1 - p), or None to keep all
    caps_flag: add the batch's flag of each token as the last channel
    returns: (n_packed, width), width is dim, or dim + 1 with the flag
    """
    caps = _caps(batch) if caps_flag else None
    if _is_native(table) and not (table.requires_grad and torch.is_grad_enabled()):
        mask = _checked_mask(batch, table, channel_mask, caps_flag=caps_flag)
        return rows.look_up(batch, table.contiguous(), mask, caps, storage=_storage(table, precision))
    x = nn.functional.embedding(batch.token_ids, table)
    if caps is not None:
        x = torch.cat((x, caps[:, None].to(x.dtype)), 1)
    return x if channel_mask is None else x * channel_mask[batch.row_of_token]


def bilstm(batch: RaggedBatch, x: Tensor, lstm: nn.LSTM, *, precision: Precision = "fp32") -> Tensor:
    """Run a bidirectional LSTM of one layer over every row.

    x: (n_packed, lstm.input_size)
    precision: "bf16" computes products in bfloat16, from weights and into gradients of float32
    returns: (n_packed, 2 * lstm.hidden_size), forward states beside backward states; the native engine's are
        bfloat16 under "bf16"
    """
    return _run_layer(batch, x, lstm, precision)


def embed_bilstm(
    batch: RaggedBatch,
    table: Tensor,
    channel_mask: Tensor | None,
    lstm: nn.LSTM,
    *,
    caps_flag: bool = False,
    precision: Precision = "fp32",
) -> Tensor:
    """``bilstm`` of ``embed``, faster where the table is frozen: distinct words are projected once per batch."""
    _check_layer(lstm)
    if _is_native(table) and not table.requires_grad:
        mask = _checked_mask(batch, table, channel_mask, caps_flag=caps_flag)
        caps = _caps(batch) if caps_flag else None
        states = layers.run_words(batch, table.contiguous(), mask, caps, lstm, storage=_storage(table, precision))
        if states is not None:
            return states
    x = embed(batch, table, channel_mask, caps_flag=caps_flag, precision=precision)
    return bilstm(batch, x, lstm, precision=precision)


def bigru(batch: RaggedBatch, x: Tensor, gru: nn.GRU, *, precision: Precision = "fp32") -> Tensor:
    """Run a bidirectional GRU of one layer over every row; shapes and precision as for ``bilstm``."""
    return _run_layer(batch, x, gru, precision)


def pool_states(batch: RaggedBatch, h: Tensor) -> Tensor:
    """Reduce the states of each row to [last forward | last backward | mean | max].

    h: (n_packed, 2 * hidden)
    returns: (n_batch, 6 * hidden) float32 (float64 for float64 states), rows in the caller's order
    """
    _check_tokens(batch, h)
    if _is_native(h):
        return rows.pool(batch, h)
    hidden = h.shape[1] // 2
    if gpu.runs(h.device, hidden):
        from textclf.gpu import layers as kernels

        return kernels.pool(batch, h)
    if not h.is_cuda:
        return unrolled.pool(batch, h)
    padded, mask = unpack(batch, h.float())
    mean = padded.sum(1) / batch.lengths[:, None]
    top = padded.masked_fill(~mask[:, :, None], -torch.inf).max(1).values
    return torch.cat((h[batch.last_token, :hidden], h[batch.first_token, hidden:], mean, top), 1)


def _check_layer(layer: nn.LSTM | nn.GRU) -> None:
    if (layer.num_layers, layer.bidirectional, layer.bias, layer.proj_size) != (1, True, True, 0):
        raise ValueError(f"{layer} is not a bidirectional layer with biases and no projection")


def _run_layer(batch: RaggedBatch, x: Tensor, layer: nn.LSTM | nn.GRU, precision: Precision) -> Tensor:
    _check_layer(layer)
    _check_tokens(batch, x)
    if gpu.runs(x.device, layer.hidden_size):
        from textclf.gpu import layers as kernels  # imports Triton

        return kernels.run_layer(batch, x, layer, precision=precision)
    if x.is_cuda:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            states: PackedSequence = layer(PackedSequence(x, batch.alive.cpu()))[0]
        return states.data
    if _is_native(x):
        storage = _storage(x, precision)
        return layers.run_layer(batch, x, layer, storage=storage)
    return unrolled.run_layer(batch, x, layer, low_precision=precision == "bf16")


def _checked_mask(batch: RaggedBatch, table: Tensor, mask: Tensor | None, *, caps_flag: bool) -> Tensor | None:
    """The mask as the native engine reads it, which trusts types, sizes and ids."""
    if table.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"a table of {table.dtype} is neither float32 nor float64")
    lowest, highest = (int(end) for end in batch.token_ids.aminmax())
    if lowest < 0 or highest >= len(table):
        raise IndexError(f"token ids from {lowest} to {highest} do not fit a table of {len(table)} rows")
    if mask is None:
        return None
    if mask.shape != (batch.n_rows, table.shape[1] + caps_flag):
        raise ValueError(f"a mask of {tuple(mask.shape)} does not fit {batch.n_rows} rows of {table.shape[1]} channels")
    return mask.to(table.dtype).contiguous()


def _check_tokens(batch: RaggedBatch, x: Tensor) -> None:
    if x.dim() != 2 or len(x) != batch.n_packed:
        raise ValueError(f"{tuple(x.shape)} is not one row for each of {batch.n_packed} tokens")


def _caps(batch: RaggedBatch) -> Tensor:
    if batch.caps is None:
        raise ValueError("the batch was packed without flags")
    return batch.caps


def _is_native(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and engine_name() == "native"


def _storage(tensor: Tensor, precision: Precision) -> Storage:
    return "fp64" if tensor.dtype == torch.float64 else precision
