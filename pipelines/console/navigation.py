"""Which pages there are: the bar on top, and the tabs of a model. What somebody may not see is not there."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, g, request, url_for

from pipelines.console.needs import can
from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A module of `pipelines.console.pages`."""

    module: str
    title: str = ""
    """In the bar on top, or of the tab; empty: it is reached from elsewhere."""
    endpoint: str = ""
    """Where the link leads, e.g. `runs.listed`; a tab's has the argument `model` and no other."""
    action: str = "see"
    """What the role must allow."""
    tab: str = ""
    """The page is a tab of a model, of this name; its template says `{% set tab = "…" %}`."""


@dataclass(frozen=True, slots=True)
class Link:
    """As a template shows it."""

    title: str
    address: str
    name: str
    here: bool


def add_navigation(app: Flask, pages: Sequence[Page]) -> None:
    """Give templates `bar()` and `tabs(model)`."""
    top = [each for each in pages if each.title and not each.tab]
    of_model = [each for each in pages if each.tab]

    def bar() -> list[Link]:
        if g.get("person") is None:
            return []
        return [
            Link(each.title, url_for(each.endpoint), each.module, request.endpoint == each.endpoint)
            for each in top
            if can(each.action)
        ]

    def tabs(model: str, chosen: str = "") -> list[Link]:
        return [
            Link(each.title, url_for(each.endpoint, model=model), each.tab, each.tab == chosen)
            for each in of_model
            if can(each.action, model)
        ]

    app.jinja_env.globals.update(bar=bar, tabs=tabs)
