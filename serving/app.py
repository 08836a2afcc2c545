"""The prediction API: a Flask app that is given its model. Predictions are answered in serving.middleware, by serving.protocols.

Every answer is JSON and carries a request id, its own or the client's `X-Request-Id`; errors: serving.responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from serving.access.control import AccessControl
from serving.calls import JSON, Limits
from serving.feedback.taker import FeedbackTaker
from serving.metrics.counters import CounterTable, WorkerCounters
from serving.middleware import DialectMiddleware
from serving.prediction_log.writer import PredictionLog
from serving.predictor import Predictor
from serving.predictors import Holder, Predictors
from serving.protocols import openapi, openapi_page
from serving.protocols.dialects import routes_for
from serving.protocols.instances import InstancesCodec
from serving.proxies import Networks, TrustedProxies
from serving.responses import ROUTES, add_error_handlers, html_response, json_response
from serving.spans import Spans
from serving.warm_up import example

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def create_app(  # noqa: PLR0913  (the optional ones are named)
    holder: Holder,
    name: str,
    limits: Limits,
    counters: WorkerCounters | None = None,
    *,
    trusted_proxies: Sequence[str] = (),
    access: AccessControl | None = None,
    earlier: Callable[[int], Predictor] | None = None,
    spans: Spans | None = None,
    prediction_log: PredictionLog | None = None,
    feedback: FeedbackTaker | None = None,
) -> Flask:
    """The app for the model `name`.

    Requests are counted in `counters`; without them in a table of the app's own. `trusted_proxies` are addresses and networks.
    `access` decides who may ask; None: everybody. `earlier` loads other released versions. `spans` sends spans of the requests;
    None: nobody does. `prediction_log` keeps what was answered; None: nothing is kept. `feedback` keeps what clients report of it.
    """
    counters = counters or CounterTable().counters(0)
    app = Flask("serving", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.body
    app.config["MAX_FORM_MEMORY_SIZE"] = limits.body
    add_error_handlers(app)
    predictors = Predictors(holder, name, earlier)
    app.extensions[ROUTES] = routes = routes_for(predictors, feedback)
    Pages(predictors, limits, prediction_log).add_to(app)
    paths = frozenset(rule.rule for rule in app.url_map.iter_rules())
    middleware = DialectMiddleware(app.wsgi_app, paths, routes, limits, counters)
    middleware.access, middleware.spans, middleware.prediction_log = access, spans, prediction_log
    wrapped: WSGIApplication = middleware
    if trusted_proxies:
        wrapped = TrustedProxies(wrapped, Networks(trusted_proxies))
    app.wsgi_app = wrapped  # type: ignore[method-assign, assignment]  # Flask's documented way
    return app


class Pages:
    """What the API answers besides predictions: what clients may know. All else is in serving.admin."""

    def __init__(self, predictors: Predictors, limits: Limits, prediction_log: PredictionLog | None = None) -> None:
        self._predictors, self._limits, self._prediction_log = predictors, limits, prediction_log

    def add_to(self, app: Flask) -> None:
        """Add a route for each page."""
        app.add_url_rule("/", view_func=self.index)
        app.add_url_rule("/example", view_func=self.example)
        app.add_url_rule("/health/live", view_func=self.live)
        app.add_url_rule("/health/ready", view_func=self.ready)
        app.add_url_rule("/version", view_func=self.version)
        app.add_url_rule("/openapi.json", view_func=self.openapi)
        app.add_url_rule("/docs", view_func=self.docs)

    def index(self) -> Response:
        """What the model takes and returns: JSON, or HTML for a browser."""
        predictor = self._predictors.live()
        model = predictor.model
        identity = model.identity() | {"engine": model.manifest.served.engine}
        identity["batching"] = model.batching.facts() if model.batching else None
        identity["kept"] = self._prediction_log.said(model) if self._prediction_log else None
        sample, url = example(model.signature, model.data), request.url_root.rstrip("/")
        page = predictor.codec(InstancesCodec).describe(identity, sample, url, self._limits)
        if request.accept_mimetypes.best_match([JSON, "text/html"], JSON) == "text/html":
            return html_response(page.html)
        return json_response({"status": "alive"} | page.facts)  # which is what KServe's client reads

    def openapi(self) -> Response:
        """All that clients may ask, for programs."""
        return json_response(self._document())

    def docs(self) -> Response:
        """The same for people."""
        return html_response(openapi_page.page(self._document()))

    def _document(self) -> dict[str, Any]:
        return openapi.document(self._predictors.live().model, self._limits, request.url_root.rstrip("/"))

    def example(self) -> Response:
        """A valid body for `POST /predict`."""
        predictor = self._predictors.live()
        model = predictor.model
        body, kind = predictor.codec(InstancesCodec).example(example(model.signature, model.data))
        return Response(body, content_type=kind)

    def live(self) -> Response:
        """The process answers."""
        return json_response({"status": "live"})

    def ready(self) -> Response:
        """The process has a model; else 503."""
        model = self._predictors.live().model
        return json_response({"status": "ready", "release": model.release, "version": model.manifest.version})

    def version(self) -> Response:
        """What this process answers with."""
        if predictor := self._predictors.current:
            model = predictor.model
            return json_response(
                {
                    "model": self._predictors.name,
                    "version": model.manifest.version,
                    "release": model.release,
                    "engine": model.manifest.served.engine,
                }
            )
        return json_response({"model": self._predictors.name, "version": None, "release": None, "engine": None})
