"""The parts of an HTML page for a content security policy without script, inline style and foreign origins.

All texts are foreign (commit subjects, test names, error messages): each function here escapes what it is given.
What these functions give is `Html`, so that nothing else gets into a page by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NewType

from pipelines.text.markup import Box, Bullets, Code, Image, Paragraph, Table, escape, marked
from registry.records import TestCase

Html = NewType("Html", str)
MAX_LINES = 40  # of a message
MAX_MESSAGE = 4000  # characters


def whole_page(title: str, sub: str, top: Iterable[Html], sections: Sequence[tuple[str, str, list[Html]]]) -> bytes:
    """The page. A section is an anchor (our own word), a title, and what is under it."""
    links = "\n".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections)
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>',
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        '<link rel="stylesheet" href="report.css">',
        "</head>\n<body>",
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="soft">{escape(sub)}</p>\n</header>\n<main>',
        *top,
        f'<nav aria-label="On this page">\n{links}\n</nav>',
    ]
    for anchor, name, blocks in sections:
        parts.append(f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(name)}</h2>')
        parts += [*blocks, "</section>"]
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"]).encode("utf-8")


def written(block: Paragraph | Box | Bullets | Code | Table | Image) -> Html:
    """A block as the mail has it, in the report's own style."""
    match block:
        case Paragraph(text):
            return Html(f"<p>{marked(text, 2000)}</p>")
        case Box(tone, text, items):
            more = written(Bullets(items)) if items else ""
            return Html(f'<div class="box {tone}"><p>{marked(text, 2000)}</p>{more}</div>')
        case Bullets(items):
            return Html("<ul>" + "".join(f"<li>{marked(each, 1000)}</li>" for each in items) + "</ul>")
        case Code(text):
            return Html(f"<pre>{_lines(text)}</pre>")
        case Table(head, rows, numbers):
            return table(head, rows, numbers=numbers)
        case Image(_, alt):  # it is part of a mail; here images are files
            return Html(f"<p>{escape(alt)}</p>")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> Html:
    """Rows under a head; all columns but the first are set to the right when `numbers`."""
    top = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "\n".join(map(_row, rows))
    kind = ' class="numbers"' if numbers else ""
    return _scroll(f"<table{kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>", head[0])


def tiles(items: Iterable[tuple[str, str]]) -> Html:
    """The numbers that are looked at first: name, value."""
    each = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in items)
    return Html(f'<dl class="tiles">{"".join(each)}</dl>')


def figure(file: str, alt: str, caption: str, size: tuple[int, int]) -> Html:
    """An image beside the page, in CSS pixels."""
    name, (width, height) = escape(file), size
    return Html(
        f'<figure><a href="{name}"><img src="{name}" alt="{escape(alt)}" width="{width}" height="{height}"></a>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def figures(items: Iterable[Html]) -> Html:
    """Images side by side, as far as the screen is wide."""
    return Html('<div class="figures">' + "\n".join(items) + "</div>")


def cases(title: str, shown: Iterable[tuple[TestCase, str]], more: int, *, folded: bool) -> Html:
    """The checks of one suite, each with the time that it took; `more` are not shown."""
    rows = "\n".join(_case(case, time) for case, time in shown)
    top = '<th scope="col">outcome</th><th scope="col">check</th><th scope="col">time</th>'
    body = _scroll(f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>", title)
    rest = f"<p>... and {more:,} more, see the XML file</p>" if more else ""
    if folded:
        return Html(f"<details><summary>{escape(title)}</summary>{body}{rest}</details>")
    return Html(f"<h3>{escape(title)}</h3>{body}{rest}")


def links(items: Iterable[tuple[str, str]]) -> Html:
    """Files beside the page: name, and what it is."""
    each = (f'<li><a href="{escape(name)}">{escape(name)}</a>: {escape(what)}</li>' for name, what in items)
    return Html(f'<ul class="files">{"".join(each)}</ul>')


def _row(cells: Sequence[str]) -> str:
    first, *others = map(escape, cells)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{each}</td>" for each in others) + "</tr>"


def _case(case: TestCase, time: str) -> str:
    said = f"<pre>{_lines(case.message[:MAX_MESSAGE])}</pre>" if case.message.strip() else ""
    name, kind = escape(case.name), case.outcome
    return f'<tr><td class="{kind}">{kind}</td><td class="wide">{name}{said}</td><td>{escape(time)}</td></tr>'


def _scroll(wide: str, label: str) -> Html:
    """What is wider than the screen moves by itself, also with the keyboard."""
    return Html(f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{wide}</div>')


def _lines(text: str) -> str:
    lines = text.strip("\n").splitlines()
    shown = [_keep_indent(each) for each in lines[:MAX_LINES]]
    more = [f"... and {len(lines) - MAX_LINES:,} more lines"] if len(lines) > MAX_LINES else []
    return "\n".join([*shown, *more])


def _keep_indent(line: str) -> str:
    return " " * min(len(line) - len(line.lstrip(" ")), 40) + escape(line)
