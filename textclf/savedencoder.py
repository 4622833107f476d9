"""Keep the encoders of a trial: weights, the architecture's configuration, and the tokenizer's files."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textclf.config import EncoderConfig, Task
from textclf.determinism import seeded
from textclf.encoder import Checkpoint, EncoderNet, FittedEncoder, PieceRows, cut_pieces, load_pretrained
from textclf.inputs import Inputs
from textclf.protocols import FitTask, Restored
from textclf.table import Table
from textclf.tensors import read_tensors, write_tensors


class EncoderKeeper:
    """See Keeper. A frozen encoder is the same in every fold and lies in the folder once."""

    def save(
        self, fits: Sequence[FittedEncoder], *, inputs: Inputs, config: EncoderConfig, folder: Path
    ) -> dict[str, Any]:
        """See Keeper."""
        del inputs  # the tokenizer knows the words
        tokenizer = load_pretrained("AutoTokenizer", config.checkpoint)
        architecture: Any = fits[0].net.encoder.config
        return {
            "tokenizer": _write_files(folder, tokenizer.save_pretrained),
            "architecture": _write_files(folder, architecture.save_pretrained),
            "padding": fits[0].how.shared.padding,
            "fits": [
                {
                    "encoder": write_tensors(folder, fit.net.encoder.state_dict()),
                    "output": write_tensors(folder, fit.net.output.state_dict()),
                }
                for fit in fits
            ],
        }

    def restore(
        self, record: dict[str, Any], *, task: Task, config: EncoderConfig, folder: Path, device: str
    ) -> Restored:
        """See Keeper."""
        tokenizer = _read_files(folder, record["tokenizer"], lambda path: load_pretrained("AutoTokenizer", path))
        architecture = _read_files(folder, record["architecture"], lambda path: load_pretrained("AutoConfig", path))
        how = FitTask(
            task=task,
            seed=0,
            device=device,
            shared=Checkpoint(path="", padding=record["padding"]),
            on_epoch=lambda *_: None,
        )

        def read(table: Table) -> PieceRows:
            return cut_pieces(table.texts, tokenizer, config)

        def restore_fit(kept: dict[str, Any]) -> FittedEncoder:
            import transformers

            with seeded(0, device=device):  # leaves the caller's generator alone
                net = EncoderNet(transformers.AutoModel.from_config(architecture), config, task)
            net.encoder.load_state_dict(read_tensors(folder, kept["encoder"]))
            net.output.load_state_dict(read_tensors(folder, kept["output"]))
            return FittedEncoder(net.to(device), how)

        return Restored(read=read, predicts=tuple(restore_fit(kept).predict for kept in record["fits"]))


def _write_files(folder: Path, save: Callable[[str], Any]) -> str:
    """Keep the files that a function writes to a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        save(scratch)
        files = {
            path.name: np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in sorted(Path(scratch).iterdir())
        }
        return write_tensors(folder, files)


def _read_files(folder: Path, name: str, load: Callable[[str], Any]) -> Any:
    """What a function reads from a folder of the kept files."""
    with tempfile.TemporaryDirectory() as scratch:
        for file, content in read_tensors(folder, name).items():
            (Path(scratch) / Path(file).name).write_bytes(content.numpy().tobytes())
        return load(scratch)
