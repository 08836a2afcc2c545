"""The messages of requests, read without a thread: whoever sends slowly keeps nobody waiting."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from serving.errors import Refused, bad_request

MOST = 32
"""Messages that are read at once; each may take as much memory as a message may be large."""
PATIENCE = 1.0
"""Seconds that a message may take when others wait to be read; the one that has taken longest goes first."""
NAP = 0.02
SLACK = 4 << 20


class Reading:
    """Of one server process; used by its event loop alone."""

    def __init__(self, max_body: int, seconds: float, most: int = MOST) -> None:
        """`max_body` in bytes, also of what was compressed; `seconds` that one message may take."""
        self._max_body, self._seconds, self._most = max_body, seconds, most
        self._since: dict[asyncio.Task[Any], float] = {}
        """The oldest one first."""

    async def message(self, context: Any) -> bytes:
        """The one message of a request. Raises Refused when it does not come."""
        while len(self._since) >= self._most:
            oldest, since = next(iter(self._since.items()))
            if time.monotonic() - since > PATIENCE:
                del self._since[oldest]
                oldest.cancel()
            else:
                await asyncio.sleep(NAP)
        task = asyncio.ensure_future(context.read())
        self._since[task] = time.monotonic()
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
            if not done:
                hint = "[serving] timeout_seconds is how long it may take"
                raise Refused(504, f"the message did not come within {self._seconds:g} s", hint=hint)
            if task.cancelled():
                raise Refused(503, "others wait, and this message came slowly", hint="retry later")
            found: Any = task.result()
        finally:
            self._since.pop(task, None)
            task.cancel()
        if found is grpc.aio.EOF:
            raise bad_request("there is no message", hint="a request is one message")
        if len(found) > self._max_body:
            hint = "[serving] max_body_mb bounds it; send less in one request"
            raise Refused(413, f"the message has {len(found)} bytes, {self._max_body} are allowed", hint=hint)
        return bytes(found)


def received_at_most(max_body: int) -> int:
    """Bytes of a message that gRPC itself lets pass. It refuses more with a text of its own, and as if the client had gone, so
    this is more than `Reading` takes."""
    return max_body + min(max_body, SLACK)
