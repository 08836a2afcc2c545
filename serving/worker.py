"""gunicorn's thread worker with a deadline for every request.

A thread reads one request, answers it and waits for the client all the while. A timeout on the socket bounds one read or
write only: a client that sends a byte now and then, or never reads what it asked for, would hold its thread for ever,
and a few of them the whole API.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from serving.door import Door


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Hangs up on a client whose request is not done after twice `graceful_timeout`: once to send, once to be answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since: dict[Any, float] = {}
        self.door: Door | None = None
        """Where connections come from, when not from gunicorn's own listeners."""

    def enqueue_req(self, conn: Any) -> None:
        """The clock starts here and not in `handle`, so that slow clients in the queue do not take turns."""
        self._since[conn] = time.monotonic()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Called by gunicorn in a thread of the pool."""
        try:
            return super().handle(conn)
        finally:
            self._since.pop(conn, None)

    def notify(self) -> None:
        """Called by gunicorn's main loop every second."""
        super().notify()
        if self.door and self.alive:
            self.door.look()
        seconds = 2 * self.cfg.graceful_timeout
        for conn, since in list(self._since.items()):
            if since < time.monotonic() - seconds and self._since.pop(conn, None):
                self.log.warning("hung up on %s: its request was not done after %s s", conn.client, seconds)
                with contextlib.suppress(OSError):  # the client was quicker
                    conn.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or writes
