"""Receives whole requests from all clients, and sends their answers, in the main thread of a server process.

A connection gets to a thread when a request is complete, and comes back with its answer. Meanwhile it waits here, where
it costs a little memory and no thread: silent clients, slow ones and those that do not read their answers are in nobody's
way. Each has a deadline (serving.server.limits), and when there are too many the oldest silent one has to go
(serving.server.connection_table).
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

from serving.server import refusals
from serving.server.connection import Connection
from serving.server.connection_table import ConnectionTable
from serving.server.heads import Progress
from serving.server.limits import Limits, Stage
from serving.server.refusals import Refusal

log = logging.getLogger(__name__)
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
SWEEP = 0.25
"""Seconds between two sweeps for connections whose time is over."""
SPREAD, SOON = 250, 0.01
"""Of many that are overdue, one in SPREAD is closed, the next after SOON seconds: requests come in between, and clients that
come back do not come at once. (Each step of a connection may have to wait for a thread that computes.)"""
REPORT = 5.0
"""Seconds between two lines of the log about connections that were closed."""
GONE = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The client has ended the connection, as one does that only looks whether the port is open."""
OVERDUE = {Stage.HANDSHAKE: "slow_handshake", Stage.NEW: "silent", Stage.SENDING: "slow_to_receive"}
"""What is counted of those that are closed without a word; a kept connection that ends is nothing special."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Receiver:
    """All connections of one server process."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        limits: Limits,
        answer: Callable[[Connection], None],
        refuse: Callable[[Connection, Refusal], bytes],
        closed: Callable[[str], None] = lambda _why: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer` hands a connection with a whole request to a thread; `answered` is to be called after it.

        `refuse` logs and counts a refusal and returns its answer; `closed` counts a connection that was closed without a
        word, by one of CLOSED in serving.metrics.layout.
        """
        self._selector, self._limits, self._clock = selector, limits, clock
        self._answer, self._refuse, self._count_closed = answer, refuse, closed
        self._table = ConnectionTable(limits, clock)
        self._sweep_at = self._report_at = 0.0
        self._closed: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The connections that are open."""
        return self._table.count

    @property
    def load(self) -> int:
        """Those that ask something, or have just come."""
        return self._table.load

    @property
    def waiting(self) -> int:
        """Those whose whole request no thread has taken yet."""
        return self._table.waiting

    # A connection comes and goes

    def add(self, sock: socket.socket, client: Any, server: Any, tls: ssl.SSLContext | None = None) -> None:
        """A client has connected."""
        try:
            conn = Connection(sock, client, server, self._limits.max_body, tls)
        except OSError:  # it has gone already
            sock.close()
            return
        while self._table.is_full and self.close_oldest():
            pass
        self._table.add(conn)
        self._watch(conn, READ)
        if self._table.too_many_of(conn):
            self._close_one_of_its_address(conn)
        self._event(conn)  # mostly its request has come by now

    def close_oldest(self) -> bool:
        """Close the connection that has been incomplete for longest, or else idle. False: all are being answered."""
        conn = self._table.oldest()
        if conn:
            self._give_up(conn, refusals.TOO_MANY)
        return conn is not None

    def _close_one_of_its_address(self, conn: Connection) -> None:
        if old := self._table.older_of(conn):
            self._give_up(old, refusals.TOO_MANY_OF_ADDRESS)
        elif conn.stage is Stage.NEW:
            self._closed["in favour of new ones"] += 1
            self._refuse_and_linger(conn, refusals.TOO_MANY_OF_ADDRESS)
        else:
            self._give_up(conn, refusals.TOO_MANY_OF_ADDRESS)

    def _give_up(self, conn: Connection, refusal: Refusal) -> None:
        """Close it now, with an answer if a request of it has begun."""
        self._closed["in favour of new ones"] += 1
        if conn.stage in {Stage.HEAD, Stage.BODY}:
            conn.output += self._refuse(conn, refusal)
            conn.flush()
        else:
            self._count_closed(refusal.reason)
        self._close(conn)

    def _close(self, conn: Connection) -> None:
        if conn.socket.fileno() < 0:
            return
        self._watch(conn, 0)
        self._table.remove(conn)
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
                self._table.account(conn)
                self._look(conn)

    def _shake_hands(self, conn: Connection) -> None:
        try:
            if not conn.handshake():
                return
        except OSError as error:
            log.debug("%s: no TLS: %s", conn.client, error)
            if isinstance(error, ssl.SSLError) and not isinstance(error, GONE):
                self._count_closed("no_tls")
            self._close(conn)
            return
        self._table.begin(conn, Stage.NEW)
        self._readable(conn)

    def _look(self, conn: Connection) -> None:
        """Answer the request if it is complete."""
        if not conn.input:
            if conn.ended:
                self._close(conn)
            return
        progress = conn.look()
        if progress is Progress.HEAD_TOO_LARGE:
            self._refuse_and_linger(conn, refusals.HEAD_TOO_LARGE)
        elif progress is Progress.TOO_MANY_CHUNKS:
            self._refuse_and_linger(conn, refusals.TOO_MANY_CHUNKS)
        elif progress is Progress.HEAD:
            if conn.ended:
                self._close(conn)
            else:
                if conn.stage is not Stage.HEAD:
                    self._table.begin(conn, Stage.HEAD)
                self._keep_memory_bounded()
        elif progress is Progress.BODY and not conn.ended:
            self._await_body(conn)
        else:
            conn.complete = progress is Progress.WHOLE
            self._table.asks(conn)
            self._table.begin(conn, Stage.ANSWERING)
            self._answer(conn)

    def _await_body(self, conn: Connection) -> None:
        if conn.stage is not Stage.BODY:
            self._table.begin(conn, Stage.BODY)
            if conn.scan.expects_continue:
                conn.output += CONTINUE
                conn.flush()
        self._keep_memory_bounded()

    def _keep_memory_bounded(self) -> None:
        while old := self._table.one_too_much():
            self._give_up(old, refusals.TOO_MUCH)

    def answered(self, conn: Connection, *, keep: bool) -> None:
        """A thread has answered the request, with `conn.output` as far as the client has not taken it yet."""
        conn.keep = keep and conn.keep
        self._table.begin(conn, Stage.SENDING)
        self._table.account(conn)
        self._safely(self._send, conn)

    def _send(self, conn: Connection) -> None:
        if not conn.flush():
            self._watch(conn, WRITE)
            return
        self._table.account(conn)
        if not conn.keep:
            self._linger(conn)
            return
        self._table.begin(conn, Stage.IDLE)
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
        self._table.account(conn)
        self._table.begin(conn, Stage.LINGERING)
        conn.until = conn.since + self._limits.seconds
        self._watch(conn, READ)

    def _drain(self, conn: Connection) -> None:
        if conn.drain():
            self._table.begin(conn, Stage.LINGERING)
        if conn.ended or conn.drained > self._limits.drained or self._clock() > conn.until:
            self._close(conn)

    # Time

    def sweep(self, *, stopping: bool = False) -> float:
        """Close what has taken too long. Returns the seconds after which to come again."""
        now = self._clock()
        if (left := self._sweep_at - now) > 0:
            return left
        overdue = self._table.overdue(stopping=stopping)
        some = overdue if stopping else overdue[: -(-len(overdue) // SPREAD)]
        for conn in some:
            self._safely(self._time_is_over, conn)
        if self._closed and now >= self._report_at:
            log.warning("closed connections: %s", ", ".join(f"{n} {why}" for why, n in self._closed.items()))
            self._closed.clear()
            self._report_at = now + REPORT
        left = SOON if len(some) < len(overdue) else SWEEP if self.count else 1.0
        self._sweep_at = now + min(left, SWEEP)
        return left

    def _time_is_over(self, conn: Connection) -> None:
        if conn.stage in {Stage.HEAD, Stage.BODY}:
            self._closed["too slow to send"] += 1
            slow = refusals.HEAD_TOO_SLOW if conn.stage is Stage.HEAD else refusals.BODY_TOO_SLOW
            self._refuse_and_linger(conn, slow)
            return
        if conn.stage is Stage.SENDING:
            self._closed["too slow to receive"] += 1
        if conn.stage in OVERDUE:
            self._count_closed(OVERDUE[conn.stage])
        self._close(conn)

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
