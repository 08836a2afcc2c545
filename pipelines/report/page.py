"""Blocks as an HTML page that survives a content security policy without script, inline style or foreign origins.

All texts are foreign (commit subjects, test names, error messages): every one of them is escaped here, and nowhere else.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.markup import Box, Bullets, Code, Paragraph, Table
from pipelines.words import clean

MAX_CELL = 500  # characters
MAX_LINES = 40  # of a message
OUTCOMES = {"passed", "failed", "error", "skipped"}


@dataclass(frozen=True, slots=True)
class Tiles:
    """The numbers that are looked at first: name → value."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture beside the page, in the pixels that it takes on screen."""

    file: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Pictures side by side, as far as the screen is wide."""

    items: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One check: outcome, name, time, and what it said, which may be many lines."""

    outcome: str
    name: str
    seconds: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Cases:
    """The checks of one suite under a title, folded away when all is well."""

    title: str
    cases: tuple[Case, ...]
    more: int = 0
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """Links to files beside the page: name, and what it is."""

    items: tuple[tuple[str, str], ...]


Block = Paragraph | Box | Bullets | Code | Table | Tiles | Figures | Cases | Files


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under a title; `anchor` is our own word."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]


def to_page(title: str, sub: str, summary: Iterable[Block], sections: Sequence[Section], footer: str) -> bytes:
    """The page, whole."""
    links = "\n".join(f'<a href="#{each.anchor}">{escape(each.title)}</a>' for each in sections)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        '<link rel="stylesheet" href="report.css">',
        "</head>",
        "<body>",
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="soft">{escape(sub)}</p>\n</header>',
        "<main>",
        *map(_block, summary),
        f'<nav aria-label="On this page">\n{links}\n</nav>',
    ]
    for section in sections:
        parts.append(f'<section aria-labelledby="{section.anchor}">')
        parts.append(f'<h2 id="{section.anchor}">{escape(section.title)}</h2>')
        parts += [*map(_block, section.blocks), "</section>"]
    parts += ["</main>", f"<footer>{escape(footer)}</footer>", "</body>", "</html>\n"]
    return "\n".join(parts).encode("utf-8")


def escape(text: str, limit: int = MAX_CELL) -> str:
    """Foreign words for HTML, in one line."""
    return html.escape(clean(text, limit), quote=True)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text, 2000)}</p>"
        case Box(tone, text, items):
            more = _block(Bullets(items)) if items else ""
            return f'<div class="box {tone}"><p>{escape(text, 2000)}</p>{more}</div>'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{escape(each, 1000)}</li>" for each in items) + "</ul>"
        case Code(text):
            return f"<pre>{_lines(text)}</pre>"
        case Table():
            return _table(block)
        case Tiles(items):
            tiles = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in items)
            return f'<dl class="tiles">{"".join(tiles)}</dl>'
        case Figures(items):
            return '<div class="figures">' + "".join(map(_figure, items)) + "</div>"
        case Cases():
            return _cases(block)
        case Files(items):
            links = (f'<li><a href="{escape(name)}">{escape(name)}</a>: {escape(what)}</li>' for name, what in items)
            return f'<ul class="files">{"".join(links)}</ul>'


def _figure(figure: Figure) -> str:
    name = escape(figure.file)
    return (
        f'<figure><a href="{name}"><img src="{name}" alt="{escape(figure.alt)}" width="{figure.width}" '
        f'height="{figure.height}"></a><figcaption>{escape(figure.caption)}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in table.head)
    rows = "".join(_row(each) for each in table.rows)
    kind = ' class="numbers"' if table.numbers else ""
    body = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _scroll(body, table.head[0])


def _row(cells: Sequence[str]) -> str:
    first, *others = map(escape, cells)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{each}</td>" for each in others) + "</tr>"


def _cases(cases: Cases) -> str:
    rows = "".join(map(_case, cases.cases))
    head = '<th scope="col">outcome</th><th scope="col">check</th><th scope="col">time</th>'
    table = _scroll(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", cases.title)
    more = f"<p>... and {cases.more:,} more, see the XML file</p>" if cases.more else ""
    if cases.folded:
        return f"<details><summary>{escape(cases.title)}</summary>{table}{more}</details>"
    return f"<h3>{escape(cases.title)}</h3>{table}{more}"


def _case(case: Case) -> str:
    kind = case.outcome if case.outcome in OUTCOMES else "error"
    said = f"<pre>{_lines(case.message)}</pre>" if case.message.strip() else ""
    return f'<tr><td class="{kind}">{kind}</td><td class="wide">{escape(case.name)}{said}</td><td>{escape(case.seconds)}</td></tr>'


def _scroll(table: str, label: str) -> str:
    """A table that is wider than the screen moves by itself, also with the keyboard."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{table}</div>'


def _lines(text: str) -> str:
    lines = text.strip("\n").splitlines()
    shown = [_keep_spaces(each) for each in lines[:MAX_LINES]]
    more = [f"... and {len(lines) - MAX_LINES:,} more lines"] if len(lines) > MAX_LINES else []
    return "\n".join([*shown, *more])


def _keep_spaces(line: str) -> str:
    words = clean(line)
    indent = min(len(line) - len(line.lstrip(" ")), 40)
    return " " * indent + html.escape(words, quote=True)
