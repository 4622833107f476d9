"""The MLflow model of a shipped blend, as MLflow's models from code: MLflow runs this file, and unpickles nothing.

Beside ``ensemble.tracking`` the only import of mlflow in this package. MLflow copies the file into the model's folder,
with the packages it imports, and takes the model from the last line.
"""

import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, set_model
from mlflow.types import ColSpec, Schema

import ensemble
import textclf
from ensemble.served import LABEL, PROBA, ServedBlend, load_blend
from textclf.errors import TextclfError

BLEND = "blend"
SERVED_PACKAGES = (
    "mlflow",
    "ftfy",
    "numpy",
    "pandas",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sqlalchemy",
    "threadpoolctl",
    "torch",
)


class BlendModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Raw rows in, probabilities and labels out."""

    def load_context(self, context: Any) -> None:
        """Read the blend; refuses a folder whose content is not what was written."""
        self.blend = load_blend(Path(context.artifacts[BLEND]), digest=context.model_config["digest"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """See ``ServedBlend.answer``; a cell that cannot be read is the caller's error."""
        del context, params
        try:
            return self.blend.answer(model_input)
        except TextclfError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def save_model(blend: ServedBlend, folder: Path, *, target: Path, digest: str, example: pd.DataFrame) -> None:
    """Write the MLflow model around a shipped blend.

    folder: what ``load_blend`` read; digest: SHA-256 of its record; example: a few raw rows
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    packages = [Path(package.__file__ or "").parent for package in (textclf, ensemble)]
    mlflow.pyfunc.save_model(
        path=str(target),
        python_model=str(Path(__file__)),
        artifacts={BLEND: str(folder)},
        code_paths=[str(package) for package in packages],
        signature=signature_of(blend),
        input_example=example,
        model_config={"digest": digest},
        pip_requirements=[f"{name}=={version(name)}" for name in served_packages(blend)],
    )


def served_packages(blend: ServedBlend) -> tuple[str, ...]:
    """What must be installed where the model is served."""
    encoders = any(member.trial.family == "encoder" for member in blend.members)
    return (*SERVED_PACKAGES, "transformers") if encoders else SERVED_PACKAGES


def signature_of(blend: ServedBlend) -> ModelSignature:
    """Columns of raw rows and of answers; the id may be left out, and a cell of any other column may be null."""
    kinds: dict[str, str] = {}
    for columns in blend.columns:
        kinds[columns.text] = "string"
        kinds |= dict.fromkeys(columns.numeric, "double") | dict.fromkeys(columns.categorical, "string")
    row_id = blend.columns[0].row_id
    ids = [] if row_id is None else [ColSpec("string", row_id, required=False)]
    outputs = [ColSpec("double", f"{PROBA}{name}") for name in blend.task.class_names]
    if blend.task.kind == "multilabel":
        outputs += [ColSpec("long", f"{LABEL}_{name}") for name in blend.task.class_names]
    else:
        outputs.append(ColSpec("string", LABEL))
    return ModelSignature(
        inputs=Schema(ids + [ColSpec(kind, name) for name, kind in kinds.items()]), outputs=Schema(ids + outputs)
    )


set_model(BlendModel())
