"""A mail as blocks, written out as plain text and as HTML, so that both always say the same.

All texts are foreign (commit subjects, test names, error messages): control and direction characters are taken out
here, and HTML escapes everything. Styles are inline and there is no script, because mail programs drop the rest.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal

from pipelines.text.clean import clean
from registry.dataclass import dataclass

WIDTH = 78  # columns of plain text
CODE = re.compile(r"`([^`]+)`")
Tone = Literal["good", "bad", "plain"]
COLOURS: dict[Tone, tuple[str, str]] = {  # line, ground
    "good": ("#1a7f37", "#eefaf0"),
    "bad": ("#b3261e", "#fdf0ef"),
    "plain": ("#57606a", "#f6f8fa"),
}


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """What must be seen first: a sentence and details in a coloured frame."""

    tone: Tone
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """A line to be copied; it is never wrapped with line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; all columns but the first are set to the right when `numbers`."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A PNG that is sent with the mail under a content id."""

    cid: str
    alt: str


Block = Paragraph | Box | Bullets | Code | Table | Image


@dataclass(frozen=True, slots=True)
class Section:
    """A title, which may be empty, and what is under it."""

    title: str
    blocks: tuple[Block, ...]


def to_text(title: str, sections: Iterable[Section]) -> str:
    """The mail in lines of at most `WIDTH` columns, commands and addresses excepted."""
    parts = [textwrap.fill(clean(title), WIDTH)]
    for section in sections:
        body = [_text(block) for block in section.blocks]
        if section.title:
            heading = clean(section.title)
            body.insert(0, f"{heading}\n{'-' * len(heading)}")
            # The heading and its first block belong together.
            body[:2] = ["\n".join(body[:2])]
        parts += body
    return "\n\n".join(parts) + "\n"


def _text(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _fill(text)
        case Box(tone, text, items):
            mark = "!!! " if tone == "bad" else ""
            return "\n".join([_fill(mark + text), *(_fill(each, "  - ") for each in items)])
        case Bullets(items):
            return "\n".join(_fill(each, "  - ") for each in items)
        case Code(text):
            return f"    {clean(text, 4000)}"
        case Table():
            return _text_table(block)
        case Image(_, alt):
            return _fill(f"[image: {alt}]")


def _fill(text: str, bullet: str = "") -> str:
    return textwrap.fill(
        bullet + clean(text),
        WIDTH,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _text_table(table: Table) -> str:
    rows = [tuple(clean(cell) for cell in row) for row in (table.head, *table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    right = table.numbers

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if right and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  " + "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in rows)


def to_html(title: str, sections: Iterable[Section]) -> str:
    """The mail as one HTML page of at most 680 pixels."""
    body = [f'<h1 style="font-size:20px;line-height:1.3;margin:0 0 16px">{escape(title)}</h1>']
    for section in sections:
        if section.title:
            body.append(f'<h2 style="font-size:15px;margin:28px 0 8px">{escape(section.title)}</h2>')
        body += [_html(block) for block in section.blocks]
    font = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:1.5"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>' + escape(title) + "</title></head>\n"
        f'<body style="margin:0;padding:24px;background:#ffffff;color:#1f2328;{font}">\n'
        '<div style="max-width:680px;margin:0 auto">\n' + "\n".join(body) + "\n</div></body></html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f'<p style="margin:0 0 10px">{marked(text)}</p>'
        case Box(tone, text, items):
            line, ground = COLOURS[tone]
            more = _html(Bullets(items)) if items else ""
            return (
                f'<div style="border-left:4px solid {line};background:{ground};padding:10px 14px;margin:0 0 12px">'
                f'<strong style="color:{line}">{marked(text)}</strong>{more}</div>'
            )
        case Bullets(items):
            lines = "".join(f'<li style="margin:2px 0">{marked(each)}</li>' for each in items)
            return f'<ul style="margin:6px 0 10px;padding-left:20px">{lines}</ul>'
        case Code(text):
            return (
                '<pre style="background:#f6f8fa;border:1px solid #d0d7de;border-radius:6px;padding:10px 12px;'
                "margin:0 0 10px;white-space:pre-wrap;word-break:break-all;font-family:ui-monospace,Menlo,Consolas,"
                f'monospace;font-size:12.5px">{escape(text, 4000)}</pre>'
            )
        case Table():
            return _html_table(block)
        case Image(cid, alt):
            return (
                f'<img src="cid:{escape(cid)}" alt="{escape(alt)}" '
                'style="max-width:100%;height:auto;margin:4px 0 10px;border:1px solid #d0d7de">'
            )


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, extra: str) -> str:
        written = []
        for column, cell in enumerate(cells):
            side = "right" if table.numbers and column else "left"
            style = (
                f"text-align:{side};vertical-align:top;padding:4px 14px 4px 0;border-bottom:1px solid #d8dee4{extra}"
            )
            written.append(f'<{tag} style="{style}">{marked(cell)}</{tag}>')
        return "<tr>" + "".join(written) + "</tr>"

    head = row(table.head, "th", ";font-weight:600;color:#57606a")
    rows = "".join(row(each, "td", "") for each in table.rows)
    return f'<table style="border-collapse:collapse;margin:0 0 12px;font-size:13px">{head}{rows}</table>'


def marked(text: str, limit: int = 500) -> str:
    """`escape`, with the words between back-ticks as code."""
    return CODE.sub(r"<code>\1</code>", escape(text, limit))


def escape(text: str, limit: int = 500) -> str:
    """One clean line for HTML and XML, between tags and in quoted attributes."""
    return html.escape(clean(text, limit), quote=True)
