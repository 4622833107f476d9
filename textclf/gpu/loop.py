"""The epoch loop on a GPU: one step is recorded as a CUDA graph and replayed, on a stream of its own.

A step of a small network is a hundred small kernels; launched one by one from Python they take several times as long
as they run. A recorded step is launched whole. Fits on different streams share the GPU: a fit's numbers depend neither
on the others nor on whether there are any, as it draws from its own generator and no kernel adds to another's numbers.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textclf.arrays import Float32Array, FloatArray, IntArray
from textclf.config import NetConfig
from textclf.gpu.batches import FixedShape, fill_up, lay_out, take_up
from textclf.loop import EpochLoop, cyclical, mean_loss
from textclf.nets import draw_from
from textclf.turns import Turns

WARM_UPS = 2  # steps before the recorded one: they make the optimiser's state and the libraries' workspaces
SECTION = 256  # batches laid out at once


class RecordedLoop(EpochLoop):
    """Train one network as ``EpochLoop`` does, in steps of one shape.

    A recorded step meets the same addresses each time, so all that changes from step to step is read on the device:
    the batch from ``lines``, and from ``numbers`` the weight of each row (0 for padding), the number of rows, the
    learning rate, and how much of the new weights joins their moving average.
    On the CPU the same step runs unrecorded.
    """

    def __init__(self, *arguments: Any, noise_seed: int) -> None:
        super().__init__(*arguments)
        self.device = self.targets.device
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.graph: torch.cuda.CUDAGraph | None = None
        self.noise, self.noise_seed = torch.Generator(self.device), noise_seed
        self.line_number, self.step_number = (torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(2))
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)

    def make_optimizer(self, learned: list[nn.Parameter]) -> torch.optim.Adam:
        """Adam whose learning rate lies on the device."""
        device = self.targets.device
        rate, on_gpu = torch.tensor(self.config.lr_min, device=device), device.type == "cuda"
        return torch.optim.Adam(learned, lr=rate, weight_decay=self.config.weight_decay, fused=True, capturable=on_gpu)

    def turns(self, tell: Any, *, order_seed: int) -> Turns[None]:
        """As every loop; however it ends, the device is done with this fit then."""
        draw_from(self.noise, self.net)
        try:
            yield from super().turns(tell, order_seed=order_seed)
        finally:
            if self.stream is not None:
                self.stream.synchronize()
            self.graph = None
            draw_from(None, self.net)

    def begin(self, orders: list[IntArray]) -> None:
        """Make the buffers that every step reads, and record the step."""
        self.shape = FixedShape.of(self.rows.encoded.lengths, orders, self.config.batch_size)
        first = fill_up(orders[0], self.shape)
        with self._on_stream():
            numbers = _numbers_of_steps(first, self.config)
            self.numbers, self.number = (torch.from_numpy(part).to(self.device) for part in (numbers, numbers[0]))
            self.lines = self._lay_out(first[:SECTION])
            self.line = self.lines[0].clone()
            if self.stream is not None:
                self._record(self.stream)
            self.noise.manual_seed(self.noise_seed)

    def train_epoch(self, order: IntArray) -> Tensor:
        """Hand the device an epoch's steps, without waiting for any."""
        filled = fill_up(order, self.shape)
        with self._on_stream():
            self.total.zero_()
            for begin in range(0, len(filled), SECTION):
                section = filled[begin : begin + SECTION]
                self.lines[: len(section)] = self._lay_out(section)
                self.line_number.zero_()
                for _ in section:
                    if self.graph is None:
                        self._fixed_step()
                    else:
                        self.graph.replay()
        return self.total

    def catch_up(self) -> None:
        """Let the default stream wait for the fit's; here, and not in ``train_epoch``, so that no other fit waits."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)

    def _fixed_step(self) -> None:
        """One step, its every address and shape the same as those of the step before."""
        torch.index_select(self.lines, 0, self.line_number, out=self.line[None])
        torch.index_select(self.numbers, 0, self.step_number, out=self.number[None])
        n_rows, rate, mix = self.number[-3:]
        self.optimizer.param_groups[0]["lr"].copy_(rate)

        laid_out = take_up(
            self.line, n_rows=self.shape.n_rows, n_packed=self.shape.n_packed, longest=self.shape.longest
        )
        self.optimizer.zero_grad()
        logits = self.net(laid_out.batch, self.rows.features[laid_out.rows])
        loss = mean_loss(logits, self.targets[laid_out.rows], self.number[:-3])
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.update_average(mix)

        self.total += loss.detach() * n_rows
        self.line_number += 1
        self.step_number += 1

    def _record(self, stream: torch.cuda.Stream) -> None:
        """Record the step, and leave the network as it was."""
        kept = [(parameter, parameter.detach().clone()) for parameter in self.net.parameters()]
        self._warm_up()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.noise)
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            self._fixed_step()
        finally:
            graph.capture_end()
        self.graph = graph
        for parameter, weights in kept:
            parameter.detach().copy_(weights)
            for moment in self.optimizer.state[parameter].values():
                moment.zero_()

    def _warm_up(self) -> None:
        """Take the first step a few times."""
        for _ in range(WARM_UPS):
            self._fixed_step()
            self.line_number.zero_()
            self.step_number.zero_()

    def _lay_out(self, section: IntArray) -> Tensor:
        chosen = torch.from_numpy(section).to(self.device, non_blocking=True)
        n_packed, longest = self.shape.n_packed, self.shape.longest
        return lay_out(self.rows.tokens, self.rows.caps, self.rows.starts, chosen, n_packed=n_packed, longest=longest)

    def _on_stream(self) -> AbstractContextManager[Any]:
        """Work inside goes to the fit's own stream, after what was asked of the device before."""
        if self.stream is None:
            return nullcontext()
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        return torch.cuda.stream(self.stream)


def _numbers_of_steps(filled: IntArray, config: NetConfig) -> Float32Array:
    """For each step of the fit: a weight for each row, the number of rows, the learning rate, the mix."""
    rates = learning_rates(config, steps_per_epoch=len(filled))
    mixes = np.full(len(rates), 1 - config.ema_decay)
    mixes[0] = 1  # the moving average begins as the weights after the first step
    n_rows = (filled >= 0).sum(1, keepdims=True)
    of_epoch = np.hstack(((filled >= 0) / n_rows, n_rows))
    return np.column_stack((np.tile(of_epoch, (config.n_epochs, 1)), rates, mixes)).astype(np.float32)


def learning_rates(config: NetConfig, *, steps_per_epoch: int) -> FloatArray:
    """The learning rate of every step of a fit, (n_steps,) float64."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.lr_min)
    schedule = cyclical(optimizer, config, steps_per_epoch=steps_per_epoch)
    rates = []
    for _ in range(config.n_epochs * steps_per_epoch):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return np.array(rates)
