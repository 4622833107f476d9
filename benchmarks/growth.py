"""How the cost of a training step grows, against its arithmetic: ``python -m benchmarks.growth [--plot FILE]``.

Every point is the processor time of one step (forward, loss, backward) of the network of record on one thread, the
best of some. The floor is the step's multiplications and additions at the rate of a large matrix product.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.workloads import synthesize
from textclf.config import RecurrentConfig
from textclf.engine import set_engine
from textclf.nets import BiLstmBiGru, NetShape
from textclf.recurrent import Precision, pack

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
PEAK_SIZE = 1_536


@dataclass(frozen=True, kw_only=True)
class Point:
    """Sizes of a step: rows, tokens of each row, units per direction, channels of a word vector."""

    batch: int = 512
    length: int = 13
    hidden: int = 64
    dim: int = 100

    @property
    def flops(self) -> float:
        """Multiplications and additions of the layers, forward and backward; word vectors are frozen."""
        gates = 2 * self.hidden
        lstm = 4 * gates * (2 * self.dim + 3 * self.hidden)
        gru = 3 * gates * (3 * 2 * self.hidden + 3 * self.hidden)
        return 2.0 * self.batch * self.length * (lstm + gru)


SWEEPS: dict[str, list[Point]] = {
    "batch": [Point(batch=batch) for batch in (32, 64, 128, 256, 512, 1024)],
    "length": [Point(length=length) for length in (4, 8, 16, 32, 64, 128)],
    "hidden": [Point(hidden=hidden) for hidden in (16, 32, 48, 64, 96, 128, 192)],
}


def main() -> None:
    """Print a table, and draw it if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--plot", type=Path, help="write a figure here")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    set_engine("native")
    peaks = {precision: peak_flops(precision, options.repeats) for precision in PRECISIONS}
    print(", ".join(f"{precision}: {peak / 1e9:.0f} GFLOP/s in a large product" for precision, peak in peaks.items()))
    print("\n| sweep | batch | length | hidden | fp32 ms | of its floor | bf16 ms | of its floor |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    seconds: dict[str, dict[Precision, list[float]]] = {}
    for name, points in SWEEPS.items():
        seconds[name] = {p: [step_seconds(point, p, options.repeats) for point in points] for p in PRECISIONS}
        for at, point in enumerate(points):
            cells = [f"{point.batch} | {point.length} | {point.hidden}"]
            for precision in PRECISIONS:
                took = seconds[name][precision][at]
                cells.append(f"{1e3 * took:.1f} | {point.flops / peaks[precision] / took:.0%}")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if options.plot:
        draw(seconds, peaks, options.plot)


def peak_flops(precision: Precision, repeats: int) -> float:
    """The rate of a large matrix product on one thread."""
    a = torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    return 2 * PEAK_SIZE**3 / best_seconds(lambda: a @ a, repeats)


def step_seconds(point: Point, precision: Precision, repeats: int) -> float:
    """Processor time of one training step."""
    rows = synthesize("quora-like", n_rows=point.batch, median=point.length, spread=0.3, max_tokens=200, dim=point.dim)
    config = RecurrentConfig(
        family="bilstm_bigru", hidden_size=point.hidden, caps_flag=False, precision=precision, spatial_dropout=0.2
    )
    table = torch.from_numpy(rows.words.matrix)
    net = BiLstmBiGru(config, NetShape(table=table, learn_table=False, n_features=5, n_logits=1))
    features, targets = torch.zeros(point.batch, 5), torch.zeros(point.batch, 1)

    def step() -> None:
        batch = pack(rows.rows.tokens, rows.rows.starts, np.arange(point.batch))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(batch, features), targets)
        loss.backward()  # type: ignore[no-untyped-call]

    mean_length = len(rows.rows.tokens) / point.batch
    return best_seconds(step, repeats) * point.length / mean_length


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """Least processor time of some runs."""
    times = []
    for _ in range(repeats + 1):
        began = time.thread_time()
        run()
        times.append(time.thread_time() - began)
    return min(times[1:])


def draw(seconds: dict[str, dict[Precision, list[float]]], peaks: dict[Precision, float], file: Path) -> None:
    """Time over each size, with the floor."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(SWEEPS), figsize=(10, 3.2), layout="constrained")
    for (name, points), axis in zip(SWEEPS.items(), axes, strict=True):
        sizes = [getattr(point, name) for point in points]
        for precision, colour in zip(PRECISIONS, ("tab:blue", "tab:orange"), strict=True):
            axis.loglog(sizes, [1e3 * s for s in seconds[name][precision]], "o-", color=colour, label=precision)
            floor = [1e3 * point.flops / peaks[precision] for point in points]
            axis.loglog(sizes, floor, "--", color=colour, label=f"{precision} floor")
        fixed = replace(points[0])
        rest = ", ".join(f"{key} {getattr(fixed, key)}" for key in SWEEPS if key != name)
        axis.set(xlabel=name, title=rest, xticks=sizes, xticklabels=sizes)
        axis.minorticks_off()
    axes[0].set_ylabel("ms per training step")
    axes[0].legend()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
