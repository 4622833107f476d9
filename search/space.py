"""Where parameters are searched: default ranges per family, a user's changes to them, and the only suggest_* calls."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.ranges import Choices, Numbers, Range, Value, parse_range, range_json
from textclf.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import optuna

COMMON = "common"
DEFAULT_FAMILIES = ("bilstm_bigru", "bilstm_attention", "textcnn", "dan", "tfidf_logreg", "nbsvm")


_NETWORK: dict[str, Range] = {
    "dense_size": Numbers(low=32, high=128, step=32),
    "dropout": Numbers(low=0.0, high=0.5),
    "spatial_dropout": Numbers(low=0.0, high=0.5),
    "lr_min": Numbers(low=1e-4, high=1e-3, log=True),
    "lr_max": Numbers(low=1e-3, high=1e-2, log=True),
    "batch_size": Choices(choices=(32, 64, 128, 256)),
    "n_epochs": Numbers(low=2, high=6),
}
_RECURRENT: dict[str, Range] = {"hidden_size": Numbers(low=32, high=128, step=32), **_NETWORK}
_LINEAR: dict[str, Range] = {
    "c": Numbers(low=0.3, high=30.0, log=True),
    "word_ngrams": Numbers(low=1, high=3),
    "char_ngrams": Choices(choices=(0, 4, 5, 6)),
    "min_df": Numbers(low=1, high=5),
}
DEFAULT_RANGES: dict[str, dict[str, Range]] = {
    "bilstm_bigru": _RECURRENT,
    "bilstm_attention": _RECURRENT,
    "bilstm_bigru_keras": _RECURRENT,
    "textcnn": {"n_filters": Numbers(low=50, high=200, step=50), **_NETWORK},
    "dan": {"n_layers": Numbers(low=1, high=3), **_NETWORK, "n_epochs": Numbers(low=4, high=12)},
    "tfidf_logreg": _LINEAR,
    "nbsvm": {**_LINEAR, "nb_mix": Numbers(low=0.25, high=1.0)},
    "encoder": {
        "dropout": Numbers(low=0.0, high=0.3),
        "lr_max": Numbers(low=1e-5, high=1e-4, log=True),
        "batch_size": Choices(choices=(16, 32)),
        "n_epochs": Numbers(low=1, high=4),
    },
}


@dataclass(frozen=True)
class Space:
    """What a study searches: the ranges of each of its families, by the names of the configuration's fields."""

    ranges: Mapping[str, Mapping[str, Range]]

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the study, in order."""
        return tuple(self.ranges)

    def optuna_name(self, family: str, name: str) -> str:
        """The name a parameter has in Optuna: with its family before it where families differ in its range."""
        wanted = self.ranges[family][name]
        shared = all(ranges.get(name, wanted) == wanted for ranges in self.ranges.values())
        return name if shared else f"{family}.{name}"

    def suggest(self, trial: "optuna.Trial") -> dict[str, Value]:
        """Choose a family and its parameters for a trial."""
        families = self.families
        family = families[0] if len(families) == 1 else trial.suggest_categorical("family", families)
        searched = self.ranges[family].items()
        return {
            "family": family,
            **{name: values.suggest(trial, self.optuna_name(family, name)) for name, values in searched},
        }

    def to_optuna(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The searched ones of some parameters, under their names in Optuna."""
        family = params["family"]
        named = {} if len(self.families) == 1 else {"family": family}
        for name, values in self.ranges[family].items():
            if name in params and not (isinstance(values, Choices) and len(values.choices) == 1):
                named[self.optuna_name(family, name)] = values.nearest(params[name])
        return named

    def values_of(self, name: str) -> tuple[Value, ...]:
        """Every choice of a parameter over all families; empty where none names it."""
        found = [ranges[name] for ranges in self.ranges.values() if name in ranges]
        return tuple(
            dict.fromkeys(value for values in found if isinstance(values, Choices) for value in values.choices)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for the record of the study."""
        return {
            family: {name: range_json(values) for name, values in ranges.items()}
            for family, ranges in self.ranges.items()
        }


def make_space(families: Sequence[str], changes: Mapping[str, Mapping[str, Any]], *, source: str) -> Space:
    """The default ranges of some families, changed as a user wants them.

    changes: family name or "common" -> parameter -> {low, high, log, step}, {choices} or a fixed value
    Raises ConfigError that names the source, the key, and what would be right.
    """
    from textclf.families import FAMILIES

    for family in families:
        if family not in DEFAULT_RANGES or family not in FAMILIES:
            known = ", ".join(DEFAULT_RANGES)
            raise ConfigError(
                f"--family: {family!r} is not known{did_you_mean(family, DEFAULT_RANGES)}; known: {known}"
            )
    for section in changes:
        if section != COMMON and section not in DEFAULT_RANGES:
            hint = did_you_mean(section, [COMMON, *DEFAULT_RANGES])
            raise ConfigError(f"{source}: [{section}] is neither {COMMON} nor a family{hint}")
    fields = {family: field_names(family) for family in families}
    _refuse_unknown(changes, fields, source=source)
    ranges: dict[str, dict[str, Range]] = {}
    for family in families:
        ranges[family] = dict(DEFAULT_RANGES[family])
        for section in (COMMON, family):
            for name, raw in changes.get(section, {}).items():
                if name in fields[family]:
                    ranges[family][name] = parse_range(raw, source=f"{source}: [{section}] {name}")
        _check_corners(family, ranges[family], source=source)
    return Space(ranges)


def read_space_file(path: Path | str) -> dict[str, dict[str, Any]]:
    """Read changes of ranges from a TOML file of sections; raises ConfigError for anything else."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--space: {path} cannot be read ({error.strerror}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--space: {path} is not TOML ({error})") from None
    for section, values in content.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section!r} stands outside a section; put it under [{COMMON}] or [FAMILY]")
    return content


def known_good(space: Space, *, n_rows: int) -> list[dict[str, Any]]:
    """One good setting per family, the network of record first: the configurations' defaults, moved into the ranges.

    n_rows: training rows; a network gets the batch size that gives it some 200 updates per epoch, from 32 to 128
    """
    from textclf.config import NetConfig
    from textclf.families import config_dict, parse_config

    settings = []
    for family, ranges in space.ranges.items():
        config = parse_config({"family": family}, source=family)
        defaults = config_dict(config)
        if isinstance(config, NetConfig):
            defaults["batch_size"] = min(max(2 ** round(math.log2(max(n_rows, 1) / 200)), 32), 128)
        settings.append({"family": family, **{name: values.nearest(defaults[name]) for name, values in ranges.items()}})
    return settings


def check_enqueued(entries: Sequence[Mapping[str, Any]], space: Space, *, source: str) -> list[dict[str, Any]]:
    """Check a user's first trials against the space; parameters they leave out are the sampler's.

    Raises ConfigError that names the entry and the key.
    """
    from textclf.families import parse_config

    checked = []
    for number, entry in enumerate(entries, start=1):
        where = f"{source}: entry {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: {entry!r} is not a mapping of parameters")
        params = {"family": space.families[0], **entry}
        family = params["family"]
        if family not in space.ranges:
            hint = did_you_mean(str(family), space.families)
            raise ConfigError(f"{where}: family {family!r} is not in this study ({', '.join(space.families)}){hint}")
        parse_config(params, source=where)
        for name, value in params.items():
            values = space.ranges[family].get(name)
            if values is not None and not values.holds(value):
                raise ConfigError(f"{where}: {name} = {value!r} is outside the study's range ({values}); use --space")
        checked.append(params)
    return checked


def field_names(family: str) -> tuple[str, ...]:
    """Parameters of a family's configuration, searched by default or not."""
    from textclf.families import config_dict, parse_config

    return tuple(name for name in config_dict(parse_config({"family": family}, source=family)) if name != "family")


def _refuse_unknown(
    changes: Mapping[str, Mapping[str, Any]], fields: Mapping[str, tuple[str, ...]], *, source: str
) -> None:
    everywhere = sorted({name for family in DEFAULT_RANGES for name in field_names(family)})
    for section, values in changes.items():
        known = everywhere if section == COMMON else fields.get(section, ())
        for name in values if known else ():  # a section of a family that is not in the study says nothing
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigError(f"{source}: [{section}] has no parameter {name!r}{hint}; known: {', '.join(known)}")


def _check_corners(family: str, ranges: Mapping[str, Range], *, source: str) -> None:
    """Try the configuration at the ends of all ranges, so that no trial can draw an impossible one."""
    from textclf.families import parse_config

    lows = {name: values.ends()[0] for name, values in ranges.items()}
    highs = {name: values.ends()[1] for name, values in ranges.items()}
    corners = [lows, highs]
    if "lr_min" in ranges:
        corners.append({**lows, "lr_min": highs["lr_min"]})
    for name, values in ranges.items():
        corners += [{**lows, name: choice} for choice in values.choices] if isinstance(values, Choices) else []
    for corner in corners:
        parse_config({"family": family, **corner}, source=f"{source}: range of {family}")
