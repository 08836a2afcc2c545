"""How a worker in a container gets its connections: it accepts from the listening socket that serving.server.listener hands out.

It asks once its model is loaded, so whoever connects finds a worker that can answer; and asks again when the listener was
killed and has restarted with another socket. The model stays loaded meanwhile.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

from serving.server.listener import READY, SPARE

ASK_SECONDS = 5.0
log = logging.getLogger(__name__)


def ask_for(path: str, what: bytes) -> tuple[socket.socket, socket.socket] | None:
    """The listening socket of another port, OPERATORS or GRPC, and the channel that ends with the listener; None: ask again
    later."""
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(ASK_SECONDS)
    try:
        channel.connect(path)
        channel.sendall(what)
        _, handed, _, _ = socket.recv_fds(channel, 1, 1)
        if handed:
            return socket.socket(fileno=handed[0]), channel
    except OSError:  # it has not started yet, or has ended
        pass
    channel.close()
    return None


class EventLoop(Protocol):
    """What the hand-off needs of the worker's loop."""

    def watch(self, channel: socket.socket, callback: Callable[[socket.socket], None]) -> None:
        """Call `callback(channel)` from the loop whenever `channel` can be read."""

    def unwatch(self, channel: socket.socket) -> None:
        """The opposite."""

    def add_listener(self, listener: socket.socket) -> None:
        """Accept connections from `listener`, as far as the worker accepts any."""

    def remove_listener(self, listener: socket.socket) -> None:
        """The opposite."""


class SocketHandoff:
    """Belongs to one worker and its loop; `path` is the listener's Unix socket.

    `ready` returns whether the worker can answer: with predictions, or that nothing is live.
    """

    def __init__(self, loop: EventLoop, path: str, ready: Callable[[], bool]) -> None:
        self._loop, self._path, self._ready = loop, path, ready
        self._listener: socket.socket | None = None
        self._channel: socket.socket | None = None
        """To serving.server.listener."""
        self._asked = b""
        """READY or SPARE: what was sent on the channel."""
        self._warned = ""

    @property
    def has_socket(self) -> bool:
        """Whether the worker has the listening socket."""
        return self._listener is not None

    def poll(self) -> None:
        """Ask for the socket when the worker has none; called every second by a worker that is not stopping."""
        wanted = READY if self._ready() else SPARE
        if self._channel and (self._asked, wanted) == (SPARE, READY):
            self._close()
        if self._channel is None:
            self._ask(wanted)

    def _ask(self, what: bytes) -> None:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(self._path)
            channel.sendall(what)
        except OSError as error:  # mostly the listener has not started yet, or has ended; the next poll retries
            if self._warned != (warning := f"no connections: {self._path}: {error.strerror}"):
                self._warned = warning
                log.warning(warning)
            channel.close()
            return
        self._warned = ""
        channel.setblocking(False)
        self._channel, self._asked = channel, what
        self._loop.watch(channel, self._receive)

    def _receive(self, channel: socket.socket) -> None:
        try:
            data, handed, _, _ = socket.recv_fds(channel, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, handed = b"", []
        if handed:
            self._open(socket.socket(fileno=handed[0]))
        elif not data:
            if self._asked == READY:
                log.warning("the listener has ended; waiting for its restart")
            self._close()

    def _open(self, listener: socket.socket) -> None:
        # Inherited by every connection. An answer leaves at once, also one that is sent in two pieces:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_listener(listener)
        if self._asked == READY:
            log.info("taking requests")

    def _close(self) -> None:
        if self._channel is not None:
            self._loop.unwatch(self._channel)
            self._channel.close()
        if self._listener is not None:
            self._loop.remove_listener(self._listener)
            self._listener.close()
        self._channel = self._listener = None
