"""The API's log: one JSON object per line, written whole, so that worker processes may share one file."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from gunicorn.glogging import Logger

from serving.wsgi_keys import RELEASE, REQUEST_ID, VERSION

STDOUT, STDERR = 1, 2


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger: requests go to stdout, everything else to stderr."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn at start and after a reload."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonLines())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """One line per request. `ms` is the time inside the worker, `release` what answered."""
        del req
        line = {
            "time": _now(),
            "level": "access",
            "pid": os.getpid(),
            "request_id": environ.get(REQUEST_ID),
            "remote": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO", "")[:200],
            "status": int(str(resp.status).partition(" ")[0]),
            "bytes": resp.sent,
            "ms": round(request_time.total_seconds() * 1000, 2),
            "release": environ.get(RELEASE),
            "version": environ.get(VERSION),
        }
        os.write(STDOUT, orjson.dumps(line, default=str) + b"\n")


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
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
