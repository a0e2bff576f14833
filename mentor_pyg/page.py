"""Sections of text, tables and figures, as Markdown and as one HTML page."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Section", "Table", "as_html", "as_markdown"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text below a header; the first column is to the left, numbers to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    """Which cells stand out, by row and column."""
    words: frozenset[int] = frozenset()
    """Which other columns hold words, and are to the left too."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report."""

    title: str
    level: int = 2
    text: Sequence[str] = ()
    """Paragraphs of plain text."""
    table: Table | None = None
    figure: Path | None = None
    """A PNG file; its title says what it shows."""
    svg: str | None = None
    """A drawing in HTML; Markdown goes without it."""
    code: str | None = None


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8886; }
td, th[scope=row] { white-space: nowrap; }
th[scope=row] { font-weight: normal; }
th:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
th.words, td.words { text-align: left; }
img { max-width: 100%; background: white; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; }
@media print {
  body { max-width: none; font-size: 11px; }
  section { break-inside: avoid; }
  .wide { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  table { font-size: 9px; }
  th, td { padding: .15rem .35rem; }
  th:first-child { position: static; }
}
"""


def as_markdown(sections: Sequence[Section], folder: Path) -> str:
    """Return the page as Markdown, whose figures are files below ``folder``."""
    parts: list[str] = []
    for section in sections:
        parts.append(f"{'#' * section.level} {section.title}")
        parts += section.text
        if section.table is not None:
            parts.append(_markdown_table(section.table))
        if section.figure is not None:
            parts.append(f"![{section.title}]({section.figure.relative_to(folder).as_posix()})")
        if section.code is not None:
            parts.append(f"```bash\n{section.code}\n```")
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    marked = [
        [f"**{cell}**" if (r, c) in table.bold else cell for c, cell in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]
    rule = "|---|" + "".join(
        "---|" if c in table.words else "---:|" for c in range(1, len(table.columns))
    )
    return "\n".join([line(table.columns), rule, *map(line, marked)])


def as_html(sections: Sequence[Section]) -> str:
    """Return the page as one HTML file that needs no other, figures included."""
    title = html.escape(sections[0].title)
    body = "\n".join(_html_section(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _html_section(section: Section) -> str:
    title = html.escape(section.title)
    parts = [f"<h{section.level}>{title}</h{section.level}>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
    if section.table is not None:
        parts.append(_html_table(section.table))
    if section.figure is not None:
        data = base64.b64encode(section.figure.read_bytes()).decode()
        parts.append(f'<img alt="{title}" src="data:image/png;base64,{data}">')
    if section.svg is not None:
        parts.append(section.svg)
    if section.code is not None:
        parts.append(f"<pre><code>{html.escape(section.code)}</code></pre>")
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _html_table(table: Table) -> str:
    kinds = [' class="words"' if c in table.words else "" for c in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(name)}</th>'
        for kind, name in zip(kinds, table.columns, strict=True)
    )
    rows = []
    for r, row in enumerate(table.rows):
        cells = [
            f"<strong>{html.escape(cell)}</strong>" if (r, c) in table.bold else html.escape(cell)
            for c, cell in enumerate(row)
        ]
        first = f'<th scope="row">{cells[0]}</th>'
        others = zip(kinds[1:], cells[1:], strict=True)
        rows.append(f"<tr>{first}{''.join(f'<td{k}>{cell}</td>' for k, cell in others)}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
