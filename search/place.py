"""Where a study lies: its folder or a database, and which study of it is meant."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textclf.errors import ConfigError, DataError, RunError
from textclf.store import PredictionStore

STUDY_FILE, TRACKING_FILE, INPUTS_FOLDER = "study.db", "mlflow.db", "inputs"


@dataclass(frozen=True, slots=True)
class Place:
    """An open prediction store and the name of a study in it."""

    store: PredictionStore
    study_name: str


@contextmanager
def open_place(output: Path | None, *, storage: str | None = None, study_name: str | None = None) -> Iterator[Place]:
    """Open a study's store for a with block, to read from.

    output: the study's folder; storage: its database where that is elsewhere
    study_name: may be left out where the store holds one study

    Raises ConfigError, DataError or RunError where there is no such study or the database cannot be read.
    """
    import sqlalchemy as sa

    store = PredictionStore(find_storage(output, storage=storage))
    try:
        names = store.study_names()
        yield Place(store, study_name or _only(names, str(output or "the database")))
    except sa.exc.DatabaseError as error:
        shown = store.engine.url.render_as_string(hide_password=True)
        cause = str(error.orig).strip().splitlines()[0]
        raise RunError(f"{shown}: the database cannot be read ({cause}); check the address and that it is up") from None
    finally:
        store.close()


def find_storage(output: Path | None, *, storage: str | None = None) -> str:
    """The SQLAlchemy URL of the database in a study's folder, or of the one that was named; it must be there."""
    if storage is not None:
        file_name = storage.removeprefix("sqlite:///")
        if storage.startswith("sqlite:///") and not Path(file_name).is_file():
            raise ConfigError(f"--storage: there is no file {file_name}; name the database python -m search.run wrote")
        return storage
    if output is None:
        raise ConfigError("--output: name the study's folder, or its database with --storage")
    if not (output / STUDY_FILE).is_file():
        raise ConfigError(f"--output: {output} holds no {STUDY_FILE}; name the folder that python -m search.run wrote")
    return f"sqlite:///{output / STUDY_FILE}"


def _only(names: list[str], where: str) -> str:
    if not names:
        raise DataError(f"{where}: there is no study yet; run python -m search.run first")
    if len(names) > 1:
        raise ConfigError(f"--study-name: {where} holds {len(names)} studies ({', '.join(names)}); name one of them")
    return names[0]
