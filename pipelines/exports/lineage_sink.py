"""Where OpenLineage events go: a file with one event per line, or a server."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

from pipelines.exports.http import Bearer, Server, Unavailable

PATH = "api/v1/lineage"


def write_event(target: str, event: dict[str, Any], key: str, seconds: float) -> None:
    """Append it to the file, or send it to the server, at `target`; raises Unavailable, Refused."""
    if target.lower().startswith(("http://", "https://")):
        url, path = (target, "") if target.rstrip("/").endswith("/lineage") else (target, PATH)
        Server(url, Bearer(key) if key else None, seconds, seconds).ask("POST", path, event)
        return
    line = json.dumps(event).encode() + b"\n"
    try:
        fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            size = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):  # the disk is full
                os.ftruncate(fd, size)
                raise Unavailable(f"{target}: there is no room for an event")
        finally:
            os.close(fd)
    except OSError as error:
        raise Unavailable(f"{target}: cannot be written: {error.strerror}") from None
