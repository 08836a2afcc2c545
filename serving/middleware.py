"""WSGI middleware around the Flask app: request ids, counting, and `POST /predict`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import NotFound

from serving.access.control import AccessControl
from serving.metrics.counters import CountedRequest, WorkerCounters
from serving.predictor import Holder, current_predictor
from serving.protocols.base import Limits
from serving.request_ids import RequestIds
from serving.responses import JSON, to_json
from serving.wsgi_keys import CLIENT, ERROR, RELEASE, REQUEST_ID, VERSION

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class PredictMiddleware:
    """Answers `POST /predict` itself and leaves all other requests to `app`; counts all, and gives each an id.

    Predictions are not made in a view, because Flask's way to a view and back takes longer than a small model. When one
    fails, the exception goes into the environment (ERROR) and `app` is called, which raises it before any view, so that
    Flask's error handlers answer.

    `paths` are those of the app's routes. No other path gets to its router, which would take some as the same (with two
    slashes at the start, e.g.): what is not exactly one of them does not exist.

    `access` decides who may ask, before anything else is looked at; None: everybody.

    The id is the client's `X-Request-Id` or a new one, and in every response.
    """

    access: AccessControl | None = None

    def __init__(
        self,
        app: WSGIApplication,
        paths: frozenset[str],
        holder: Holder,
        name: str,
        limits: Limits,
        counters: WorkerCounters,
    ) -> None:
        self._app, self._paths = app, paths
        self._holder, self._name, self._limits, self._counters = holder, name, limits, counters
        self._ids = RequestIds()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Called by the server for each request."""
        began, path = time.perf_counter(), environ["PATH_INFO"]
        counted = CountedRequest(path)
        self._counters.start(counted)
        request_id = environ[REQUEST_ID] = self._ids.choose(environ.get("HTTP_X_REQUEST_ID", ""))
        added = [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff")]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            counted.status = status[:3]
            return start_response(status, headers + added, *rest)

        try:
            if self.access is not None:
                decision = self.access.decide(environ)
                added += decision.headers
                environ[CLIENT] = decision.client
                if decision.preflight:
                    start("204 No Content", [])
                    return []
                if decision.refused:
                    environ[ERROR] = decision.refused
                    return self._app(environ, start)
            if path == "/predict" and environ["REQUEST_METHOD"] == "POST":
                try:
                    body = self._predict(environ, counted)
                except Exception as error:  # noqa: BLE001  (Flask's error handlers sort it out)
                    environ[ERROR] = error
                else:
                    start("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
                    return [body]
            elif path not in self._paths:
                environ[ERROR] = NotFound()
            return self._app(environ, start)
        finally:
            environ.pop(ERROR, None)  # its traceback holds the environment: neither would be freed
            counted.seconds = time.perf_counter() - began
            self._counters.finish(counted)

    def _predict(self, environ: WSGIEnvironment, counted: CountedRequest) -> bytes:
        """The body of the answer; raises what Predictor.predict does, or Refused when there is no model."""
        predictor = current_predictor(self._holder, self._name)
        model = predictor.model
        environ[RELEASE], environ[VERSION] = model.release, model.manifest.version
        counted.predictions = predictions = predictor.predict(environ, self._limits)
        if length := environ.get("CONTENT_LENGTH"):
            counted.size = int(length)
        return to_json(
            {
                "model": model.manifest.model,
                "version": model.manifest.version,
                "release": model.release,
                "request_id": environ[REQUEST_ID],
                "predictions": predictions,
            }
        )
