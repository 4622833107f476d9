"""Ship a blend as an MLflow model: pack it, prove that the package predicts what the blend does, and measure it."""

import dataclasses
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ensemble.packing import Sources, Tell, pack
from ensemble.retrain import EQUAL
from ensemble.served import ServedBlend, load_blend
from ensemble.thin import ThinBlend, thin_out
from textclf.arrays import FloatArray
from textclf.errors import ConfigError, RunError

if TYPE_CHECKING:
    from ensemble.study import BlendResult

N_EXAMPLE, N_ALONE, N_TOGETHER, N_TIMES = 3, 20, 1000, 3


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """A shipped model.

    n_members, n_models: members that count, and their fitted models (folds times repeats)
    digest: SHA-256 of the record, which names every other file by digest: equal digests, equal models
    n_bytes: of the whole folder
    difference: largest distance of its probabilities of the test rows from the blend's
    seconds_alone, seconds_together: per row, rows asked one by one and 1,000 at once, in this process
    thin: how members were dropped, where that was asked
    """

    folder: Path
    n_members: int
    n_models: int
    digest: str
    n_bytes: int
    difference: float
    seconds_alone: float
    seconds_together: float
    warnings: tuple[str, ...]
    thin: ThinBlend | None

    def describe(self) -> dict[str, Any]:
        """The report in JSON values."""
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "thin"}
        thin = None if self.thin is None else {"score": self.thin.score, "full_score": self.thin.full_score}
        return told | {"folder": str(self.folder), "thin": thin}

    def __str__(self) -> str:
        alone, together = 1e3 * self.seconds_alone, 1e3 * self.seconds_together
        size = f"{self.n_members} members, {self.n_models} fitted models, {self.n_bytes / 1e6:,.1f} MB"
        lines = [
            f"model: {self.folder}, {size}",
            f"  its probabilities of the test rows are within {self.difference:.0e} of the blend's",
            f"  time per row: {alone:.1f} ms alone, {together:.2f} ms among {N_TOGETHER:,}",
        ]
        if self.thin is not None:
            lines.append(
                f"  cross-fitted score {self.thin.score:.5f}, {self.thin.full_score:.5f} with all members, which made "
                "the submission"
            )
        return "\n".join([*lines, *(f"  warning: {warning}" for warning in self.warnings)])


def ship(
    result: "BlendResult",
    target: Path,
    *,
    output: Path | None,
    storage: str | None = None,
    tolerance: float | None = None,
    tell: Tell = print,
) -> ModelReport:
    """Write a blend as an MLflow model that stands alone.

    target: a folder that is not there yet; output: the study's folder, which holds its inputs
    tolerance: drop members while the cross-fitted score loses no more than this; None ships the blend as it is

    Raises ConfigError, DataError or RunError for whatever is the user's to mend; then nothing is left at the target.
    """
    check_target(target)
    thin = None if tolerance is None else thin_result(result, tolerance=tolerance)
    found = result.evaluation.blend.found if thin is None else thin.found
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        packed = pack(result, found, Path(scratch) / "blend", sources=Sources(output, storage), tell=tell)
        served = load_blend(packed.folder, digest=packed.digest)
        difference = prove(served, packed.test_rows, expected=found.blend.apply(result.pool.test_proba))
        alone, together = time_answers(served, packed.test_rows)
        draft = Path(scratch) / "model"
        example = packed.test_rows.head(N_EXAMPLE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's, about type hints of its own
            from ensemble.model import save_model

            save_model(served, packed.folder, target=draft, digest=packed.digest, example=example)
        draft.rename(target)
    return ModelReport(
        folder=target,
        n_members=len(served.members),
        n_models=sum(len(member.trial.restored.predicts) for member in served.members),
        digest=packed.digest,
        n_bytes=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
        difference=difference,
        seconds_alone=alone,
        seconds_together=together,
        warnings=packed.warnings,
        thin=thin,
    )


def check_target(target: Path) -> None:
    """Refuse a place where no model can appear, before any work is done."""
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise ConfigError(f"--model: {target} is there already; remove it, or name a new folder")
    if not target.parent.is_dir():
        raise ConfigError(f"--model: there is no folder {target.parent}; make it first, or choose another place")


def thin_result(result: "BlendResult", *, tolerance: float) -> ThinBlend:
    """The blend with the fewest members within a loss of score, by the way that "auto" took on all rows."""
    evidence = result.pool.evidence(result.metric, seed=result.seed)
    return thin_out(evidence, result.evaluation.blend.resolved, tolerance=tolerance)


def prove(served: ServedBlend, rows: pd.DataFrame, *, expected: FloatArray) -> float:
    """Largest distance of the package's probabilities from the expected ones; RunError when it is above 1e-6."""
    difference = float(np.abs(served.proba(rows) - expected).max())
    if not difference <= EQUAL:
        raise RunError(
            f"--model: the package's test probabilities differ by up to {difference:.1e} from the blend's, more than "
            f"{EQUAL:.0e}; the study was run on another device or kind of machine; export on one like it"
        )
    return difference


def time_answers(served: ServedBlend, rows: pd.DataFrame) -> tuple[float, float]:
    """Seconds per row, asked one by one and 1,000 at once: medians, in this process and with its threads."""

    def seconds(asked: pd.DataFrame) -> float:
        began = perf_counter()
        served.answer(asked)
        return perf_counter() - began

    many = rows.iloc[np.arange(N_TOGETHER) % len(rows)].reset_index(drop=True)
    seconds(many.head(1))
    alone = median(seconds(many.iloc[[row]]) for row in range(N_ALONE))
    return alone, median(seconds(many) for _ in range(N_TIMES)) / N_TOGETHER
