"""The cookie of a session, and who the browser is by it, or by a trusted proxy's header."""

from __future__ import annotations

from flask import Response, g, request, session

from pipelines.config.console_sections import Console
from pipelines.console.person import Person
from pipelines.console.proxies import EMAIL, USER
from pipelines.console.services import services
from pipelines.console.sessions import Session

NAME = "trainyard"


def is_https(settings: Console) -> bool:
    """Whether browsers reach the console over TLS."""
    return settings.url.startswith("https://")


def cookie_name(name: str, *, https: bool) -> str:
    """Over TLS no other host of the domain, and no plain connection, can set a cookie of this name."""
    return f"__Host-{name}" if https else name


def person_now() -> tuple[Person | None, Session | None]:
    """Who asks, and the session."""
    settings = services().installation.settings
    if settings.sign_in == "proxy":
        user = request.environ.get(USER, "")
        if user:
            return Person(user, request.environ.get(EMAIL, ""), "proxy"), None
    value = request.cookies.get(cookie_name(NAME, https=is_https(settings)), "")
    found = services().sessions.find(value)
    return (found.person, found) if found else (None, None)


def begin(response: Response, person: Person, ends_at_provider: str = "") -> Response:
    """Sign somebody in with this answer: always a new session, whatever the browser had before."""
    if g.get("session"):
        services().sessions.end(g.session)
    session.clear()
    settings = services().installation.settings
    value = services().sessions.begin(person, ends_at_provider)
    response.set_cookie(
        cookie_name(NAME, https=is_https(settings)),
        value,
        secure=is_https(settings),
        httponly=True,
        samesite="Lax",
        path="/",
    )
    return response


def end(response: Response) -> Response:
    """Sign out: the session is over here, whether or not the browser forgets its cookie."""
    if g.get("session"):
        services().sessions.end(g.session)
    session.clear()
    settings = services().installation.settings
    https = is_https(settings)
    response.delete_cookie(cookie_name(NAME, https=https), secure=https, httponly=True, samesite="Lax", path="/")
    return response
