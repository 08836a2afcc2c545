"""Nothing of a request outlives it: without the garbage collector, too, the WSGI environment and the error are freed."""

import gc
import io
import json
import logging
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from versions import candidate

from registry.records import Signature, TensorSpec
from serving.app import create_app
from serving.calls import Limits
from serving.engines.base import EngineError, check_inputs
from serving.model import Model
from serving.protocols.dialects import predictor_for

SIGNATURE = Signature(
    "classification",
    "array",
    (TensorSpec("x", (None, 2), "float32"),),
    (TensorSpec("p", (None, 2), "float32"),),
    ("a", "b"),
)
LIMIT = 1 << 12


class Numbers:
    """An engine that fails on some numbers."""

    def __call__(self, inputs):
        rows = check_inputs(SIGNATURE, inputs)
        error = {13: EngineError("thirteen"), 14: RuntimeError("a bug"), 15: MemoryError()}.get(int(inputs["x"][0, 0]))
        if error:
            raise error
        return {"p": np.full((rows, 2), np.nan if inputs["x"][0, 0] == 16 else 0.5, np.float32)}


class Holder:
    def __init__(self, current, error=""):
        self.current, self.error = current, error


class Environ(dict):
    """Can be referred to weakly."""


def app_of(holder):
    return create_app(holder, "m", Limits(LIMIT, 10))


@pytest.fixture(scope="module")
def app():
    engine, rows = Numbers(), {"x": np.zeros((1, 2), np.float32)}
    model = Model(engine, SIGNATURE, rows, engine(rows), candidate("m", signature=SIGNATURE), "d", 1, None)
    app = app_of(Holder(predictor_for(model)))

    def broken():
        raise KeyError("a view has a bug")

    def broken_twice():
        raise StopIteration

    app.view_functions |= {"live": broken, "version": broken_twice}

    @app.errorhandler(StopIteration)
    def handler(error):
        raise LookupError("a handler has a bug") from error

    return app


def numbers(*row, rows=1):
    return json.dumps({"instances": [row] * rows}).encode()


CHUNKED = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
FORM = "multipart/form-data; boundary=q"
PREDICT = {
    "a prediction": (200, numbers(1, 2)),
    "a prediction for a chunked body": (200, numbers(1, 2), "", CHUNKED),
    "cut JSON": (400, b'{"instances": [[1,'),
    "another shape": (400, numbers(1, 2, 3)),
    "text for a number": (400, numbers("one", 2)),
    "an unknown key": (400, b'{"rows": []}'),
    "no body": (400, b""),
    "a body that ends early": (400, b"{", "", {"CONTENT_LENGTH": "99"}),
    "too many samples": (413, numbers(1, 2, rows=11)),
    "too many bytes": (413, b"x" * (LIMIT + 1)),
    "too many bytes in chunks": (413, b"x" * (LIMIT + 1), "", CHUNKED),
    "an image": (415, b"\x89PNG\r\n\x1a\n" + bytes(99), "image/png"),
    "a form with a file": (
        415,
        b'--q\r\nContent-Disposition: form-data; name="i"; filename="a"\r\n\r\nabc\r\n--q--\r\n',
        FORM,
    ),
    "no form": (400, b"abc", FORM),
    "a form without a boundary": (400, b"abc", "multipart/form-data"),
    "another type": (415, b"a", "text/weird"),
    "a body that is not gzip": (400, b"a", "", {"HTTP_CONTENT_ENCODING": "gzip"}),
    "a row that the model cannot take": (400, numbers(13, 2)),
    "a row without an answer": (400, numbers(16, 2)),
    "a bug of the engine": (500, numbers(14, 2)),
    "no memory": (503, numbers(15, 2)),
}
PAGES = {
    "the index": (200, "GET", "/"),
    "the index for a browser": (200, "GET", "/", {"HTTP_ACCEPT": "text/html"}),
    "the example": (200, "GET", "/example"),
    "health": (200, "GET", "/health/ready"),
    "no such page": (404, "GET", "/nothing"),
    "no such page for a body": (404, "POST", "/nothing"),
    "another method": (405, "GET", "/predict"),
    "a bug of a view": (500, "GET", "/health/live"),
    "a bug of an error handler": (500, "GET", "/version"),
}
CASES = {
    **{name: (status, "POST", "/predict", *rest) for name, (status, *rest) in PREDICT.items()},
    **{name: (status, method, path, b"", "", *rest) for name, (status, method, path, *rest) in PAGES.items()},
}


def environ(method, path, body=b"", kind="", more=()):
    return Environ(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": kind or "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "localhost",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            **dict(more),
        }
    )


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Texts(logging.Handler):
    """Keeps the text of each record, as a log file does."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(logging.Formatter().format(record))


@contextmanager
def logged():
    """The texts that are logged. Not by a fixture: pytest would add a handler that keeps the records with their tracebacks."""
    log, handler = logging.getLogger("serving"), Texts()
    before, log.handlers, log.propagate = log.handlers, [handler], False
    try:
        yield handler.texts
    finally:
        log.handlers, log.propagate = before, True


def answered(app, given):
    """The status, a weak reference to the environment, and what was logged."""
    statuses = []
    with logged() as texts:
        parts = app(given, lambda status, _headers, _info=None: statuses.append(int(status[:3])))
        assert b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
    alive = weakref.ref(given)
    del parts, given
    return statuses[0], alive, texts


@pytest.mark.parametrize("name", CASES)
def test_a_request_is_freed_with_its_answer(app, no_collector, name):
    status, *request = CASES[name]
    found, alive, _ = answered(app, environ(*request))
    assert found == status
    assert alive() is None, [type(each).__name__ for each in gc.get_referrers(alive())]


@pytest.mark.parametrize("path", ["/predict", "/health/ready"])
def test_a_request_without_a_model_to_answer_is_freed(no_collector, path):
    app = app_of(Holder(None, "nothing is live"))
    status, alive, _ = answered(app, environ("POST" if path == "/predict" else "GET", path, numbers(1, 2)))
    assert status == 503
    assert alive() is None


def test_a_bug_keeps_its_traceback_in_the_log_and_nothing_in_memory(app, no_collector):
    _, alive, logged = answered(app, environ("POST", "/predict", numbers(14, 2)))
    assert "RuntimeError: a bug" in logged[0]
    assert "in __call__" in logged[0], "the traceback"
    assert alive() is None
