"""What a larger lag costs in search quality: trial n sees the results of trials 0 .. n - lag, so lag workers keep busy.

    python -m benchmarks.lag [--seeds 20]

TPE asks through the frozen view, as in a study, on two simulated objectives: a smooth one over six parameters, and a
mixed one of three families with parameters of their own. The best score after so many trials, mean over seeds, with its
standard error; lag 1 is an ordinary sequential study, and random search shows what there is to lose. Writes
benchmarks/results/lag.md.
"""

import argparse
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from benchmarks.tables import describe_machine, write_table
from search.quiet import quiet_optuna
from search.sampler import SamplerChoice
from search.view import FrozenView
from textclf.records import TrialSummary

LAGS = (1, 2, 4, 8, 16)
CHECKED = (20, 40, 60)


def smooth(trial: optuna.Trial) -> dict[str, Any]:
    """Six numbers, one of them on a logarithmic scale."""
    params: dict[str, Any] = {f"x{number}": trial.suggest_float(f"x{number}", 0.0, 1.0) for number in range(5)}
    return {**params, "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True)}


def smooth_score(params: dict[str, Any]) -> float:
    """A bowl around (0.3, 0.4, ..., 0.7) and a rate of 0.003."""
    bowl = sum((params[f"x{number}"] - 0.3 - number / 10) ** 2 for number in range(5))
    return -bowl - (math.log10(params["rate"] / 0.003) / 3) ** 2


def mixed(trial: optuna.Trial) -> dict[str, Any]:
    """Three families, each with parameters of its own."""
    family = trial.suggest_categorical("family", ["a", "b", "c"])
    params: dict[str, Any] = {"family": family, "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True)}
    for number in range(3):
        params[f"{family}{number}"] = trial.suggest_float(f"{family}{number}", 0.0, 1.0)
    return params


def mixed_score(params: dict[str, Any]) -> float:
    """Family a is best when tuned, b is good at once, c is worse."""
    family = params["family"]
    height, width = {"a": (0.0, 1.0), "b": (-0.15, 0.3), "c": (-0.4, 0.5)}[family]
    bowl = sum((params[f"{family}{number}"] - 0.5) ** 2 for number in range(3))
    return float(height - width * (bowl + (math.log10(params["rate"] / 0.003) / 3) ** 2))


OBJECTIVES: dict[str, tuple[Callable[[optuna.Trial], dict[str, Any]], Callable[[dict[str, Any]], float]]] = {
    "smooth": (smooth, smooth_score),
    "mixed": (mixed, mixed_score),
}


def best_so_far(objective: str, sampler: str, *, lag: int, seed: int, n_trials: int) -> list[float]:
    """The best score after each trial."""
    suggest, score = OBJECTIVES[objective]
    choice = SamplerChoice(name=sampler, kwargs={})
    with quiet_optuna():
        view = FrozenView(lag=lag, sampler_of=lambda number: choice.for_trial(number, study_seed=seed))
        results: dict[int, TrialSummary] = {}
        best: list[float] = []
        for number in range(n_trials):
            config = view.ask(suggest, results, fixed={}).user_attrs["config"]
            results[number] = TrialSummary(
                study="s", number=number, outcome="complete", params={}, seed=0, score=score(config)
            )
            best.append(max(score(config), best[-1] if best else -math.inf))
    return best


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for objective in OBJECTIVES:
        for sampler, lag in [*(("tpe", lag) for lag in LAGS), ("random", 1)]:
            runs = np.array(
                [
                    best_so_far(objective, sampler, lag=lag, seed=seed, n_trials=CHECKED[-1])
                    for seed in range(told.seeds)
                ]
            )
            error = runs.std(axis=0, ddof=1) / math.sqrt(told.seeds)
            cells = [f"{runs[:, n - 1].mean():.4f} ± {error[n - 1]:.4f}" for n in CHECKED]
            rows.append([objective, f"{sampler}, lag {lag}" if sampler == "tpe" else "random search", *cells])
            print(rows[-1], flush=True)
    write_table(
        "lag",
        title="What a lag costs",
        notes=[
            f"Best score so far (0 is the best there is), mean over {told.seeds} seeds ± its standard error.",
            f"{describe_machine('optuna')} Made by `python -m benchmarks.lag`.",
        ],
        header=["objective", "study", *(f"after {n} trials" for n in CHECKED)],
        rows=rows,
    )


if __name__ == "__main__":
    main()
