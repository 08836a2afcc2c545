"""The page of `GET /docs`: the document of `/openapi.json` for people. Without script, and nothing is loaded."""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from typing import Any

from serving.protocols.page_html import CSS

SHOWN = 4000
"""Characters of one schema."""


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    title = escape(f"{document['info']['title']}, version {document['info']['version']}")
    listed = [
        (operation["tags"][0], method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    groups = "".join(
        f"<h2>{escape(group)}</h2>{_table(list(rows))}" for group, rows in groupby(listed, key=lambda each: each[0])
    )
    found = "".join(
        f'<h2 id="{escape(name)}">{escape(name)}</h2><pre>{_schema(schema)}</pre>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head><body>'
        f'<h1>{title}</h1><p class="soft">For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). '
        f'To try it: <a href="./">the model\'s page</a>.</p>{groups}{found}</body></html>\n'
    )


def _table(rows: list[tuple[str, str, str, dict[str, Any]]]) -> str:
    cells = "".join(
        f'<tr><th scope="row" class="mono">{method.upper()} {escape(path)}</th><td>{escape(operation["summary"])}</td>'
        f"<td>{_body(operation)}</td><td>{_link(operation['responses']['200']['content'])}</td></tr>"
        for _, method, path, operation in rows
    )
    head = "".join(f'<th scope="col">{each}</th>' for each in ("request", "what for", "body", "answer"))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table></div>'


def _body(operation: dict[str, Any]) -> str:
    return _link(operation["requestBody"]["content"]) if "requestBody" in operation else ""


def _link(content: dict[str, Any]) -> str:
    """The schema's name, leading to it, and other content types."""
    found = []
    for kind, described in content.items():
        name = described.get("schema", {}).get("$ref", "").rpartition("/")[2]
        found.append(f'<a href="#{escape(name)}">{escape(name)}</a>' if name else escape(kind))
    return ", ".join(found)


def _schema(schema: dict[str, Any]) -> str:
    text = json.dumps(schema, indent=1, ensure_ascii=False)
    return escape(text if len(text) <= SHOWN else f"{text[:SHOWN]}\n… (the rest is in openapi.json)")
