"""The operator's pages of the API, on a port of their own: metrics, what each server process serves, and why it does not.

Clients see none of this: process numbers, paths and errors belong to who runs the API. See serving.server.admin_listener.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from serving.access.control import AccessControl
from serving.metrics.counters import CounterTable
from serving.metrics.page import MetricsPage
from serving.request_ids import RequestIds
from serving.responses import add_error_handlers, json_response
from serving.wsgi_keys import ERROR, REQUEST_ID

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)
Facts = Callable[[], dict[str, Any]]


def create_admin_app(
    name: str, table: CounterTable, served: Facts, running: Facts, access: AccessControl | None = None
) -> Flask:
    """The app for the model `name`. `served` is as `worker_status.of_all`; `running` adds where the API listens, and more.

    `access` decides who may ask; None: everybody who reaches it.
    """
    app = Flask("serving.admin", static_folder=None)
    add_error_handlers(app)
    AdminPages(served, running, MetricsPage(table, name, served)).add_to(app)
    app.wsgi_app = AdminMiddleware(app.wsgi_app, access)  # type: ignore[method-assign]  # Flask's documented way
    return app


class AdminPages:
    """What an operator may ask."""

    def __init__(self, served: Facts, running: Facts, metrics: MetricsPage) -> None:
        self._served, self._running, self._metrics = served, running, metrics

    def add_to(self, app: Flask) -> None:
        """Add a route for each page."""
        app.add_url_rule("/health/live", view_func=self.live)
        app.add_url_rule("/health/ready", view_func=self.ready)
        app.add_url_rule("/metrics", view_func=self.metrics)
        app.add_url_rule("/status", view_func=self.status)
        app.add_url_rule("/version", view_func=self.version)

    def live(self) -> Response:
        """A server process answers."""
        return json_response({"status": "live"})

    def ready(self) -> Response:
        """Some server process has a model; else 503. The reasons are in `/status`: this page needs no token."""
        found = self._served()
        if found["version"] is not None:
            return json_response({"status": "ready", "release": found["release"], "version": found["version"]})
        return json_response({"status": "not ready"}, 503)

    def version(self) -> Response:
        """The release that every server process answers with at least, and the status of each."""
        return json_response(self._served())

    def status(self) -> Response:
        """As `/version`, and where the API listens, since when, and who may ask it."""
        return json_response(self._served() | self._running())

    def metrics(self) -> Response:
        """For Prometheus."""
        body, kind = self._metrics.page(request.headers.get("Accept", ""))
        return Response(body, content_type=kind)


class AdminMiddleware:
    """WSGI middleware: each request gets an id, its own or a new one, which its answer has, too; and it may be refused."""

    def __init__(self, app: WSGIApplication, access: AccessControl | None) -> None:
        self._app, self._access, self._ids = app, access, RequestIds()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Called by the server for each request."""
        request_id = environ[REQUEST_ID] = self._ids.choose(environ.get("HTTP_X_REQUEST_ID", ""))
        if self._access and (refused := self._access.decide(environ).refused):
            log.warning("refused request %s of the operator's port: %s", request_id, refused)
            environ[ERROR] = refused
        added = [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
        return self._app(environ, lambda status, headers, *rest: start_response(status, headers + added, *rest))
