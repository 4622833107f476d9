"""Where one parameter is searched: numbers from low to high, or one of several values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from textclf.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import optuna

Value = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All numbers from low to high, both included; whole ones where low and high are whole.

    log: search on a logarithmic scale. step: only low, low + step, ...
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def suggest(self, trial: "optuna.Trial", name: str) -> Value:
        """Ask Optuna for one of them."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=int(self.step or 1))
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def nearest(self, value: Any) -> Value:
        """The number of the range that is nearest to a value."""
        inside: int | float = min(max(value, self.low), self.high)
        if self.step:
            inside = self.low + round((inside - self.low) / self.step) * self.step
        return inside

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.nearest(value) == value

    def ends(self) -> tuple[Value, Value]:
        """Lowest and highest number."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{' (log)' if self.log else ''}{f' step {self.step}' if self.step else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One of several values; a single one is fixed and never searched."""

    choices: tuple[Value, ...]

    def suggest(self, trial: "optuna.Trial", name: str) -> Value:
        """Ask Optuna for one of them, or give the fixed one."""
        if len(self.choices) == 1:
            return self.choices[0]
        chosen = trial.suggest_categorical(name, self.choices)
        assert chosen is not None
        return chosen

    def nearest(self, value: Any) -> Value:
        """The value itself where it is a choice, else the nearest number among them, else the first."""
        if value in self.choices:
            return self.choices[self.choices.index(value)]
        numbers = [choice for choice in self.choices if isinstance(choice, int | float)]
        if isinstance(value, int | float) and len(numbers) == len(self.choices):
            return min(numbers, key=lambda number: abs(number - value))
        return self.choices[0]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the choices."""
        return value in self.choices

    def ends(self) -> tuple[Value, Value]:
        """First and last choice."""
        return self.choices[0], self.choices[-1]

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices))


Range = Numbers | Choices


def parse_range(raw: Any, *, source: str) -> Range:
    """Make a range of what a TOML file says: {low, high, log, step}, {choices}, or a fixed value.

    source: what errors name
    """
    if isinstance(raw, bool | int | float | str):
        return Choices(choices=(raw,))
    if not isinstance(raw, dict):
        raise ConfigError(f"{source} = {raw!r}; give a value, {{low, high, log, step}} or {{choices = [...]}}")
    if unknown := sorted(raw.keys() - {"low", "high", "log", "step", "choices"}):
        hint = did_you_mean(unknown[0], ("low", "high", "log", "step", "choices"))
        raise ConfigError(f"{source}: unknown key {unknown[0]!r}{hint}; known: low, high, log, step, choices")
    if "choices" in raw:
        choices = raw["choices"]
        if len(raw) > 1 or not isinstance(choices, list) or not choices:
            raise ConfigError(f"{source}: choices is a list with at least one value, and stands alone")
        return Choices(choices=tuple(choices))
    if not {"low", "high"} <= raw.keys():
        raise ConfigError(f"{source}: a range needs low and high")
    return _check_numbers(raw, source=source)


def _check_numbers(raw: Mapping[str, Any], *, source: str) -> Numbers:
    for name in raw.keys() & {"low", "high", "step"}:
        if isinstance(raw[name], bool) or not isinstance(raw[name], int | float):
            raise ConfigError(f"{source}: {name} = {raw[name]!r} is not a number")
    low, high, step = raw["low"], raw["high"], raw.get("step")
    if isinstance(low, float) != isinstance(high, float):
        low, high = float(low), float(high)
    log = bool(raw.get("log", False))
    if not low <= high:
        raise ConfigError(f"{source}: low {low} is above high {high}; swap them")
    if log and not low > 0:
        raise ConfigError(f"{source}: low = {low} on a logarithmic scale; give a low above 0")
    if step is not None and (log or step <= 0):
        raise ConfigError(f"{source}: step = {step} must be above 0 and not on a logarithmic scale")
    return Numbers(low=low, high=high, log=log, step=step)


def range_json(values: Range) -> dict[str, Any]:
    """A range as plain values; what is left at its default is left out."""
    plain = {name: value for name, value in asdict(values).items() if value is not None and value is not False}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
