"""Time whole folds of the network of record, variant after variant in one run: ``python -m benchmarks.recurrence``.

Every variant trains the same folds with the same number of updates and evaluations. Variants alternate, so that
what else the machine does meets all of them; wall time and processor time (CPU) are both kept, as median (min to max).
"""

import argparse
import itertools
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from benchmarks.tables import processor, spread
from benchmarks.variants import VARIANTS, Plan, Timing, oof_auc, split, time_fold, time_plan
from benchmarks.workloads import DATA, WorkloadName, load_workload
from textclf.engine import engine_fingerprint, set_engine

RESULTS = Path(__file__).parent / "results" / "recurrence.md"
SEEDS = (0, 1, 2)
TIMING_HEAD = (
    "| rows | hidden | batch | variant | wall s | CPU s | wall: padded / own | packed / own | CPU: padded | packed |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main() -> None:
    """Run what was asked for; print as it comes, and keep it at the end."""
    options = _parse()
    if options.memory_of:
        print_memory(options.memory_of, _plan(options, options.workload[0], options.hidden[0], options.batch[0]))
        return
    torch.set_num_threads(options.threads)
    lines = list(_echoed(page(options)))
    if options.append:
        with RESULTS.open("a") as file:
            file.write("\n".join(lines) + "\n\n")


def page(options: argparse.Namespace) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"## One fold of {options.rows} rows, {options.epochs} epochs, {options.repeats} repeats"
    yield from ("", f"`python -m benchmarks.recurrence {shlex.join(sys.argv[1:])}`", "")
    yield from (describe_machine(options.threads), "", *TIMING_HEAD)
    for workload, hidden, batch in itertools.product(options.workload, options.hidden, options.batch):
        plan = _plan(options, workload, hidden, batch)
        yield from timing_rows(plan, time_plan(plan, load_workload(workload), options.variants))
    plan = _plan(options, options.workload[0], options.hidden[0], options.batch[0])
    if options.memory:
        yield from memory_section(plan, options.variants)
    if options.auc_rows:
        yield from auc_section(replace(plan, n_rows=options.auc_rows), options.variants)


def timing_rows(plan: Plan, timings: dict[str, list[Timing]]) -> Iterator[str]:
    """A line per variant; ratios are taken within each repeat."""
    walls = {name: [timing.wall for timing in of] for name, of in timings.items()}
    processors = {name: [timing.processor for timing in of] for name, of in timings.items()}
    for name in timings:
        ratios = [
            spread([base / own for base, own in zip(seconds.get(reference, []), seconds[name], strict=False)])
            for seconds, reference in itertools.product((walls, processors), ("padded loop", "packed torch layers"))
        ]
        cells = [plan.workload, str(plan.hidden), str(plan.batch), name, spread(walls[name]), spread(processors[name])]
        yield f"| {' | '.join([*cells, *ratios])} |"


def memory_section(plan: Plan, names: Sequence[str]) -> Iterator[str]:
    """Peak memory of a fresh process for each variant."""
    yield from ("", f"### Peak memory ({plan.workload}, hidden {plan.hidden}, batch {plan.batch})", "")
    yield from ("| variant | process, MB | of it for training, MB |", "| --- | --- | --- |")
    for name in names:
        before, after = peak_megabytes(name, plan)
        yield f"| {name} | {after:.0f} | {after - before:.0f} |"


def auc_section(plan: Plan, names: Sequence[str]) -> Iterator[str]:
    """Quality: out-of-fold AUC of each variant over seeds."""
    workload = load_workload(plan.workload).first(plan.n_rows)
    yield from ("", f"### Out-of-fold AUC ({plan.workload}, {len(workload.labels)} rows, seeds {SEEDS})", "")
    yield from ("| variant | AUC of each seed | mean ± standard deviation |", "| --- | --- | --- |")
    for name in names:
        scores = [oof_auc(VARIANTS[name], workload, plan.config(workload), seed=seed) for seed in SEEDS]
        each = ", ".join(f"{score:.4f}" for score in scores)
        yield f"| {name} | {each} | {statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f} |"


def peak_megabytes(name: str, plan: Plan) -> tuple[float, float]:
    """Memory of a fresh process before it trains a fold, and at its peak then."""
    command = [sys.executable, "-m", "benchmarks.recurrence", "--memory-of", name, "--workload", plan.workload]
    command += ["--hidden", str(plan.hidden), "--batch", str(plan.batch), "--rows", str(plan.n_rows)]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(before), float(after)


def print_memory(name: str, plan: Plan) -> None:
    """What the fresh process does."""
    workload = load_workload(plan.workload)
    fold, _ = split(workload.first(plan.n_rows), fold=0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of reading the data
    before = _megabytes("VmRSS")
    time_fold(VARIANTS[name], fold, replace(plan.config(workload), n_epochs=1), seed=0)
    print(before, _megabytes("VmHWM"))


def _megabytes(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)


def describe_machine(n_threads: int) -> str:
    """Processor, threads and what they do while they wait (torch's own suffer most from sleeping), versions, engine."""
    set_engine("native")
    waiting = f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'unset')}"
    busy = f"load {os.getloadavg()[0]:.1f} before the run"
    return (
        f"{os.cpu_count()} cores of {processor()}, {n_threads} threads, {waiting}, {busy}; "
        f"Python {platform.python_version()}, torch {torch.__version__}; engine {engine_fingerprint()}."
    )


def _plan(options: argparse.Namespace, workload: WorkloadName, hidden: int, batch: int) -> Plan:
    return Plan(
        workload=workload,
        hidden=hidden,
        batch=batch,
        n_rows=options.rows,
        n_epochs=options.epochs,
        n_repeats=options.repeats,
        n_threads=options.threads,
    )


def _echoed(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        print(line, flush=True)
        yield line


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrence", description=__doc__)
    here = ["quora"] if DATA.is_dir() else ["quora-like"]
    parser.add_argument("--workload", nargs="+", choices=get_args(WorkloadName), default=here)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--hidden", nargs="+", type=int, default=[64])
    parser.add_argument("--batch", nargs="+", type=int, default=[512])
    parser.add_argument("--rows", type=int, default=2_560, help="rows of which four fifths are trained on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--auc-rows", type=int, default=0, help="compare out-of-fold AUC on so many rows")
    parser.add_argument("--append", action="store_true", help=f"add the tables to results/{RESULTS.name}")
    parser.add_argument("--memory-of", choices=tuple(VARIANTS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
