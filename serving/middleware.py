"""WSGI middleware around the Flask app: request ids, access, counting, and all that the dialects answer."""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from serving.access.control import AccessControl
from serving.calls import Answer, Call, Limits
from serving.errors import Refused
from serving.metrics.counters import CountedRequest, WorkerCounters
from serving.metrics.routes import PREDICTING
from serving.prediction_log.writer import PredictionLog
from serving.protocols.base import Route, Routes
from serving.request_ids import RequestIds
from serving.spans import Spans
from serving.traces import trace_of
from serving.wsgi_keys import CLIENT, COUNTED, ERROR, REQUEST_ID, SOCKET

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

STATUS = {each.value: f"{each.value} {each.phrase}" for each in HTTPStatus}


class DialectMiddleware:
    """Answers what the dialects answer (`routes`), and leaves all other requests to `app`; counts all, and gives each an id.

    Predictions are not made in a view, because Flask's way to a view and back takes longer than a small model. When one
    fails, the exception goes into the environment (ERROR) and `app` is called, which raises it before any view, so that
    Flask's error handlers answer, in the shape that the dialect gives errors.

    `paths` are those of the app's routes. No other path gets to its router, which would take some as the same (with two
    slashes at the start, e.g.): what is not exactly one of them does not exist.

    `access` decides who may ask, before anything else is looked at; None: everybody.

    A trace of the client's (`traceparent`) is continued: its id is in the answer, the log and the exemplars.

    The id is the client's `X-Request-Id` or a new one, and in every response.

    `prediction_log` keeps what was answered, when the client has its answer; None: nothing is kept.
    """

    access: AccessControl | None = None
    spans: Spans | None = None
    """Who sends them; None: nobody."""
    prediction_log: PredictionLog | None = None

    def __init__(
        self, app: WSGIApplication, paths: frozenset[str], routes: Routes, limits: Limits, counters: WorkerCounters
    ) -> None:
        self._app, self._paths, self._routes = app, paths, routes
        self._limits, self._counters = limits, counters
        self._ids = RequestIds()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Called by the server for each request."""
        began, path = time.perf_counter(), environ["PATH_INFO"]
        counted = environ[COUNTED] = CountedRequest(path)
        call: Call | None = None
        self._counters.start(counted)
        received: Any = environ.get(SOCKET)  # not there without our server, and then there is no queue
        if taken_at := getattr(received, "taken_at", 0.0):
            counted.queue_seconds, counted.read_seconds = taken_at - received.since, began - taken_at
        request_id = environ[REQUEST_ID] = self._ids.choose(environ.get("HTTP_X_REQUEST_ID", ""))
        added = [("X-Request-Id", request_id), ("X-Content-Type-Options", "nosniff")]
        span: Any = None
        if self.spans or "HTTP_TRACEPARENT" in environ:
            span = self._trace(environ, counted, added)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            counted.status = status[:3]
            return start_response(status, headers + added, *rest)

        try:
            if self.access is not None:
                decision = self.access.decide(environ)
                added += decision.headers
                environ[CLIENT] = counted.caller = decision.client
                if decision.preflight:
                    start("204 No Content", [])
                    return []
                if decision.refused:
                    environ[ERROR] = decision.refused
                    counted.route = self._name(_text(path))
                    return self._app(environ, start)
            call = Call(environ, self._limits, request_id, counted, began)
            try:
                answer = self._answer(call, _text(path))
            except Exception as error:  # noqa: BLE001  (Flask's error handlers sort it out)
                environ[ERROR] = error
            else:
                if answer is not None:
                    if call.predicted:
                        added.append(("X-Model-Version", str(call.predicted.model.manifest.version)))
                        counted.write_seconds = time.perf_counter() - call.predicted_at
                    head = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
                    start(STATUS[answer.status], head + list(answer.headers))
                    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
            return self._app(environ, start)
        finally:
            environ.pop(ERROR, None)  # its traceback holds the environment: neither would be freed
            counted.seconds = time.perf_counter() - began
            self._counters.finish(counted)
            if span is not None and self.spans:
                self.spans.end(span, counted, environ, request_id)
            self._keep(call)

    def _keep(self, call: Call | None) -> None:
        """What was answered, or refused to a client who may ask."""
        if self.prediction_log is not None and call is not None and call.counted.route in PREDICTING:
            self.prediction_log.offer(call.answered())

    def _name(self, path: str) -> str:
        """Under which a request is counted that is refused before it is routed."""
        try:
            found = self._routes.find(path)
        except (HTTPException, Refused):  # a model or version that is not here
            found = None
        return found[1].name if found else path

    def _trace(self, environ: WSGIEnvironment, counted: CountedRequest, added: list[tuple[str, str]]) -> Any:
        """Note which trace the request belongs to, also for its answer; the span of it, when there are spans."""
        span: Any = None
        if self.spans:
            span, trace = self.spans.begin(environ, counted.queue_seconds + counted.read_seconds)
        else:
            trace = trace_of(environ["HTTP_TRACEPARENT"])
        counted.trace_id, counted.traced = trace.trace_id, trace.sampled
        added.append(("traceparent", trace.header))
        return span

    def _answer(self, call: Call, path: str) -> Answer | None:
        """What a dialect answers; None: the path is one of the app's. Raises what a dialect does, and NotFound."""
        found = self._routes.find(path)
        if found is None:
            if path not in self._paths:
                raise NotFound
            return None
        _, route = found
        call.counted.route = route.name
        method = call.environ["REQUEST_METHOD"]
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return handler(call)
        allowed = _allowed(route)
        if method == "OPTIONS":
            return Answer(b"", headers=(("Allow", ", ".join(allowed)),))
        raise MethodNotAllowed(allowed)


def _allowed(route: Route) -> list[str]:
    return sorted({*route.handlers, "OPTIONS"} | ({"HEAD"} if "GET" in route.handlers else set()))


def _text(path: str) -> str:
    """The path as the client meant it: WSGI has its bytes as latin-1."""
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")
