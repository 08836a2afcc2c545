"""Who did what: on the console, and in the registry by any way; as a page and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from flask import Blueprint, Response, current_app, g, render_template, request
from flask.blueprints import BlueprintSetupState

from pipelines.console import audit
from pipelines.console.audit_lines import COLUMNS, Line, RegistryLines, chosen, of_console
from pipelines.console.needs import can, needs
from pipelines.console.services import services

page = Blueprint("audit", __name__)
SHOWN = 100
FORMULA = ("=", "+", "-", "@", "\t", "\r")
KEPT = "trainyard.audit"


@page.record_once
def prepare(state: BlueprintSetupState) -> None:
    """What was read of registries is kept by the app."""
    state.app.extensions[KEPT] = RegistryLines()


@page.get("/audit")
@needs("audit")
def show() -> str:
    """The newest lines about models whose log the person may read, or about none."""
    lines, problems = _lines()
    asked = _asked()
    found = chosen(lines, asked)
    return render_template(
        "audit.html",
        lines=found[:SHOWN],
        count=len(found),
        models=choices(_models()),
        actions=choices({each.action for each in lines}),
        asked=asked,
        problems=problems,
    )


@page.get("/audit.csv")
@needs("audit")
def download() -> Response:
    """All lines that the filter lets through."""
    lines, _ = _lines()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(getattr(each, name)) for name in COLUMNS] for each in chosen(lines, _asked()))
    audit.record("audit download", _asked()["model"], "")
    return Response(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": "attachment; filename=audit.csv"},
    )


def cell(text: str) -> str:
    """For a spreadsheet, which takes for a formula what begins like one."""
    return f"'{text}" if text.startswith(FORMULA) else text


def choices(names: Iterable[str]) -> list[tuple[str, str]]:
    """For a field that chooses one of them, or all."""
    return [("", "all"), *((each, each) for each in sorted(names))]


def _models() -> list[str]:
    return sorted(name for name in g.roles if can("audit", name))


def _asked() -> dict[str, str]:
    return {name: request.args.get(name, "")[:100] for name in ("model", "action", "since", "until", "text")}


def _lines() -> tuple[list[Line], list[str]]:
    models, asked = _models(), _asked()
    places = [services().installation.models[name] for name in models if asked["model"] in {"", name}]
    registries: RegistryLines = current_app.extensions[KEPT]
    found, wrong = registries.of(places)
    log = services().audit
    own = [of_console(each) for each in log.entries() if each.model in {"", *models}]
    broken = [f"The console's log was changed after it was written: {each}." for each in log.problems()]
    return [*own, *found], [*broken, *wrong]
