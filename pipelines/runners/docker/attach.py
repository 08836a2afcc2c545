"""A supervisor that is process 1 of a container, and its worker, through the engine's API.

The controller holds the supervisor's standard input: when it ends, by `kill -9` too, the engine closes that, and the
supervisor ends all. Its reports come as standard error, what the worker writes as standard output, in frames of one stream.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

from pipelines.docker_engine import engine_errors
from pipelines.runners.docker.transport import Transport, remove
from pipelines.runners.supervisor.exit import ExitRecord
from pipelines.runners.supervisor.output import LOG_PREFIX, WorkerLog
from pipelines.runners.supervisor.supervised import REPORT_BYTES
from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed

CHUNK = 64 << 10
HEADER, REPORT = 8, 2  # bytes before each piece; the number of standard error
KEEP_ALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}  # seconds, seconds, times
WAIT_SECONDS = 10  # until the engine knows that a container has ended


class AttachedLink:
    """A `Link` to a container."""

    def __init__(self, api: Any, container: str, name: str, transport: Transport, log: WorkerLog) -> None:
        """`container` has been created; it starts here."""
        self.api, self.container, self.name = api, container, f"worker {name}"
        self.transport, self.log = transport, log
        self.report = bytearray()
        self._frames = Frames()
        self._given_up = False
        with engine_errors(self.name):
            how = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            self._stream = api.attach_socket(container, how)
            self._socket = getattr(self._stream, "_sock", self._stream)
            _keep_alive(self._socket)
            try:
                api.start(container)
            except BaseException:
                self._disconnect()
                raise

    def pieces(self, seconds: float) -> Iterator[bytes]:
        """See `Link`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(None if left == math.inf else left)
            try:
                data = self._socket.recv(CHUNK)
            except TimeoutError:
                return
            except OSError:  # the engine has gone; what has become of the worker is asked later
                return
            if not data:
                return
            for stream, piece in self._frames.feed(data):
                if stream != REPORT:
                    yield piece
                else:
                    self.report += piece
                    del self.report[
                        :-REPORT_BYTES
                    ]  # the last line is the supervisor's, whatever the worker has written there

    def stop(self) -> None:
        """See `Link`."""
        with contextlib.suppress(OSError, PipelineError):  # it has gone already
            if isinstance(self._socket, ssl.SSLSocket):  # cannot be closed in one direction
                with engine_errors(self.name):
                    self.api.kill(self.container, "SIGTERM")
            else:
                self._socket.shutdown(socket.SHUT_WR)

    def give_up(self) -> None:
        """See `Link`."""
        if not self._given_up:  # an engine that does not answer is asked once
            self._given_up = True
            with contextlib.suppress(PipelineError), engine_errors(self.name):
                self.api.kill(self.container)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes who reads

    def lost(self, *, late: bool) -> ExitRecord:
        """See `Link`."""
        try:
            with engine_errors(self.name):
                self.api.wait(self.container, timeout=min(WAIT_SECONDS, self.api.timeout))
                state = self.api.inspect_container(self.container)["State"]
        except PipelineError as error:
            again = "the same command resumes from the last checkpoint"
            if isinstance(error, ConfigError):  # 404
                return _lost(f"{self.name}: its container was removed from outside", hint=f"run it again: {again}")
            return _lost(
                f"{self.name}: the Docker engine went away while it ran: {error}", hint=f"{error.hint}; {again}"
            )
        if state.get("OOMKilled"):
            return ExitRecord("memory")
        if late:
            return ExitRecord("timeout")
        return _lost(
            f"{self.name} was killed together with its container, exit code {state.get('ExitCode')}",
            hint="a person ended it (docker kill), or the engine was stopped; the same command resumes from the last checkpoint",
        )

    def close(self) -> None:
        """See `Link`."""
        self._disconnect()
        over = False  # what cannot come back now stays on the engine, where the next controller finds it
        try:
            self.transport.bring_back(lambda line: self.log.write([f"{LOG_PREFIX} {line}"]))
            over = True
        except WorkerFailed:  # it never will
            over = True
            raise
        finally:
            remove(self.api, [self.container], [])
            if over:
                self.transport.close()

    def _disconnect(self) -> None:
        """Close the stream, the answer that it came with, and their socket: each holds the others open."""
        response = getattr(self._stream, "_response", None)
        for each in (response, self._stream, self._socket):
            with contextlib.suppress(OSError, ValueError):
                if each:
                    each.close()


def _keep_alive(link: socket.socket) -> None:
    """Notice after a minute that an engine on another machine has gone without closing the connection."""
    if link.family in {socket.AF_INET, socket.AF_INET6}:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEP_ALIVE.items():
            link.setsockopt(socket.IPPROTO_TCP, option, value)


def _lost(message: str, hint: str) -> ExitRecord:
    return ExitRecord("lost", error=TryAgain(message, hint=hint))


class Frames:
    """Takes the engine's stream apart: one byte for which, three unused, four for how long, then that many."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(1 or 2, piece) for what `data` holds, however the stream is cut."""
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                yield self._header[0], piece
                continue
            if len(self._header) == HEADER:
                self._header.clear()
            missing = HEADER - len(self._header)
            self._header += data[:missing]
            data = data[missing:]
            if len(self._header) == HEADER:
                self._left = int.from_bytes(self._header[4:])
