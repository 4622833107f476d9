"""The look of all figures: one plain style, drawn either for a page that may turn dark, or as a PNG on white.

A figure for a page carries marker colours that become CSS variables, so that one drawing serves light, dark and print.
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_SERIES = 8
HALF_WIDTH, FULL_WIDTH = 4.7, 9.8  # inches; a page shows two halves side by side
PAGE_VARIABLES = {
    "#000001": "var(--ink)",
    "#000002": "var(--muted)",
    "#000003": "var(--line)",
    "#000004": "var(--paper)",
    "#000005": "var(--accent)",
    "#000006": "var(--bad)",
    **{f"#0001{number:02x}": f"var(--s{number})" for number in range(N_SERIES)},
}
LIGHT = {
    "ink": "#1c2024",
    "muted": "#6b7280",
    "line": "#e3e6ea",
    "paper": "#ffffff",
    "accent": "#1f5fd0",
    "bad": "#c2334d",
}
LIGHT_SERIES = ("#1f5fd0", "#c76a00", "#12805c", "#8a4fc7", "#b8336a", "#4d7c0f", "#0e7490", "#6b7280")
DARK = {
    "ink": "#e6e8eb",
    "muted": "#9aa3ae",
    "line": "#2d333b",
    "paper": "#14171a",
    "accent": "#7aa7ff",
    "bad": "#ff7b93",
}
DARK_SERIES = ("#7aa7ff", "#f0a04b", "#4fc99a", "#bd93f9", "#f27ba9", "#a3c655", "#4cc3dc", "#9aa3ae")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours of a figure: text, second-rank text, hair lines, background, the one thing to see, what went wrong."""

    ink: str
    muted: str
    line: str
    paper: str
    accent: str
    bad: str
    series: tuple[str, ...]

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """A colour for each name, in order; they repeat after eight."""
        return {name: self.series[place % len(self.series)] for place, name in enumerate(names)}


PRINT = Look(**LIGHT, series=LIGHT_SERIES)
PAGE = Look(
    **{name: marker for name, marker in zip(LIGHT, PAGE_VARIABLES, strict=False)},  # noqa: C416  mypy reads it so
    series=tuple(marker for marker in PAGE_VARIABLES if marker.startswith("#0001")),
)


def css_variables(colours: dict[str, str], series: Sequence[str]) -> str:
    """The colours as CSS declarations, for the page that holds the figures."""
    pairs = [*colours.items(), *((f"s{number}", colour) for number, colour in enumerate(series))]
    return " ".join(f"--{name}: {colour};" for name, colour in pairs)


@contextmanager
def drawing(look: Look) -> Iterator[None]:
    """Draw figures of a look in a with block; the settings of a notebook around it are left alone."""
    import matplotlib as mpl

    with mpl.rc_context(_settings(look)):
        yield


def new_figure(width: float, height: float, *, panels: tuple[int, int] = (1, 1)) -> "tuple[Figure, list[Axes]]":
    """A figure of so many inches, outside pyplot, with its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(*panels, squeeze=False)
    return figure, list(axes.ravel())


def to_svg(figure: "Figure", *, look: Look, name: str, label: str) -> str:
    """An <svg> element to stand in a page: scales with its column, its colours are the page's.

    name: unlike that of any other figure of the page; label: what a screen reader says
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**_settings(look), "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z.]+[0-9]?[A-Za-z]*_[0-9]+"', "", svg)  # ids such as axes_1 repeat from figure to figure
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    for marker, variable in PAGE_VARIABLES.items():
        svg = svg.replace(marker, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def to_png(figure: "Figure", *, look: Look = PRINT) -> bytes:
    """The figure as a PNG, sharp on dense screens."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(_settings(look)):
        figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def hide(axes: "Axes") -> None:
    """Leave a panel empty."""
    axes.set_axis_off()


def _settings(look: Look) -> Any:
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": look.line,
        "axes.facecolor": "none",
        "axes.formatter.useoffset": False,
        "axes.grid": True,
        "axes.labelcolor": look.muted,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": look.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "figure.facecolor": look.paper,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "grid.color": look.line,
        "grid.linewidth": 0.7,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "legend.labelcolor": look.ink,
        "lines.linewidth": 1.6,
        "savefig.facecolor": look.paper,
        "svg.fonttype": "none",
        "text.color": look.ink,
        "xtick.color": look.muted,
        "xtick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.color": look.muted,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
    }
