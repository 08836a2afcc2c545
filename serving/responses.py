"""Responses of the API: JSON, errors included. What is wrong with a request is 4xx; 503: retry later; 500 is a bug."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import orjson
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from serving.calls import JSON
from serving.errors import Refused
from serving.protocols.base import Refusal, Routes
from serving.protocols.instances import plain_refusal
from serving.protocols.page_html import POLICY
from serving.wsgi_keys import ERROR, REQUEST_ID

ROUTES = "trainyard.routes"
"""Of Flask's extensions: all that the dialects answer to."""
E = TypeVar("E", bound=Exception)
log = logging.getLogger(__name__)


def to_json(body: dict[str, Any]) -> bytes:
    """The body as JSON; it may hold NumPy's numbers."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(body: dict[str, Any], status: int = 200) -> Response:
    """The body as JSON, with its content type."""
    return Response(to_json(body), status, content_type=JSON)


def html_response(html: str) -> Response:
    """A page that may load nothing and be framed by nobody."""
    response = Response(html, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


def error_response(status: int, message: str, hint: str = "") -> Response:
    """As the dialect of the path writes it: `{"error": …, "hint": …, "request_id": …}` elsewhere; a 503 says when to retry."""
    routes: Routes | None = current_app.extensions.get(ROUTES)
    dialect = routes.dialect_of(_path()) if routes else None
    refusal = Refusal(status, message, hint, request.environ[REQUEST_ID])
    answer = dialect.refuse(refusal) if dialect else plain_refusal(refusal)
    response = Response(answer.body, answer.status, headers=list(answer.headers), content_type=answer.content_type)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def add_error_handlers(app: Flask) -> None:
    """Answer every exception of a view, or of a middleware (ERROR), as JSON; a traceback goes to the log only."""
    app.before_request(_raise_error_of_middleware)
    app.register_error_handler(Refused, _last(_refused))
    app.register_error_handler(HTTPException, _last(_http_error))
    app.register_error_handler(MemoryError, _last(_out_of_memory))
    app.register_error_handler(Exception, _last(_bug))


def _last(handler: Callable[[E], Response]) -> Callable[[E], Response]:
    """`handler`, after which the error holds nothing of its request: see `forget_calls`."""

    @wraps(handler)
    def handle(error: E) -> Response:
        try:
            return handler(error)
        finally:
            forget_calls(error)
            if request.routing_exception:  # Flask keeps it, also when another error was answered
                forget_calls(request.routing_exception)

    return handle


def forget_calls(error: BaseException) -> None:
    """Take the tracebacks from an error, and from those that led to it.

    A traceback holds the frames of all calls, those their local variables, and one of these (the WSGI environment, Flask's
    request, a variable of Flask's own) the error: such a ring, and the body in it, would stay until the garbage collector
    runs, which is rarely.
    """
    known: set[int] = set()
    found = [error]
    while found:
        each = found.pop()
        known.add(id(each))
        each.__traceback__ = None
        # The last is Werkzeug's: what a handler has raised.
        linked = (each.__cause__, each.__context__, getattr(each, "original_exception", None))
        found += [other for other in linked if other is not None and id(other) not in known]


def _raise_error_of_middleware() -> None:
    if error := request.environ.get(ERROR):
        raise error


def _refused(error: Refused) -> Response:
    if error.reason:
        log.warning("request %s: %s: %s", request.environ[REQUEST_ID], error, error.reason)
    response = error_response(error.status, str(error), error.hint)
    response.headers.update(error.headers)
    return response


def _path() -> str:
    """As it was asked for: Flask's has one slash where there were more, and would name a page that there is."""
    return str(request.environ["PATH_INFO"]).encode("latin-1").decode("utf-8", "replace")


def _http_error(error: HTTPException) -> Response:
    """Raised by Flask and Werkzeug."""
    status = error.code or 500
    texts = {
        400: ("the request is malformed, or its body ended early", ""),
        404: (f"{_path()[:200]}: there is no such page", f"pages: {', '.join(_pages())}"),
        405: (f"{request.method} is not possible here", f"allowed: {', '.join(_allowed(error))}"),
        413: (f"the body is larger than {current_app.config['MAX_CONTENT_LENGTH']} bytes", "send fewer instances"),
    }
    message, hint = texts.get(status, (error.description or error.name, ""))
    response = error_response(status, message, hint)
    for key, value in error.get_headers():
        if key in {"Allow", "Retry-After"}:
            response.headers[key] = value
    return response


def _pages() -> list[str]:
    clients = {"/predict"} if ROUTES in current_app.extensions else set()
    return sorted(clients | {*(rule.rule for rule in current_app.url_map.iter_rules())})


def _allowed(error: HTTPException) -> list[str]:
    return sorted(error.valid_methods or ()) if isinstance(error, MethodNotAllowed) else []


def _out_of_memory(error: MemoryError) -> Response:
    log.error("request %s: out of memory: %s", request.environ[REQUEST_ID], error)
    return error_response(503, "the server is out of memory", "retry soon, or with fewer instances")


def _bug(error: Exception) -> Response:
    log.error("request %s failed", request.environ[REQUEST_ID], exc_info=error)
    return error_response(500, "an error inside the server; it was logged under the request id")
