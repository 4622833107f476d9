"""Keep the networks of a trial: weights, the words that its folds tell apart, and the scaling of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textclf.arrays import IntArray
from textclf.config import NetConfig, Task
from textclf.determinism import seeded
from textclf.encode import N_SPECIAL, Encoded, Lexicon, encode_new
from textclf.features import FeatureScaler
from textclf.inputs import Inputs
from textclf.nets import NetworkFactory, TokenVectors
from textclf.protocols import Restored
from textclf.table import Table
from textclf.tensors import pack_strings, read_tensors, unpack_strings, write_tensors
from textclf.train import FittedNets, RowReader


@dataclass(frozen=True, slots=True)
class NetKeeper:
    """See Keeper.

    Of the study's words those are kept that at least one fold tells apart; to a fold model every other word, met in the
    study or not, is the unknown word, as it was in the study.
    """

    network: NetworkFactory

    def save(self, fits: Sequence[FittedNets], *, inputs: Inputs, config: NetConfig, folder: Path) -> dict[str, Any]:
        """See Keeper."""
        words = inputs.encoding(config.cleaning, config.max_tokens).lexicon.words
        kept = _kept_tokens(fits)
        reader = fits[0].reader  # the folds share one table: it is learned from no row
        return {
            "words": write_tensors(folder, pack_strings([words[token - N_SPECIAL] for token in kept[N_SPECIAL:]])),
            "table": None if reader.learns_table(config) else write_tensors(folder, {"table": reader.table[kept]}),
            "dim": reader.table.shape[1],
            "fits": [_save_fit(fit, kept, folder) for fit in fits],
        }

    def restore(self, record: dict[str, Any], *, task: Task, config: NetConfig, folder: Path, device: str) -> Restored:
        """See Keeper."""
        lexicon = Lexicon(words=unpack_strings(read_tensors(folder, record["words"])))
        if record["table"] is None:
            table = torch.zeros(len(lexicon) + N_SPECIAL, record["dim"])
        else:
            table = read_tensors(folder, record["table"])["table"]
        table = table.to(device)

        def read(rows: Table) -> Encoded:
            return encode_new(rows, lexicon, cleaning=config.cleaning, max_tokens=config.max_tokens)

        def restore_fit(kept: dict[str, Any]) -> FittedNets:
            vocabulary = read_tensors(folder, kept["vocabulary"])["vocabulary"].numpy()
            scaler = FeatureScaler.from_record(kept["scaler"])
            pretrained = record["table"] is not None
            fitted = FittedNets(RowReader(task, device, vocabulary, scaler, table, pretrained))
            for weights in kept["weights"]:
                with seeded(0, device=device):  # leaves the caller's generator alone
                    net = fitted.reader.build(self.network, config)
                net.load_state_dict(read_tensors(folder, weights))
                fitted.nets.append(net)
            return fitted

        return Restored(read=read, predicts=tuple(restore_fit(kept).predict for kept in record["fits"]))


def _kept_tokens(fits: Sequence[FittedNets]) -> IntArray:
    """Ids of the tokens that some fold tells apart, rising, padding and unknown among them."""
    ids = np.arange(len(fits[0].reader.vocabulary))
    return np.flatnonzero(np.any([fit.reader.vocabulary == ids for fit in fits], axis=0))


def _save_fit(fit: FittedNets, kept: IntArray, folder: Path) -> dict[str, Any]:
    known = fit.reader.vocabulary[kept] == kept
    vocabulary = np.where(known, np.arange(len(kept)), 1).astype(np.int32)
    return {
        "vocabulary": write_tensors(folder, {"vocabulary": vocabulary}),
        "scaler": fit.reader.scaler.record(),
        "weights": [write_tensors(folder, _weights(net, kept)) for net in fit.nets],
    }


def _weights(net: nn.Module, kept: IntArray) -> dict[str, Tensor]:
    """A network's state, of learned word vectors the kept rows."""
    state = net.state_dict()
    for name, module in net.named_modules():
        if isinstance(module, TokenVectors) and f"{name}.table" in state:
            state[f"{name}.table"] = state[f"{name}.table"][torch.from_numpy(kept)]
    return state
