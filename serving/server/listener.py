"""`python -P -m serving.server.listener`: holds the port of a model's API, and hands the listening socket to workers.

It runs in a container of its own, whose port the Docker engine publishes. The workers of the API, in containers without
any network, ask for the socket over a Unix socket in a shared volume, and accept from it themselves: an API and the one
that replaces it share one queue of connections, so none is lost, without a proxy in between.

A worker sends one byte, READY or SPARE, and receives the socket. SPARE is a worker that cannot load a model: it receives
the socket only while no worker is READY, so that clients get an error with the reason instead of waiting. Either side
ends the hand-off by closing its end. OPERATORS asks for the socket of the operator's port, whoever is ready; GRPC, if there
is one, for that of gRPC, which only workers ask for that have the clients' socket. Light: the standard library only, so that it can run alone in its container.
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
READY, SPARE, OPERATORS, GRPC = b"+", b"?", b"@", b"g"


class Listener:
    """The listening socket `public`, and the workers that ask for it at the Unix socket `path`.

    `operators` is the socket of their port, `grpc` that of gRPC; None: there is none.
    """

    def __init__(
        self, public: socket.socket, path: Path, operators: socket.socket, grpc: socket.socket | None = None
    ) -> None:
        self._public, self._operators, self._grpc = public, operators, grpc
        self._ready: set[socket.socket] = set()
        self._spare: dict[socket.socket, bool] = {}
        """By worker: whether it has been given the socket."""
        path.unlink(missing_ok=True)  # of a listener that was killed
        self._requests = socket.socket(socket.AF_UNIX)
        self._requests.bind(str(path))
        self._requests.listen(BACKLOG)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._requests, selectors.EVENT_READ)

    def serve(self) -> None:
        """Hand the socket out for ever."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._requests:
                    worker, _ = self._requests.accept()
                    worker.setblocking(False)
                    self._selector.register(worker, selectors.EVENT_READ, worker)
                else:
                    self._receive(key.data)
            self._give_to_spare()

    def _receive(self, worker: socket.socket) -> None:
        try:
            data = worker.recv(1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data == READY:
            self._ready.add(worker)
            for each in [each for each, has in self._spare.items() if has]:
                self._drop(each)  # it asks again, and waits for its turn
            self._give(worker, self._public)
        elif data == OPERATORS:
            self._give(worker, self._operators)
        elif data == GRPC and self._grpc:
            self._give(worker, self._grpc)
        elif data == SPARE:
            self._spare[worker] = False
        else:
            self._drop(worker)

    def _give_to_spare(self) -> None:
        """No worker is ready: those that are not may answer why."""
        if not self._ready:
            for each in [each for each, has in self._spare.items() if not has]:
                self._spare[each] = True
                self._give(each, self._public)

    def _give(self, worker: socket.socket, what: socket.socket) -> None:
        try:
            socket.send_fds(worker, [b"!"], [what.fileno()])
        except OSError:
            self._drop(worker)

    def _drop(self, worker: socket.socket) -> None:
        self._ready.discard(worker)
        self._spare.pop(worker, None)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker)
        worker.close()


def main(arguments: list[str]) -> None:
    """Hold the ports `arguments[0]`, `arguments[2]` for operators, and `arguments[3]`, if given, for gRPC, of all interfaces; answer
    workers at the path `arguments[1]`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not even be interrupted
    port, path, admin_port = int(arguments[0]), Path(arguments[1]), int(arguments[2])
    grpc_ports = [int(each) for each in arguments[3:]]
    everywhere = "0.0.0.0"  # noqa: S104  (the Docker engine decides who gets here)
    public = socket.create_server((everywhere, port), backlog=BACKLOG)
    operators = socket.create_server((everywhere, admin_port), backlog=BACKLOG)
    grpc = next((socket.create_server((everywhere, each), backlog=BACKLOG) for each in grpc_ports), None)
    os.umask(0o111)  # the API may run as another user; only containers of one model can reach this path
    Listener(public, path, operators, grpc).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
