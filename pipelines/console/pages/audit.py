"""Who did what in the console."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Blueprint, g, render_template, request

from pipelines.console.needs import needs
from pipelines.console.services import services

page = Blueprint("audit", __name__)
SHOWN = 200


@page.get("/audit")
@needs("audit")
def show() -> str:
    """The newest entries about models that the person may see, or about none."""
    log = services().audit
    model, action = request.args.get("model", "")[:100], request.args.get("action", "")[:100]
    seen = [each for each in log.entries() if each.model in {"", *g.roles}]
    found = [each for each in seen if model in {"", each.model} and action in {"", each.action}]
    return render_template(
        "audit.html",
        entries=found[: -SHOWN - 1 : -1],
        count=len(found),
        models=choices(g.roles),
        actions=choices({each.action for each in seen}),
        model=model,
        action=action,
        problems=log.problems(),
    )


def choices(names: Iterable[str]) -> list[tuple[str, str]]:
    """For a field that chooses one of them, or all."""
    return [("", "all"), *((each, each) for each in sorted(names))]
