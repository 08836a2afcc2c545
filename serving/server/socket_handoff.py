"""How a worker in a container gets its connections: it accepts from the listening socket that serving.server.listener hands out.

It asks once its model is loaded, so whoever connects finds a worker that can answer; and asks again when the listener
was killed and is back with another socket. The model stays loaded meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any

from serving.server.listener import READY, SPARE

log = logging.getLogger("gunicorn.error")


class Door:
    """Belongs to one of gunicorn's thread workers, and to its loop; `path` is the listener's Unix socket.

    `ready` tells whether the worker knows what to answer. `seconds` bound one read of an accepted connection.
    """

    def __init__(self, worker: Any, path: str, ready: Callable[[], bool], seconds: int) -> None:
        self._worker, self._path, self._ready, self._seconds = worker, path, ready, seconds
        self._listener: socket.socket | None = None
        self._line: socket.socket | None = None
        self._said = b""
        self._told = ""

    @property
    def is_open(self) -> bool:
        """Whether the worker has the listening socket."""
        return self._listener is not None

    def look(self) -> None:
        """Ask for the socket when we have not; called every second by a worker that is not stopping."""
        wanted = READY if self._ready() else SPARE
        if self._line and (self._said, wanted) == (SPARE, READY):
            self._close()
        if self._line is None:
            self._ask(wanted)

    def _ask(self, what: bytes) -> None:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(self._path)
            line.sendall(what)
        except OSError as error:  # mostly the listener is not there yet, or not any more; the next look tries again
            if self._told != (told := f"no connections: {self._path}: {error.strerror}"):
                self._told = told
                log.warning(told)
            line.close()
            return
        self._told = ""
        line.setblocking(False)
        self._line, self._said = line, what
        self._worker.poller.register(line, selectors.EVENT_READ, self._hear)

    def _hear(self, line: socket.socket) -> None:
        try:
            said, handed, _, _ = socket.recv_fds(line, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            said, handed = b"", []
        if handed:
            self._open(socket.socket(fileno=handed[0]))
        elif not said:
            if self._said == READY:
                log.warning("the listener is gone; waiting for it to come back")
            self._close()

    def _open(self, listener: socket.socket) -> None:
        # Inherited by every connection. An answer leaves at once, also one that is sent in two pieces:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # And a client that has gone quiet is told so, sooner than serving.server.gunicorn_adapter hangs up.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", self._seconds, 0))
        listener.setblocking(False)
        self._listener = listener
        self._worker.sockets.append(listener)
        if self._worker._accepting:  # noqa: SLF001  (else it is registered with the others, when there is room)
            self._worker.poller.register(listener, selectors.EVENT_READ, self._worker.accept)
        if self._said == READY:
            log.info("taking requests")

    def _close(self) -> None:
        for each in (self._line, self._listener):
            if each is not None:
                with contextlib.suppress(KeyError, ValueError):  # a stopping or a full worker has unregistered it
                    self._worker.poller.unregister(each)
                each.close()
        if self._listener is not None:
            self._worker.sockets.remove(self._listener)
        self._line = self._listener = None
