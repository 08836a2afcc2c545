"""The models of this installation, as a list."""

from __future__ import annotations

from flask import Blueprint, g, render_template

from pipelines.console.needs import needs

page = Blueprint("start", __name__)


@page.get("/")
@needs("see")
def show() -> str:
    """Those that the person may see, with the role there."""
    return render_template("start.html", roles=g.roles)
