"""The prediction API: a Flask app that is given its model.

Every answer is JSON and carries a request id, its own or the client's `X-Request-Id`. What is wrong with a request is
told as 4xx; 503: ask again later; 500 means a bug of ours, and its trace goes to the log only.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serving.metrics.counters import Answer, Board, Tally
from serving.metrics.page import Metrics
from serving.model import Model
from serving.protocols.body import Limits, read_inputs
from serving.protocols.faults import Refused
from serving.protocols.pages import Page, describe, example_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

REQUEST_ID, RELEASE, VERSION = "trainyard.request_id", "trainyard.release", "trainyard.version"
"""Keys in the WSGI environment, for the access log."""
FAULT = "trainyard.fault"
"""Why a request got no prediction: Flask's error handlers tell it."""
JSON = "application/json"
ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
log = logging.getLogger("gunicorn.error")


class Holder(Protocol):
    """What the app is given: the model that answers now, and why when there is none."""

    current: Model | None

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is, or when there is none."""


def create_app(
    holder: Holder, name: str, limits: Limits, workers: Callable[[], dict[str, Any]], tally: Tally | None = None
) -> Flask:
    """The app for the model `name`; `workers` gives `workers`, the status of each process, and how many are `expected`.

    Requests are counted in `tally`; without one they are counted, too, but alone.
    """
    tally = tally or Board().tally(0)
    app = Flask("serving", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.body
    app.config["MAX_FORM_MEMORY_SIZE"] = limits.body
    _add_errors(app)

    def predict(environ: WSGIEnvironment, counted: Answer) -> bytes:
        model = _current(holder, name)
        environ[RELEASE], environ[VERSION] = model.release, model.card.version
        inputs, rows = read_inputs(environ, model, limits)
        counted.predictions = predictions = model.predict(inputs, rows)
        if length := environ.get("CONTENT_LENGTH"):
            counted.size = int(length)
        return _json(
            {
                "model": model.card.model,
                "version": model.card.version,
                "release": model.release,
                "request_id": environ[REQUEST_ID],
                "predictions": predictions,
            }
        )

    _wrap(app, predict, tally)

    @app.post("/predict")
    def refused() -> Response:
        raise request.environ[FAULT]

    @app.get("/")
    def index() -> Response:
        model = _current(holder, name)
        page = describe(model, request.host_url.rstrip("/"), limits.body, limits.instances)
        kinds = request.accept_mimetypes
        if kinds.best_match(["application/json", "text/html"], "application/json") == "text/html":
            return _html(page)
        return answer(page.facts)

    @app.get("/example")
    def example() -> Response:
        body, kind = example_body(_current(holder, name))
        return Response(body, content_type=kind)

    @app.get("/health/live")
    def live() -> Response:
        return answer({"status": "live"})

    @app.get("/health/ready")
    def ready() -> Response:
        model = _current(holder, name)
        return answer({"status": "ready", "release": model.release, "version": model.card.version})

    @app.get("/version")
    def version() -> Response:
        model = holder.current
        return answer(
            {
                "model": name,
                "release": model.release if model else None,
                "version": model.card.version if model else None,
                "card": model.digest if model else "",
            }
            | workers()
        )

    metrics = Metrics(tally.board, name, workers)

    @app.get("/metrics")
    def numbers() -> Response:
        body, kind = metrics.page(request.headers.get("Accept", ""))
        return Response(body, content_type=kind)

    return app


def answer(body: dict[str, Any], status: int = 200) -> Response:
    """A JSON response."""
    return Response(_json(body), status, content_type=JSON)


def _json(body: dict[str, Any]) -> bytes:
    """NumPy's numbers are written too."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _wrap(app: Flask, predict: Callable[[WSGIEnvironment, Answer], bytes], tally: Tally) -> None:
    """Around the app: an id for every request, its own or the client's, in every response; counting; predictions.

    Not in Flask's hooks and routes: its way to a view and back takes longer than a small model. What `predict` raises
    is told by Flask all the same.
    """
    inner, process, count = app.wsgi_app, os.urandom(10).hex(), itertools.count(1)

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began, path = time.perf_counter(), environ["PATH_INFO"]
        counted = Answer(path)
        tally.begins(counted)
        given = environ.get("HTTP_X_REQUEST_ID", "")
        name = given if given and ID.fullmatch(given) else f"{process}-{next(count):x}"
        environ[REQUEST_ID] = name
        own = [("X-Request-Id", name), ("X-Content-Type-Options", "nosniff")]

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            counted.status = status[:3]
            return start_response(status, headers + own, *rest)

        try:
            if path == "/predict" and environ["REQUEST_METHOD"] == "POST":
                try:
                    data = predict(environ, counted)
                except Exception as error:  # noqa: BLE001  (Flask's error handlers sort it out)
                    environ[FAULT] = error
                else:
                    start("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(data)))])
                    return [data]
            return inner(environ, start)
        finally:
            counted.seconds = time.perf_counter() - began
            tally.ends(counted)

    app.wsgi_app = serve  # type: ignore[method-assign]  # Flask's documented way


def _add_errors(app: Flask) -> None:
    """Errors as JSON."""

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Response:
        return _no(error.status, str(error), error.hint)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        status = error.code or 500
        texts = {
            400: "the request is malformed, or its body ended early",
            404: f"{request.path[:200]}: there is no such page",
            405: f"{request.method} is not possible here",
            413: f"the body is larger than {app.config['MAX_CONTENT_LENGTH']} bytes",
        }
        hints = {404: "GET / tells what there is", 405: "GET / tells what there is", 413: "send fewer instances"}
        response = _no(status, texts.get(status, error.description or error.name), hints.get(status, ""))
        for key, value in error.get_headers():
            if key in {"Allow", "Retry-After"}:
                response.headers[key] = value
        return response

    @app.errorhandler(MemoryError)
    def full(error: MemoryError) -> Response:
        log.error("request %s: out of memory: %s", request.environ[REQUEST_ID], error)
        return _no(503, "the server is out of memory", "try again soon, or with fewer instances")

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("request %s failed", request.environ[REQUEST_ID], exc_info=error)
        return _no(500, "an error inside the server; it was logged under the request id", "")


def _no(status: int, message: str, hint: str) -> Response:
    body = {"error": message} | ({"hint": hint} if hint else {}) | {"request_id": request.environ[REQUEST_ID]}
    response = answer(body, status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _current(holder: Holder, name: str) -> Model:
    model = holder.current
    if model is None:
        why = holder.error or "nothing is live, or it is still loading"
        raise Refused(503, f"{name}: no model to answer with: {why}", hint="look at /version, try again soon")
    return model


def _html(page: Page) -> Response:
    response = Response(page.html, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    return response
