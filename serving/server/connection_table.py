"""Which connections a server process has: how many, what each waits for and since when, and which of them has to go."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.server.connection import Connection
from serving.server.limits import SILENT, Limits, Stage

QUIET = 1.0
"""Seconds after which a connection that asks nothing does not count as load."""


class ConnectionTable:
    """All of them. No method takes longer the more there are, but for those that are overdue or transfer a body."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._waiting: dict[Stage, dict[Connection, None]] = {stage: {} for stage in Stage}
        """The longest waiting first."""
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._asking: dict[Connection, None] = {}
        self.count = 0
        self.buffered = 0
        """Bytes of requests and answers in memory."""

    @property
    def load(self) -> int:
        """Connections that ask something, or have just come; silent ones do not count."""
        return len(self._asking)

    @property
    def is_full(self) -> bool:
        """Whether one has to go before another may come."""
        return self.count >= self._limits.connections

    @property
    def waiting(self) -> int:
        """Connections whose whole request no thread has taken yet."""
        return sum(conn.taken_at < conn.since for conn in self._waiting[Stage.ANSWERING])

    def all(self) -> list[Connection]:
        """Every connection."""
        return [conn for waiting in self._waiting.values() for conn in waiting]

    def add(self, conn: Connection) -> None:
        """A client has connected."""
        self.count += 1
        self._asking[conn] = None
        self._by_address.setdefault(conn.address, {})[conn] = None
        self.begin(conn, conn.stage)

    def remove(self, conn: Connection) -> None:
        """It is closed."""
        self._waiting[conn.stage].pop(conn, None)
        others = self._by_address[conn.address]
        others.pop(conn, None)
        if not others:
            del self._by_address[conn.address]
        self._asking.pop(conn, None)
        self.count -= 1
        conn.input.clear()
        conn.output.clear()
        self.account(conn)

    def begin(self, conn: Connection, stage: Stage) -> None:
        """It waits for something else from now on."""
        self._waiting[conn.stage].pop(conn, None)
        conn.stage, conn.since, conn.progress = stage, self._clock(), 0
        self._waiting[stage][conn] = None

    def asks(self, conn: Connection) -> None:
        """It counts as load from now on."""
        self._asking[conn] = None

    def account(self, conn: Connection) -> None:
        """Count the bytes that it holds now."""
        held = len(conn.input) + len(conn.output)
        self.buffered += held - conn.held
        conn.held = held

    # Which one has to go

    def oldest(self) -> Connection | None:
        """The one that has been incomplete for longest, or else idle; None: all are being answered."""
        first = [next(iter(self._waiting[stage]), None) for stage in Stage if stage is not Stage.ANSWERING]
        silent = min(filter(None, first[: len(SILENT)]), key=lambda conn: conn.since, default=None)
        return silent or next(filter(None, first[len(SILENT) :]), None)

    def too_many_of(self, conn: Connection) -> bool:
        """Whether its address has more connections than one may have."""
        if len(self._by_address[conn.address]) <= self._limits.per_address:
            return False
        return bool(conn.address) and conn.address not in self._limits.exempt

    def older_of(self, conn: Connection) -> Connection | None:
        """The oldest other one of its address that is not being answered."""
        others = self._by_address[conn.address]
        return next((each for each in others if each.stage is not Stage.ANSWERING and each is not conn), None)

    def one_too_much(self) -> Connection | None:
        """The incomplete request that began first, when there are too many bytes in memory."""
        if self.buffered <= self._limits.buffered:
            return None
        first = [next(iter(self._waiting[stage]), None) for stage in (Stage.HEAD, Stage.BODY)]
        return min(filter(None, first), key=lambda conn: conn.since, default=None)

    def overdue(self, *, stopping: bool) -> list[Connection]:
        """Those whose time is over. Of each stage, only those are looked at that would be overdue if nothing had come."""
        now = self._clock()
        for conn in list(self._asking):
            if conn.stage is not Stage.ANSWERING and now - conn.since > QUIET:
                del self._asking[conn]
        found = []
        for stage, waiting in self._waiting.items():
            for conn in waiting:
                if now < self._limits.deadline(stage, conn.since, 0, stopping=stopping):
                    break
                if now >= self._limits.deadline(stage, conn.since, conn.progress, stopping=stopping):
                    found.append(conn)
        return found
