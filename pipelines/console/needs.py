"""What a page needs: somebody who has signed in, and whose role allows it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from pipelines.console.installation import Installation
from pipelines.console.roles import ACTIONS, may
from pipelines.console.services import services

View = Callable[..., Any]


def installation() -> Installation:
    """What the console is about."""
    return services().installation


def can(action: str, model: str = "") -> bool:
    """Whether who has signed in may do this to a model, or to any; for templates: what is not allowed is not offered."""
    return g.get("person") is not None and may(g.roles, action, model)


def needs(action: str) -> Callable[[View], View]:
    """For a view, mostly with an argument `model`: who is not signed in is asked to sign in; 404 for a model that this person may
    not see, as for one that is not there; 403 when the role does not allow `action`. Sets `g.person`, and `g.place` with a
    model."""
    assert action in ACTIONS, action

    def decorator(view: View) -> View:
        @functools.wraps(view)
        def checked(**arguments: Any) -> Any:
            if g.get("person") is None:
                return _sign_in_first()
            if "model" in arguments:
                g.place = installation().models.get(arguments["model"])
                if g.place is None or not can("see", arguments["model"]):
                    abort(404)
            if g.person.only not in {"", f"{arguments.get('model', '')}/{arguments.get('version', '')}"}:
                abort(404)  # who came by the link of a mail sees what that is about
            if not can(action, arguments.get("model", "")):
                abort(403, _why_not(action))
            return view(**arguments)

        checked.needs = action  # type: ignore[attr-defined]  # for the test that walks over all routes
        return checked

    return decorator


def takes_files(most: int) -> Callable[[View], View]:
    """For a view below `needs`, whose form has files: so many bytes at most, from who has signed in."""

    def decorator(view: View) -> View:
        view.most_body = most  # type: ignore[attr-defined]
        return view

    return decorator


def most_body(endpoint: str | None) -> int | None:
    """What a view takes, if it has said so."""
    return getattr(current_app.view_functions.get(endpoint or ""), "most_body", None)


def _sign_in_first() -> Response:
    """The sign-in leads back to a page; what was to be decided is not decided by that."""
    if request.method not in {"GET", "HEAD"}:
        abort(403, "Sign in first, then send the form again.")
    return redirect(url_for("sign_in.form", next=request.full_path.rstrip("?")), 303)


def _why_not(action: str) -> str:
    roles = [role for role in ("labeller", "engineer", "owner", "admin", "viewer") if role in ACTIONS[action]]
    return f"To {action}, one of these roles is needed: {', '.join(roles)}. An admin of this installation can give it."
