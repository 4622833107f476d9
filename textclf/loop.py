"""The epoch loop: train one network on the training rows of one fold."""

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CyclicLR

from textclf.arrays import IntArray
from textclf.config import NetConfig
from textclf.protocols import DivergedError
from textclf.turns import Turns

if TYPE_CHECKING:
    from textclf.train import FittedNets, NetRows


class EpochLoop:
    """Train one network: Adam, cyclical learning rate, clipped gradients of the mean loss."""

    def __init__(
        self, net: nn.Module, rows: "NetRows", targets: Tensor, config: NetConfig, fitted: "FittedNets"
    ) -> None:
        self.net, self.rows, self.targets, self.config, self.fitted = net, rows, targets, config, fitted
        self.optimizer = self.make_optimizer([parameter for parameter in net.parameters() if parameter.requires_grad])
        self.scheduler = cyclical(self.optimizer, config, steps_per_epoch=math.ceil(len(rows) / config.batch_size))
        self.average = average_of(net) if config.ema_decay else None
        self.mix = 1.0  # the moving average begins as the weights after the first step
        self.n_pieces = 1

    def make_optimizer(self, learned: list[nn.Parameter]) -> torch.optim.Adam:
        """Adam in one launch for all parameters."""
        config = self.config
        return torch.optim.Adam(learned, lr=config.lr_min, weight_decay=config.weight_decay, fused=True)

    def turns(self, tell: Any, *, order_seed: int) -> Turns[None]:
        """Train all epochs; tell of each but the last; leave the network among the fitted ones.

        Pauses where an epoch was handed to the device, before it waits for the device.
        """
        rng = np.random.default_rng(order_seed)
        orders = [rng.permutation(len(self.rows)) for _ in range(self.config.n_epochs)]
        self.begin(orders)
        self.fitted.nets.append(self.net if self.average is None else self.average)
        for epoch, order in enumerate(orders):
            self.net.train()
            total = self.train_epoch(order)
            yield
            self.catch_up()
            self.fitted.train_loss = float(total) / len(self.rows)
            if not math.isfinite(self.fitted.train_loss):
                raise DivergedError(f"the training loss became {self.fitted.train_loss} in epoch {epoch + 1}")
            if epoch < self.config.n_epochs - 1:
                tell(epoch, self.fitted.train_loss, self.fitted.predict)

    def begin(self, orders: list[IntArray]) -> None:
        """Make what all epochs need; orders: the rows of each epoch."""

    def train_epoch(self, order: IntArray) -> Tensor:
        """Train on the rows in this order; returns the sum of their losses as they were met, float64."""
        total = torch.zeros((), dtype=torch.float64, device=self.targets.device)
        for batch_rows in batches(order, self.config.batch_size):
            total += self.update(batch_rows) * len(batch_rows)
            self.scheduler.step()
            self.update_average(self.mix)
            self.mix = 1 - self.config.ema_decay
        return total

    def catch_up(self) -> None:
        """Let what follows see what the epoch did."""

    def update_average(self, mix: float | Tensor) -> None:
        """Let this much of the new weights join their moving average."""
        if self.average is not None:
            for averaged, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
                averaged.detach().lerp_(new.detach(), mix)

    def update(self, batch_rows: IntArray) -> Tensor:
        """One step; when the GPU's memory is short, the same step in more and smaller pieces."""
        while True:
            try:
                return self._step(batch_rows)
            except torch.cuda.OutOfMemoryError:
                if self.n_pieces >= len(batch_rows):
                    raise
                self.n_pieces *= 2
                self.fitted.note(f"GPU memory was short: batches were trained in {self.n_pieces} pieces")

    def _step(self, batch_rows: IntArray) -> Tensor:
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.targets.device)
        for piece in np.array_split(batch_rows, min(self.n_pieces, len(batch_rows))):
            logits = self.net(*self.rows.batch(piece))
            chosen = torch.from_numpy(piece).to(self.targets.device, non_blocking=True)
            loss = mean_loss(logits, self.targets[chosen]) * (len(piece) / len(batch_rows))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return total


def average_of(net: nn.Module) -> nn.Module:
    """A network for the moving average of the weights (Polyak & Juditsky 1992); it shares what is not learned."""
    return copy.deepcopy(net, {id(buffer): buffer for buffer in net.buffers()})


def cyclical(optimizer: torch.optim.Optimizer, config: NetConfig, *, steps_per_epoch: int) -> CyclicLR:
    """The learning rate of every step (Smith 2017)."""
    return CyclicLR(
        optimizer,
        base_lr=config.lr_min,
        max_lr=config.lr_max,
        step_size_up=max(1, round(config.cycle_epochs * steps_per_epoch / 2)),
        mode="exp_range",
        gamma=config.lr_decay ** (1 / (config.n_epochs * steps_per_epoch)),
        cycle_momentum=False,  # with Adam it would silently cycle beta1
    )


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean log loss: of classes for int64 targets, else of independent labels.

    weights: (n_rows,) of rows, that sum to 1; None: all alike
    """
    reduction = "mean" if weights is None else "none"
    if targets.dtype == torch.int64:
        losses = nn.functional.cross_entropy(logits, targets, reduction=reduction)
    else:
        losses = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)
    if weights is None:
        return losses
    return losses @ weights if losses.dim() == 1 else losses.mean(1) @ weights


def batches(rows: IntArray, n_batch: int) -> Iterator[IntArray]:
    """Cut rows into batches; the last may be smaller."""
    for begin in range(0, len(rows), n_batch):
        yield rows[begin : begin + n_batch]
