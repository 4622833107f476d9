"""Fit the members of a blend again and write what serves it: tensors, and one record that names them by digest."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ensemble.blendrecord import describe_blend
from ensemble.crossfit import Fitted
from ensemble.members import Member, match_ids
from ensemble.retrain import retrain
from ensemble.served import FORMAT, RECORD_FILE, TENSORS_FOLDER
from textclf.errors import ConfigError
from textclf.inputs import Inputs
from textclf.place import open_study_store, study_inputs
from textclf.records import StudyRecord
from textclf.saved import save_trial
from textclf.store import PredictionStore
from textclf.tensors import write_tensors

if TYPE_CHECKING:
    from ensemble.study import BlendResult

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where members are fitted again from: the study's folder, and its database where that is elsewhere."""

    output: Path | None
    storage: str | None


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A written blend: its folder, the SHA-256 of its record, and raw test rows in the pool's order."""

    folder: Path
    digest: str
    test_rows: pd.DataFrame
    warnings: tuple[str, ...]


def pack(result: "BlendResult", found: Fitted, folder: Path, *, sources: Sources, tell: Tell) -> Packed:
    """Fit the members that count again, and write their models and the blend."""
    if sources.output is None:
        raise ConfigError("--model: needs --output, the study's folder, where its inputs are")
    with open_study_store(sources.output, storage=sources.storage) as store:
        places = [int(place) for place in np.flatnonzero(found.blend.weights)]
        names = dict.fromkeys(result.pool.members[place].study for place in places)
        studies = {name: store.read_study(name) for name in names}
        inputs = {name: study_inputs(sources.output, study) for name, study in studies.items()}
        members, notes = [], []
        for place in places:
            member = result.pool.members[place]
            tell(f"fitting {member.name} again (took {member.seconds:.0f} s)")
            packed, note = pack_member(
                member, store, studies[member.study], inputs=inputs[member.study], folder=folder / TENSORS_FOLDER
            )
            members.append({"place": place, "weight": float(found.blend.weights[place]), **packed})
            notes += [note] if note else []
    digest = write_record(result, found, members, folder=folder)
    return Packed(
        folder=folder,
        digest=digest,
        test_rows=raw_rows(result.pool.study.test_ids, list(inputs.values())),
        warnings=tuple(notes),
    )


def pack_member(
    member: Member, store: PredictionStore, study: StudyRecord, *, inputs: Inputs, folder: Path
) -> tuple[dict[str, Any], str]:
    """Fit one member again and keep its models; returns its part of the record, and a warning or nothing."""
    retrained = retrain(store.read_trial(study.name, member.number), study, inputs)
    record = {
        "study": study.name,
        "number": member.number,
        "data_digest": study.data_digest,
        "columns": dataclasses.asdict(study.columns),
        "trial": save_trial(retrained.fits, inputs=inputs, config=retrained.config, folder=folder),
    }
    return record, retrained.warning


def write_record(result: "BlendResult", found: Fitted, members: list[dict[str, Any]], *, folder: Path) -> str:
    """Write the file that names everything else by digest; returns its own SHA-256. No clock and no path is in it."""
    study = result.pool.study
    blend, arrays = describe_blend(found.blend)
    record = {
        "format": FORMAT,
        "task": dataclasses.asdict(study.task),
        "metric": result.metric.name,
        "recipe": dataclasses.asdict(result.evaluation.blend.recipe),
        "blend": {
            "found": blend,
            "arrays": write_tensors(folder / TENSORS_FOLDER, arrays),
            "n_members": len(result.pool.members),
        },
        "thresholds": found.thresholds,
        "fold_digest": study.fold_digest,
        "members": members,
    }
    content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode()
    (folder / RECORD_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def raw_rows(test_ids: tuple[str, ...], inputs: list[Inputs]) -> pd.DataFrame:
    """The test rows as a user has them, in the order of these ids, with the columns of all studies."""
    cells: dict[str, Any] = {}
    for one in inputs:
        what, sides = "studies differ in their test rows", ("a study's inputs", "the blend")
        rows = one.test.rows(match_ids(one.test.row_ids, test_ids, what=what, sides=sides))
        columns = one.columns
        if columns.row_id is not None:
            cells[columns.row_id] = list(rows.row_ids)
        cells[columns.text] = list(rows.texts)
        cells |= {name: rows.numeric[:, place] for place, name in enumerate(columns.numeric)}
        cells |= {name: rows.categorical[:, place].tolist() for place, name in enumerate(columns.categorical)}
    return pd.DataFrame(cells)
