"""The console as a Flask app: its pages, who asks, and what goes around every answer."""

from __future__ import annotations

import logging
import secrets
from importlib import import_module
from urllib.parse import urlsplit

from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from pipelines.console import csrf
from pipelines.console.cookies import cookie_name, is_https, person_now
from pipelines.console.installation import Installation
from pipelines.console.navigation import Page, add_navigation
from pipelines.console.needs import can, most_body
from pipelines.console.proxies import ProxyHeaders
from pipelines.console.services import open_services, own_secret, services
from pipelines.console.sign_in.local_users import Cost
from pipelines.console.static_files import StaticFiles
from registry.dataclass import dataclass
from registry.errors import PipelineError, TryAgain, from_os_error

log = logging.getLogger(__name__)

PAGES = (
    Page("overview", "Models", "overview.show", "see"),
    Page("model", "Overview", "model.show", "see", tab="overview"),
    Page("decision", "Decision", "decision.choose", "see", "decision"),
    Page("monitor", "Monitor", "monitor.show", "see", tab="monitor"),
    Page("labels", "Labels", "labels.show", "see", tab="labels"),
    Page("audit", "Audit", "audit.show", "audit"),
    Page("settings", "Settings", "settings.show", "settings"),
    Page("sign_in"),
    Page("mail_link"),
)
"""The modules of `pipelines.console.pages`. With a title a page is in the bar on top; with a tab, among those of a model."""
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
MOST_BODY, MOST_FIELDS = 1_000_000, 500
"""Bytes of a form, and parts of it. A page that takes files says how much with `needs.takes_files`."""
TITLES = {
    400: "This request cannot be read",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not possible this way",
    413: "Too large",
    429: "Too many tries",
    500: "A mistake in Trainyard",
    503: "Not possible just now",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What tests choose otherwise."""

    cost: Cost | None = None
    """Of passwords."""


def create_console(installation: Installation, options: Options | None = None) -> Flask:
    """The app; raises ConfigError when its folder cannot be used."""
    settings = installation.settings
    app = Flask("pipelines.console", static_folder=None)
    app.secret_key = own_secret(installation.home)
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BODY,
        MAX_FORM_MEMORY_SIZE=MOST_BODY,
        MAX_FORM_PARTS=MOST_FIELDS,
        TRUSTED_HOSTS=_hosts(installation),
        SESSION_COOKIE_NAME=cookie_name("trainyard-form", https=is_https(settings)),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=is_https(settings),
    )
    app.extensions["trainyard"] = open_services(app, installation, (options or Options()).cost)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    static = StaticFiles()
    app.add_url_rule("/static/<tag>/<name>", "static", static.answer)
    app.jinja_env.globals.update(static=static.address, csrf_field=csrf.field, can=can)
    for page in PAGES:
        app.register_blueprint(import_module(f"pipelines.console.pages.{page.module}").page)
    add_navigation(app, PAGES)
    app.before_request(_who_asks)
    app.after_request(_around)
    _add_errors(app)
    app.wsgi_app = ProxyHeaders(app.wsgi_app, settings)  # type: ignore[method-assign]  # Flask's documented way
    return app


def _who_asks() -> None:
    """Sets `g.person`, `g.session` and `g.roles`; and refuses what changes something without being asked from our own pages."""
    g.person, g.session, g.roles = None, None, {}
    if request.endpoint == "static":
        return
    g.person, g.session = person_now()
    if g.person:
        g.roles = services().installation.roles_of(g.person)
        if g.roles and (most := most_body(request.endpoint)):
            request.max_content_length = most
    csrf.check()


def _around(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _add_errors(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(PipelineError, _pipeline_error)
    app.register_error_handler(OSError, _os_error)
    app.register_error_handler(Exception, _bug)


def _http_error(error: HTTPException) -> tuple[str, int] | Response:
    if error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    known = {404: "There is no such page, or it is about a model that you may not see."}
    said = known.get(error.code, error.description or "")
    return _page(error.code, said)


def _pipeline_error(error: PipelineError) -> tuple[str, int]:
    """The reason may name paths and servers: it is for whoever reads the log."""
    id_ = secrets.token_hex(4)
    log.error("%s %s (%s): %s %s", request.method, request.path, id_, error, error.hint)
    later = "It may work later." if isinstance(error, TryAgain) else "Somebody must change something first."
    return _page(503, f"{later} The console's log has the reason under {id_}.")


def _os_error(error: OSError) -> tuple[str, int]:
    known = from_os_error(error)
    return _pipeline_error(known) if known else _bug(error)


def _bug(error: Exception) -> tuple[str, int]:
    id_ = secrets.token_hex(4)
    log.error("%s %s (%s) failed", request.method, request.path, id_, exc_info=error)
    return _page(500, f"The console's log has what happened under {id_}.")


def _page(code: int, said: str) -> tuple[str, int]:
    if "roles" not in g:  # it failed before it was known who asks
        g.person, g.session, g.roles = None, None, {}
    return render_template("error.html", title=TITLES.get(code, "Not possible"), said=said), code


def _hosts(installation: Installation) -> list[str]:
    """The names in the Host header that are ours: another site's name that leads here could read what we answer."""
    settings = installation.settings
    public = urlsplit(settings.url).hostname
    return [each for each in dict.fromkeys(("localhost", "127.0.0.1", "[::1]", settings.host, public)) if each]
