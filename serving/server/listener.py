"""`python -P -m serving.server.listener`: holds the port of a model's API, and hands the listening socket to workers.

It runs in a container of its own, whose port the engine publishes. The workers of the API, in containers without any
network, ask for the socket over a Unix socket in a shared volume, and accept from it themselves: two APIs that take
turns share one queue of connections, so none is lost, and no proxy stands between.

A worker sends one byte, READY or SPARE, and is answered with the socket. SPARE is a worker that cannot load a model: it
is answered only as long as nobody is READY, so that clients are told why instead of waiting. Either side hangs up to
part. Light and alone: the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

BACKLOG = 2048
READY, SPARE = b"+", b"?"


class Listener:
    """The listening socket `public`, and the workers that ask for it at the Unix socket `path`."""

    def __init__(self, public: socket.socket, path: Path) -> None:
        self._public = public
        self._ready: set[socket.socket] = set()
        self._spare: dict[socket.socket, bool] = {}
        """Whether it has the socket."""
        path.unlink(missing_ok=True)  # of one that was killed
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(BACKLOG)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer workers for ever."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._door:
                    worker, _ = self._door.accept()
                    worker.setblocking(False)
                    self._selector.register(worker, selectors.EVENT_READ, worker)
                else:
                    self._hear(key.data)
            self._help_out()

    def _hear(self, worker: socket.socket) -> None:
        try:
            said = worker.recv(1)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said == READY:
            self._ready.add(worker)
            for each in [each for each, has in self._spare.items() if has]:
                self._part(each)  # it asks again, and waits
            self._give(worker)
        elif said == SPARE:
            self._spare[worker] = False
        else:
            self._part(worker)

    def _help_out(self) -> None:
        """Nobody is ready: whoever is there may say why."""
        if not self._ready:
            for each in [each for each, has in self._spare.items() if not has]:
                self._spare[each] = True
                self._give(each)

    def _give(self, worker: socket.socket) -> None:
        try:
            socket.send_fds(worker, [b"!"], [self._public.fileno()])
        except OSError:
            self._part(worker)

    def _part(self, worker: socket.socket) -> None:
        self._ready.discard(worker)
        self._spare.pop(worker, None)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker)
        worker.close()


def main(arguments: list[str]) -> None:
    """Hold the port `arguments[0]` of all interfaces, and answer workers at the path `arguments[1]`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not even be interrupted
    port, path = int(arguments[0]), Path(arguments[1])
    public = socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104  (the engine decides who gets here)
    os.umask(0o111)  # an API of another user asks, too, and only containers of one model get here
    Listener(public, path).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
