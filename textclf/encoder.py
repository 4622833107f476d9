"""The encoder family: a transformer checkpoint, frozen with a head or fine-tuned (extra: transformers)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textclf.arrays import BoolArray, FloatArray, IntArray
from textclf.config import EncoderConfig, Task
from textclf.determinism import derive_seed, one_thread, seeded
from textclf.errors import ConfigError
from textclf.inputs import Inputs
from textclf.loop import batches, mean_loss
from textclf.protocols import DivergedError, FitTask, Prepared
from textclf.text import make_cleaner
from textclf.train import logits_to_proba, targets_of

EVALUATION_ROWS = 64
HEAD_RATE = 1e-3  # of the head; a frozen encoder has nothing else to learn
WARM_UP = 0.1  # share of the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceRows:
    """Rows as word-piece ids, one list per row, special tokens included."""

    pieces: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.pieces)

    def rows(self, selected: BoolArray | IntArray) -> "PieceRows":
        """Choose rows by mask or index."""
        return PieceRows(pieces=tuple(self.pieces[row] for row in np.arange(len(self))[selected]))

    def join(self, others: "PieceRows") -> "PieceRows":
        """These rows, then others of the same study."""
        return PieceRows(pieces=self.pieces + others.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where the encoder comes from, and the id that pads."""

    path: str
    padding: int


def prepare(inputs: Inputs, config: EncoderConfig) -> Prepared:
    """Word pieces of all rows under the checkpoint's own tokenizer; nothing is learned."""
    tokenizer = load_pretrained("AutoTokenizer", config.checkpoint)
    return Prepared(
        train=cut_pieces(inputs.train.texts, tokenizer, config),
        test=cut_pieces(inputs.test.texts, tokenizer, config),
        holdout=cut_pieces(inputs.holdout.texts, tokenizer, config),
        shared=Checkpoint(path=config.checkpoint, padding=int(tokenizer.pad_token_id or 0)),
    )


def cut_pieces(texts: Sequence[str], tokenizer: Any, config: EncoderConfig) -> PieceRows:
    """Clean texts and cut them into word pieces."""
    if not texts:
        return PieceRows(pieces=())
    clean = make_cleaner(config.cleaning)
    made = tokenizer([clean(text) for text in texts], truncation=True, max_length=config.max_tokens)
    return PieceRows(pieces=tuple(tuple(ids) for ids in made["input_ids"]))


def fit(rows: PieceRows, labels: IntArray, config: EncoderConfig, *, how: FitTask) -> "FittedEncoder":
    """Train a linear head on the mean of the last layer, and with fine_tune the encoder too (AdamW, linear decay)."""
    targets = targets_of(labels, how.task, how.device)
    with seeded(how.seed, device=how.device):
        with one_thread():
            net = EncoderNet(load_pretrained("AutoModel", how.shared.path), config, how.task).to(how.device)
        fitted = FittedEncoder(net, how)
        steps = math.ceil(len(rows) / config.batch_size) * config.n_epochs
        optimizer = torch.optim.AdamW(net.groups(config), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / max(1, WARM_UP * steps), (steps - step) / steps)
        )
        order = np.random.default_rng(derive_seed(how.seed, 1))
        for epoch in range(config.n_epochs):
            net.train()
            total = 0.0
            for batch in batches(order.permutation(len(rows)), config.batch_size):
                loss = mean_loss(net(*pad(rows, batch, how)), targets[torch.from_numpy(batch)])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(batch)
            fitted.train_loss = total / len(rows)
            if not math.isfinite(fitted.train_loss):
                raise DivergedError(f"the training loss became {fitted.train_loss} in epoch {epoch + 1}")
            if epoch < config.n_epochs - 1:
                how.on_epoch(epoch, fitted.train_loss, fitted.predict)
    return fitted


class EncoderNet(nn.Module):
    """An encoder and a linear head on the mean of its last states."""

    def __init__(self, encoder: nn.Module, config: EncoderConfig, task: Task) -> None:
        super().__init__()
        self.encoder = encoder
        self.fine_tune = config.fine_tune
        if not config.fine_tune:
            encoder.requires_grad_(requires_grad=False)
        width: Any = encoder.config
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(int(width.hidden_size), 1 if task.kind == "binary" else task.n_outputs)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (n_batch, longest) int64 -> (n_batch, n_logits)."""
        if not self.fine_tune:
            self.encoder.eval()  # a frozen encoder keeps no dropout of its own
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask[..., None].to(states.dtype)
        return self.output(self.dropout((states * kept).sum(1) / kept.sum(1)))

    def groups(self, config: EncoderConfig) -> list[dict[str, Any]]:
        """Parameter groups: the head at its own rate, the encoder at lr_max when it learns."""
        groups: list[dict[str, Any]] = [{"params": list(self.output.parameters()), "lr": HEAD_RATE}]
        if config.fine_tune:
            groups.append({"params": list(self.encoder.parameters()), "lr": config.lr_max})
        return groups


class FittedEncoder:
    """The fine-tuned or headed encoder of one fold."""

    def __init__(self, net: EncoderNet, how: FitTask) -> None:
        self.net, self.how = net, how
        self.train_loss = math.nan
        self.notes: tuple[str, ...] = ()

    @property
    def n_parameters(self) -> int:
        """Learned numbers."""
        return sum(p.numel() for p in self.net.parameters() if p.requires_grad)

    def predict(self, rows: PieceRows) -> FloatArray:
        """(n_rows, n_outputs) float64, in the order of the rows."""
        if not len(rows):
            return np.zeros((0, self.how.task.n_outputs))
        self.net.eval()
        by_length = np.argsort([-len(ids) for ids in rows.pieces], kind="stable")
        with torch.inference_mode():
            logits = torch.cat([self.net(*pad(rows, part, self.how)) for part in batches(by_length, EVALUATION_ROWS)])
            back = torch.from_numpy(np.argsort(by_length, kind="stable"))
            return logits_to_proba(logits.cpu()[back], self.how.task)


def pad(rows: PieceRows, chosen: IntArray, how: FitTask) -> tuple[Tensor, Tensor]:
    """Ids and mask of the chosen rows, (n_batch, longest) int64, padded at the end."""
    lengths = [len(rows.pieces[row]) for row in chosen]
    ids = np.full((len(chosen), max(lengths)), how.shared.padding, dtype=np.int64)
    for place, row in enumerate(chosen):
        ids[place, : lengths[place]] = rows.pieces[row]
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return torch.from_numpy(ids).to(how.device), torch.from_numpy(mask.astype(np.int64)).to(how.device)


def load_pretrained(kind: str, checkpoint: str) -> Any:
    """Load from a folder or the local hub cache: no network, no code from the checkpoint, safetensors only."""
    try:
        import transformers
    except ModuleNotFoundError:
        raise ConfigError(
            "family encoder: the package transformers is missing; pip install '.[transformers]'"
        ) from None
    if not checkpoint:
        raise ConfigError("family encoder: no checkpoint was named; give --checkpoint FOLDER")
    options = {"use_safetensors": True} if kind == "AutoModel" else {}
    try:
        return getattr(transformers, kind).from_pretrained(
            checkpoint, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--checkpoint: {checkpoint!r} cannot be loaded ({reason})") from None
