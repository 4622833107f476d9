"""Where a study lies: its folder or a database, and which study of it is meant."""

from collections.abc import Collection, Sequence
from pathlib import Path

import sqlalchemy as sa

from ensemble.members import Pool, read_pool
from textclf.errors import ConfigError, DataError, RunError
from textclf.store import PredictionStore

STUDY_FILE = "study.db"


def open_pool(
    output: Path | str | None, *, storage: str | None, study_name: str | Sequence[str] | None, exclude: Collection[int]
) -> tuple[Pool, str]:
    """Read the members of a study; returns them with the storage as it may be shown, its password hidden."""
    url = storage_url(output, storage=storage)
    store = PredictionStore(url)
    shown = store.engine.url.render_as_string(hide_password=True)
    try:
        names = [study_name] if isinstance(study_name, str) else list(study_name or ())
        return read_pool(store, names or [only_study(store, shown)], exclude=exclude), shown
    except sa.exc.DatabaseError as error:
        cause = str(error.orig).strip().splitlines()[0]
        raise RunError(f"{shown}: the database cannot be read ({cause}); check the address and that it is up") from None
    finally:
        store.close()


def storage_url(output: Path | str | None, *, storage: str | None) -> str:
    """The database of a study's folder, or the one that was named; ConfigError unless it is there."""
    if storage is None:
        if output is None:
            raise ConfigError("--output: name the study's folder, or its database with --storage")
        file = Path(output) / STUDY_FILE
        if not file.is_file():
            raise ConfigError(
                f"--output: {output} holds no {STUDY_FILE}; name the folder that python -m search.run wrote"
            )
        return f"sqlite:///{file}"
    file_name = storage.removeprefix("sqlite:///")
    if storage.startswith("sqlite:///") and not Path(file_name).is_file():
        raise ConfigError(f"--storage: there is no file {file_name}; name the database that python -m search.run wrote")
    return storage


def only_study(store: PredictionStore, shown: str) -> str:
    """The name of the one study of a store."""
    names = store.study_names()
    if not names:
        raise DataError(f"{shown}: there is no study yet; run python -m search.run first")
    if len(names) > 1:
        raise ConfigError(f"--study-name: {shown} holds {len(names)} studies ({', '.join(names)}); name one of them")
    return names[0]
