"""The API's log: one JSON object per line, written whole, so that worker processes may share one file.

Requests go to stdout, everything else to stderr. serving.server.gunicorn_adapter connects this with gunicorn's loggers.
A line that cannot be written, because the disk is full, is counted and costs no request.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.metrics.counters import CountedRequest
from serving.metrics.routes import protocol_of
from serving.wsgi_keys import CLIENT, COUNTED, RELEASE, REQUEST_ID, VERSION

STDOUT = 1
UNSEEN = CountedRequest("")
"""Of a request that the app has not seen."""


class _Hooks:
    """What the process does besides."""

    def __init__(self) -> None:
        self.dropped: Callable[[], None] = lambda: None
        self.before_message: Callable[[], None] = lambda: None


_hooks = _Hooks()


def call_when_dropped(count: Callable[[], None]) -> None:
    """Call this for each line that cannot be written."""
    _hooks.dropped = count


def call_before_message(look: Callable[[], None]) -> None:
    """Call this before each line but those of requests."""
    _hooks.before_message = look


def use_handlers(handlers: Sequence[logging.Handler], level: int) -> None:
    """Make `handlers` write JSON, and let all of serving's own loggers write to them, from `level` on."""
    for handler in handlers:
        handler.setFormatter(JsonLines())
        handler.addFilter(_before_message)
        handler.handleError = _not_written  # type: ignore[method-assign, assignment]
    log = logging.getLogger("serving")
    log.handlers, log.propagate = list(handlers), False
    log.setLevel(level)


def write_access(environ: dict[str, Any], status: int, sent: int, seconds: float) -> None:
    """One line for a request that was answered with `sent` bytes, `seconds` after it came to the worker.

    docs/reference/log.md lists the fields; a test holds that it does.
    """
    counted: CountedRequest = environ.get(COUNTED) or UNSEEN
    line = {
        "time": _now(),
        "level": "access",
        "pid": os.getpid(),
        "request_id": environ.get(REQUEST_ID),
        "remote": environ.get("REMOTE_ADDR"),
        "client": environ.get(CLIENT) or None,
        "caller": environ.get(CLIENT) or None,
        "method": environ.get("REQUEST_METHOD"),
        "path": environ.get("PATH_INFO", "")[:200],
        "protocol": protocol_of(counted.route),
        "status": status,
        "bytes": sent,
        "ms": round(seconds * 1000, 2),
        "queue_ms": int(counted.queue_seconds * 1e6) / 1000,
        "read_ms": int(counted.read_seconds * 1e6) / 1000,
        "infer_ms": int(counted.infer_seconds * 1e6) / 1000,
        "write_ms": int(counted.write_seconds * 1e6) / 1000,
        "rows": counted.rows,
        "release": environ.get(RELEASE),
        "version": environ.get(VERSION),
        "trace_id": counted.trace_id or None,
    }
    data = orjson.dumps(line, default=str) + b"\n"
    try:
        written = os.write(STDOUT, data)
    except OSError:
        written = 0
    if written < len(data):
        _hooks.dropped()


def _before_message(_record: logging.LogRecord) -> bool:
    _hooks.before_message()
    return True


def _not_written(_record: logging.LogRecord) -> None:
    """In place of logging's own, which prints a traceback to the file that cannot be written."""
    _hooks.dropped()


class JsonLines(logging.Formatter):
    """Server messages in the shape of the access log; a traceback is one field."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": _now(),
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _now() -> str:
    seconds, rest = divmod(time.time(), 1)
    return f"{_second(int(seconds))}.{int(rest * 1000):03d}Z"


@functools.lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
