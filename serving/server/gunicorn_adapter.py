"""gunicorn's thread worker with a deadline for every request, and with no more than its share of connections.

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

from serving.server.connection_balance import AWAY, Share
from serving.server.socket_handoff import Door

NAP = 0.001
"""Seconds for which a connection is left to other workers before we look again."""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Hangs up on a client whose request is not done after twice `graceful_timeout`: once to send, once to be answered."""

    share: Share
    """Given by the master before the fork."""
    _present = False
    """Whether others may leave connections to us."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since: dict[Any, float] = {}
        self.door: Door | None = None
        """Where connections come from, when not from gunicorn's own listeners."""
        self._nap_until = 0.0

    @property
    def nr_conns(self) -> int:
        """The connections that are open, by gunicorn's count; other workers see it."""
        return self._held

    @nr_conns.setter
    def nr_conns(self, count: int) -> None:
        self._held = count
        if self._present:
            self.share.tell(count)

    def accept(self, listener: Any) -> None:
        """Called by gunicorn when a client connects."""
        if self.share.leaves(self._held):
            super().set_accept_enabled(False)
            self._nap_until = time.monotonic() + NAP
        else:
            super().accept(listener)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  (gunicorn calls it so)
        """Called by gunicorn's main loop, whenever it is not as wanted."""
        if enabled and time.monotonic() < self._nap_until:
            return
        self._nap_until = 0.0
        super().set_accept_enabled(enabled)
        self._present = enabled
        self.share.tell(self._held if enabled else AWAY)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Called by gunicorn's main loop; `timeout` in seconds."""
        if self._nap_until:
            timeout = min(timeout, max(0.0, self._nap_until - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called by gunicorn in a thread of the pool."""
        if self.share.asks_to_come_again(self._held):
            req.force_close()  # the answer says so
        return super().handle_request(req, conn)

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
