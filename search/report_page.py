"""The page of a report: one HTML file without script or network, light or dark as the reader's system is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from search.figures import DARK, DARK_SERIES, LIGHT, LIGHT_SERIES, PAGE, css_variables, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEW_LINE = "\n"
STYLE_FILE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading; content is HTML."""

    title: str
    content: str

    @property
    def anchor(self) -> str:
        """Its id in links."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table whose content is HTML; plain strings and numbers need none."""

    html: str


def render_page(*, title: str, subtitle: str, keys: str, sections: Sequence[Section], footer: str) -> str:
    """The whole file; title, subtitle and footer are plain text."""
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    parts = "".join(
        f'<section>\n<h2 id="{section.anchor}">{escape(section.title)}</h2>\n{section.content}\n</section>\n'
        for section in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"<header><p>Study</p><h1>{escape(title)}</h1><p>{escape(subtitle)}</p>{keys}<nav>{links}</nav></header>\n"
        f"{parts}<footer>{escape(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    light, dark = css_variables(LIGHT, LIGHT_SERIES), css_variables(DARK, DARK_SERIES)
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{STYLE_FILE.read_text(encoding='utf-8')}"
    )


def key_figures(figures: Iterable[tuple[str, str, str]]) -> str:
    """The few numbers at the head of the page: what, the number, and a remark under it."""
    items = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="keys">{"".join(items)}</dl>'


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]], *, leader: bool = False) -> str:
    """A table.

    columns: heading and class of cells: "number", "name", "strip", "long", "text", "code" or ""
    leader: the first row stands out
    """
    head = "".join(f'<th class="{"number" if kind == "number" else ""}">{escape(name)}</th>' for name, kind in columns)
    body = []
    for place, row in enumerate(rows):
        cells = "".join(_cell(value, kind) for value, (_, kind) in zip(row, columns, strict=True))
        first = "first" if leader and place == 0 else ""
        body.append(f'<tr class="{first}">{cells}</tr>')
    rendered = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{NEW_LINE.join(body)}\n</tbody>\n</table>"
    return f'<div class="scroll">{rendered}</div>'.replace(' class=""', "")


def _cell(value: object, kind: str) -> str:
    html = value.html if isinstance(value, Cell) else escape(str(value))
    return f'<td class="{kind}">{html}</td>'


def figure(drawn: "Figure", *, name: str, label: str, wide: bool = False) -> str:
    """A figure of the page, drawn in the page's look."""
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{to_svg(drawn, look=PAGE, name=name, label=escape(label, quote=True))}</figure>"


def paragraph(text: str, *, note: bool = False) -> str:
    """Plain text as a paragraph."""
    kind = ' class="note"' if note else ""
    return f"<p{kind}>{escape(text)}</p>"


def folded(summary: str, content: str) -> str:
    """HTML that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def code_block(text: str) -> str:
    """Commands."""
    return f"<pre>{escape(text)}</pre>"


def quoted(text: str) -> str:
    """What a program said."""
    return f'<pre class="wrapped">{escape(text)}</pre>'


def fold_strip(scores: Sequence[float], score: float, *, low: float, high: float) -> Cell:
    """Fold scores as dots and the score on all rows as a bar, on the scale from low to high."""
    span = (high - low) or 1.0
    inside = [min(max((value - low) / span, 0.0), 1.0) for value in scores]
    dots = "".join(f'<circle cx="{4 + 128 * place:.1f}" cy="9" r="3" opacity=".45"/>' for place in inside)
    bar = 4 + 128 * min(max((score - low) / span, 0.0), 1.0)
    return Cell(
        '<svg viewBox="0 0 136 18" aria-hidden="true"><line x1="4" x2="132" y1="9" y2="9" stroke="var(--line)"/>'
        f'<g fill="var(--accent)">{dots}<rect x="{bar - 1:.1f}" y="1" width="2" height="16"/></g></svg>'
    )
