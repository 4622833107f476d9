"""Where a study lies: its folder or a database, which study of it is meant, and the inputs it kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from textclf.errors import ConfigError, DataError, RunError
from textclf.inputs import Inputs, load_inputs
from textclf.records import StudyRecord
from textclf.store import PredictionStore

STUDY_FILE, TRACKING_FILE, INPUTS_FOLDER = "study.db", "mlflow.db", "inputs"


@contextmanager
def open_study_store(output: Path | str | None, *, storage: str | None) -> Iterator[PredictionStore]:
    """Open the prediction store of a study that is there, to read from in a with block.

    output: the study's folder; storage: its database where that is elsewhere
    Raises ConfigError where there is none, RunError where the database cannot be read.
    """
    store = PredictionStore(find_storage(output, storage=storage))
    try:
        yield store
    except sa.exc.DatabaseError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise RunError(
            f"{shown_url(store)}: the database cannot be read ({cause}); check the address and that it is up"
        ) from None
    finally:
        store.close()


def find_storage(output: Path | str | None, *, storage: str | None) -> str:
    """The SQLAlchemy URL of the database in a study's folder, or of the one that was named; it must be there."""
    if storage is not None:
        file_name = storage.removeprefix("sqlite:///")
        if storage.startswith("sqlite:///") and not Path(file_name).is_file():
            raise ConfigError(f"--storage: there is no file {file_name}; name the database python -m search.run wrote")
        return storage
    if output is None:
        raise ConfigError("--output: name the study's folder, or its database with --storage")
    file = Path(output) / STUDY_FILE
    if not file.is_file():
        raise ConfigError(f"--output: {output} holds no {STUDY_FILE}; name the folder that python -m search.run wrote")
    return f"sqlite:///{file}"


def only_study(store: PredictionStore) -> str:
    """The name of the one study of a store; DataError where there is none, ConfigError where there are several."""
    names = store.study_names()
    if not names:
        raise DataError(f"{shown_url(store)}: there is no study yet; run python -m search.run first")
    if len(names) > 1:
        raise ConfigError(
            f"--study-name: {shown_url(store)} holds {len(names)} studies ({', '.join(names)}); name one of them"
        )
    return names[0]


def shown_url(store: PredictionStore) -> str:
    """The address of a store as it may be shown: its password is hidden."""
    return store.engine.url.render_as_string(hide_password=True)


def study_inputs(output: Path | str, study: StudyRecord) -> Inputs:
    """The inputs that a study kept in its folder.

    Raises RunError where they are not there, or are not those of the study.
    """
    folder = Path(output) / INPUTS_FOLDER / str(study.settings["inputs"])
    if not folder.is_dir():
        raise RunError(
            f"{folder}: the inputs of study {study.name!r} are not there; name its folder with --output, or run its "
            "python -m search.run command again, which writes them"
        )
    inputs = load_inputs(folder)
    for what, there, wanted in (
        ("data", inputs.data_digest, study.data_digest),
        ("folds", inputs.folds.digest, study.fold_digest),
    ):
        if there != wanted:
            raise RunError(
                f"{folder}: its {what} are not those of study {study.name!r} (digests {there[:12]} and {wanted[:12]}); "
                "name the study's own folder"
            )
    return inputs
