"""Keep the fitted models of a trial in a folder, and predict with them where the study is not: no pickle, no inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textclf.arrays import FloatArray
from textclf.config import Task, TextConfig
from textclf.errors import ConfigError
from textclf.families import FAMILIES, config_dict, parse_config
from textclf.inputs import Inputs
from textclf.protocols import Fitted, Keeper, Restored
from textclf.table import Table


@dataclass(frozen=True, slots=True)
class SavedTrial:
    """The fitted models of one trial, ready for rows that the study never met."""

    task: Task
    family: str
    restored: Restored

    def predict(self, table: Table) -> FloatArray:
        """(n_rows, n_outputs) float64, the mean over the models, as ``cross_validate`` takes it for test rows."""
        total = np.zeros((len(table), self.task.n_outputs))
        if len(table):
            rows = self.restored.read(table)
            for predict in self.restored.predicts:
                total += predict(rows) / len(self.restored.predicts)
        return total


def save_trial(fits: Sequence[Fitted], *, inputs: Inputs, config: TextConfig, folder: Path) -> dict[str, Any]:
    """Write the fitted models of all folds to a folder of tensors, which several trials may share.

    fits: as ``cross_validate`` told of them; inputs: those of the study
    returns: what ``restore_trial`` needs beside the folder, JSON values
    Raises ConfigError for a family that cannot be shipped.
    """
    kept = _keeper(config).save(fits, inputs=inputs, config=config, folder=folder)
    return {"config": config_dict(config), "models": kept}


def restore_trial(record: dict[str, Any], *, task: Task, folder: Path, device: str = "cpu") -> SavedTrial:
    """Read the models that ``save_trial`` wrote; DataError where a file is missing or altered."""
    config = parse_config(record["config"], source=str(folder))
    restored = _keeper(config).restore(record["models"], task=task, config=config, folder=folder, device=device)
    return SavedTrial(task, config.family, restored)


def _keeper(config: TextConfig) -> Keeper:
    keeper = FAMILIES[config.family].keeper
    if keeper is None:
        able = ", ".join(name for name, family in FAMILIES.items() if family.keeper)
        raise ConfigError(
            f"family {config.family}: its models cannot be shipped, it has no keeper (families that can: {able}); "
            "leave its trials out of the blend"
        )
    return keeper
