"""Receives whole requests from all clients, and sends their answers, in the main thread of a server process.

A connection gets to a thread when a request is complete, and comes back with its answer. Meanwhile it waits here, where
it costs a little memory and no thread: silent clients, slow ones and those that do not read their answers are in nobody's
way. Each has a deadline (serving.server.limits), and when there are too many the oldest silent one has to go.
"""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from serving.server.connection import Connection
from serving.server.heads import Progress
from serving.server.limits import SILENT, Limits, Stage
from serving.server.refusals import Refusal

log = logging.getLogger(__name__)
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
SWEEP = 0.25
"""Seconds between two sweeps for connections whose time is over."""
AT_ONCE, SOON = 8, 0.01
"""Connections that one sweep closes, and seconds until the next one when there are more: requests come in between."""
QUIET = 1.0
"""Seconds after which a connection that asks nothing does not count as load."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD_TOO_LARGE = Refusal(431, "the header section is too large", "send fewer or shorter header fields")
HEAD_TOO_SLOW = Refusal(408, "the header section did not come in time")
BODY_TOO_SLOW = Refusal(408, "the body did not come in time", "send it faster, or in several requests")
TOO_MANY = Refusal(503, "too many connections; this one had been incomplete for longest", "retry soon")
TOO_MANY_OF_ADDRESS = Refusal(429, "too many connections from this address", "use fewer, or keep them open")
TOO_MUCH = Refusal(503, "too many large requests are being received", "retry soon")


class Receiver:
    """All connections of one server process."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        limits: Limits,
        answer: Callable[[Connection], None],
        refuse: Callable[[Connection, Refusal], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer` hands a connection with a whole request to a thread; `answered` is to be called after it.

        `refuse` logs a refusal and returns its answer.
        """
        self._selector, self._limits, self._clock = selector, limits, clock
        self._answer, self._refuse = answer, refuse
        self._waiting: dict[Stage, dict[Connection, None]] = {stage: {} for stage in Stage}
        """The longest waiting first."""
        self._by_address: dict[str, dict[Connection, None]] = {}
        self.count = 0
        self.load = 0
        """Connections that ask something, or have just come; silent ones do not count."""
        self._buffered = 0
        self._swept = 0.0
        self._closed: Counter[str] = Counter()

    # A connection comes and goes

    def add(self, sock: socket.socket, client: Any, server: Any, tls: ssl.SSLContext | None = None) -> None:
        """A client has connected."""
        try:
            conn = Connection(sock, client, server, self._limits.max_body, tls)
        except OSError:  # it has gone already
            sock.close()
            return
        while self.count >= self._limits.connections and self.close_oldest():
            pass
        self.count += 1
        self._count_load(conn)
        others = self._by_address.setdefault(conn.address, {})
        others[conn] = None
        self._begin(conn, conn.stage)
        self._watch(conn, READ)
        if conn.address and len(others) > self._limits.per_address and conn.address not in self._limits.exempt:
            self._close_oldest_of(conn, others)
        self._event(conn)  # mostly its request has come by now

    def close_oldest(self) -> bool:
        """Close the connection that has been incomplete for longest, or else idle. False: all are being answered."""
        oldest = [next(iter(self._waiting[stage]), None) for stage in Stage if stage is not Stage.ANSWERING]
        silent = min(filter(None, oldest[: len(SILENT)]), key=lambda conn: conn.since, default=None)
        conn = silent or next(filter(None, oldest[len(SILENT) :]), None)
        if conn:
            self._give_up(conn, TOO_MANY)
        return conn is not None

    def _close_oldest_of(self, conn: Connection, others: dict[Connection, None]) -> None:
        old = next((each for each in others if each.stage is not Stage.ANSWERING and each is not conn), None)
        if old:
            self._give_up(old, TOO_MANY_OF_ADDRESS)
        elif conn.stage is Stage.NEW:
            self._closed["in favour of new ones"] += 1
            self._refuse_and_linger(conn, TOO_MANY_OF_ADDRESS)
        else:
            self._close(conn)

    def _give_up(self, conn: Connection, refusal: Refusal) -> None:
        """Close it now, with an answer if a request of it has begun."""
        self._closed["in favour of new ones"] += 1
        if conn.stage in {Stage.HEAD, Stage.BODY}:
            conn.output += self._refuse(conn, refusal)
            conn.flush()
        self._close(conn)

    def _close(self, conn: Connection) -> None:
        if conn.socket.fileno() < 0:
            return
        self._watch(conn, 0)
        self._waiting[conn.stage].pop(conn, None)
        others = self._by_address[conn.address]
        others.pop(conn, None)
        if not others:
            del self._by_address[conn.address]
        if conn.counted:
            conn.counted = False
            self.load -= 1
        self.count -= 1
        conn.input.clear()
        conn.output.clear()
        self._account(conn)
        conn.socket.close()

    # Requests

    def _event(self, conn: Connection, _socket: Any = None) -> None:
        """The selector has found what the connection waits for, at least at the start of this turn."""
        if conn.watched:
            self._safely(self._send if conn.watched == WRITE else self._readable, conn)

    def _safely(self, step: Callable[[Connection], None], conn: Connection) -> None:
        """An error ends this connection; all others are still served."""
        try:
            step(conn)
        except Exception:
            log.exception("an error in the connection of %s", conn.client)
            self._close(conn)

    def _readable(self, conn: Connection) -> None:
        """There is something to read, or the client has gone."""
        if conn.stage is Stage.ANSWERING:  # the next request: not before this one is answered
            self._watch(conn, 0)
        elif conn.stage is Stage.HANDSHAKE:
            self._shake_hands(conn)
        elif conn.stage is Stage.LINGERING:
            self._drain(conn)
        else:
            received = conn.receive()
            conn.progress += received
            if received or conn.ended:
                self._account(conn)
                self._look(conn)

    def _shake_hands(self, conn: Connection) -> None:
        try:
            if not conn.handshake():
                return
        except OSError as error:
            log.debug("%s: no TLS: %s", conn.client, error)
            self._close(conn)
            return
        self._begin(conn, Stage.NEW)
        self._readable(conn)

    def _look(self, conn: Connection) -> None:
        """Answer the request if it is complete."""
        if not conn.input:
            if conn.ended:
                self._close(conn)
            return
        progress = conn.look()
        if progress is Progress.HEAD_TOO_LARGE:
            self._refuse_and_linger(conn, HEAD_TOO_LARGE)
        elif progress is Progress.HEAD:
            if conn.ended:
                self._close(conn)
            elif conn.stage is not Stage.HEAD:
                self._begin(conn, Stage.HEAD)
        elif progress is Progress.BODY and not conn.ended:
            self._await_body(conn)
        else:
            conn.complete = progress is Progress.WHOLE
            self._count_load(conn)
            self._begin(conn, Stage.ANSWERING)
            self._answer(conn)

    def _await_body(self, conn: Connection) -> None:
        if conn.stage is not Stage.BODY:
            self._begin(conn, Stage.BODY)
            if conn.scan.expects_continue:
                conn.output += CONTINUE
                conn.flush()
        while self._buffered > self._limits.buffered:
            old = next(iter(self._waiting[Stage.BODY]))
            self._give_up(old, TOO_MUCH)
            if old is conn:
                return

    def answered(self, conn: Connection, *, keep: bool) -> None:
        """A thread has answered the request, with `conn.output` as far as the client has not taken it yet."""
        conn.keep = keep and conn.keep
        self._begin(conn, Stage.SENDING)
        self._account(conn)
        self._safely(self._send, conn)

    def _send(self, conn: Connection) -> None:
        if not conn.flush():
            self._watch(conn, WRITE)
            return
        self._account(conn)
        if not conn.keep:
            self._linger(conn)
            return
        self._begin(conn, Stage.IDLE)
        self._watch(conn, READ)
        self._look(conn)  # the next request may be there

    def _refuse_and_linger(self, conn: Connection, refusal: Refusal) -> None:
        conn.output += self._refuse(conn, refusal)
        conn.flush()
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """Close the connection so that the client sees its answer: not before it has, or what it still sends is read.

        The kernel would reset a connection with unread bytes, and the client would lose the answer.
        """
        conn.half_close()
        if conn.ended:
            self._close(conn)
            return
        conn.input.clear()
        self._account(conn)
        self._begin(conn, Stage.LINGERING)
        conn.until = conn.since + self._limits.seconds
        self._watch(conn, READ)

    def _drain(self, conn: Connection) -> None:
        if conn.drain():
            self._begin(conn, Stage.LINGERING)
        if conn.ended or conn.drained > self._limits.drained or self._clock() > conn.until:
            self._close(conn)

    # Time

    def sweep(self, *, stopping: bool = False) -> float:
        """Close what has taken too long. Returns the seconds after which to come again."""
        now = self._clock()
        if (left := self._swept + SWEEP - now) > 0:
            return left
        self._swept, overdue = now, []
        for stage, waiting in self._waiting.items():
            for conn in waiting:
                if conn.counted and stage is not Stage.ANSWERING and now - conn.since > QUIET:
                    conn.counted = False
                    self.load -= 1
                if now >= self._limits.deadline(stage, conn.since, conn.progress, stopping=stopping):
                    overdue.append(conn)
        for conn in overdue[:AT_ONCE]:
            self._safely(self._time_is_over, conn)
        if len(overdue) > AT_ONCE:
            self._swept = now - SWEEP + SOON
            return SOON
        if self._closed:
            log.warning("closed connections: %s", ", ".join(f"{n} {why}" for why, n in self._closed.items()))
            self._closed.clear()
        return SWEEP if self.count else 1.0

    def _time_is_over(self, conn: Connection) -> None:
        if conn.stage in {Stage.HEAD, Stage.BODY}:
            self._closed["too slow to send"] += 1
            self._refuse_and_linger(conn, HEAD_TOO_SLOW if conn.stage is Stage.HEAD else BODY_TOO_SLOW)
            return
        if conn.stage is Stage.SENDING:
            self._closed["too slow to receive"] += 1
        self._close(conn)

    # What is kept about a connection

    def _begin(self, conn: Connection, stage: Stage) -> None:
        self._waiting[conn.stage].pop(conn, None)
        conn.stage, conn.since, conn.progress = stage, self._clock(), 0
        self._waiting[stage][conn] = None

    def _count_load(self, conn: Connection) -> None:
        if not conn.counted:
            conn.counted = True
            self.load += 1

    def _account(self, conn: Connection) -> None:
        held = len(conn.input) + len(conn.output)
        self._buffered += held - conn.held
        conn.held = held

    def _watch(self, conn: Connection, events: int) -> None:
        """Wait for READ, WRITE or, with 0, for nothing."""
        if events == conn.watched:
            return
        callback = partial(self._event, conn)
        if not events:
            self._selector.unregister(conn.socket)
        elif conn.watched:
            self._selector.modify(conn.socket, events, callback)
        else:
            self._selector.register(conn.socket, events, callback)
        conn.watched = events
