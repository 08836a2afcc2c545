"""The prediction API: a Flask app that is given its model. `POST /predict` is answered in serving.middleware.

Every answer is JSON and carries a request id, its own or the client's `X-Request-Id`; errors: serving.responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from serving.access.control import AccessControl
from serving.metrics.counters import CounterTable, WorkerCounters
from serving.middleware import PredictMiddleware
from serving.predictor import Holder, current_predictor
from serving.protocols.base import Limits
from serving.proxies import Networks, TrustedProxies
from serving.responses import JSON, add_error_handlers, html_response, json_response
from serving.warm_up import example

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app(
    holder: Holder,
    name: str,
    limits: Limits,
    counters: WorkerCounters | None = None,
    *,
    trusted_proxies: Sequence[str] = (),
    access: AccessControl | None = None,
) -> Flask:
    """The app for the model `name`.

    Requests are counted in `counters`; without them in a table of the app's own. `trusted_proxies` are addresses and networks.
    `access` decides who may ask; None: everybody.
    """
    counters = counters or CounterTable().counters(0)
    app = Flask("serving", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.body
    app.config["MAX_FORM_MEMORY_SIZE"] = limits.body
    add_error_handlers(app)
    Pages(holder, name, limits).add_to(app)
    app.add_url_rule("/predict", view_func=_never_reached, methods=["POST"])
    paths = frozenset(rule.rule for rule in app.url_map.iter_rules())
    middleware = PredictMiddleware(app.wsgi_app, paths, holder, name, limits, counters)
    middleware.access = access
    wrapped: WSGIApplication = middleware
    if trusted_proxies:
        wrapped = TrustedProxies(wrapped, Networks(trusted_proxies))
    app.wsgi_app = wrapped  # type: ignore[method-assign, assignment]  # Flask's documented way
    return app


def _never_reached() -> Response:
    raise AssertionError("POST /predict is answered by the middleware")


class Pages:
    """What the API answers besides predictions: what clients may know. All else is in serving.admin."""

    def __init__(self, holder: Holder, name: str, limits: Limits) -> None:
        self._holder, self._name, self._limits = holder, name, limits

    def add_to(self, app: Flask) -> None:
        """Add a route for each page."""
        app.add_url_rule("/", view_func=self.index)
        app.add_url_rule("/example", view_func=self.example)
        app.add_url_rule("/health/live", view_func=self.live)
        app.add_url_rule("/health/ready", view_func=self.ready)
        app.add_url_rule("/version", view_func=self.version)

    def index(self) -> Response:
        """What the model takes and returns: JSON, or HTML for a browser."""
        predictor = current_predictor(self._holder, self._name)
        model = predictor.model
        identity = model.identity() | {"engine": model.manifest.served.engine}
        sample, url = example(model.signature, model.data), request.url_root.rstrip("/")
        page = predictor.protocol.describe(identity, model.data, sample, url, self._limits)
        if request.accept_mimetypes.best_match([JSON, "text/html"], JSON) == "text/html":
            return html_response(page.html)
        return json_response(page.facts)

    def example(self) -> Response:
        """A valid body for `POST /predict`."""
        predictor = current_predictor(self._holder, self._name)
        model = predictor.model
        body, kind = predictor.protocol.example(example(model.signature, model.data))
        return Response(body, content_type=kind)

    def live(self) -> Response:
        """The process answers."""
        return json_response({"status": "live"})

    def ready(self) -> Response:
        """The process has a model; else 503."""
        model = current_predictor(self._holder, self._name).model
        return json_response({"status": "ready", "release": model.release, "version": model.manifest.version})

    def version(self) -> Response:
        """What this process answers with."""
        if predictor := self._holder.current:
            model = predictor.model
            return json_response(
                {
                    "model": self._name,
                    "version": model.manifest.version,
                    "release": model.release,
                    "engine": model.manifest.served.engine,
                }
            )
        return json_response({"model": self._name, "version": None, "release": None, "engine": None})
