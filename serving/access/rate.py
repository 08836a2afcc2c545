"""Requests a second per client, counted in memory that all server processes share.

For each client one number: the time at which all that it has asked so far would be paid off at the allowed rate (the
generic cell rate algorithm, a token bucket that holds a second's worth). The table has a fixed size: of many clients the
one that has asked least lately is forgotten first, and no client can make it grow.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from hashlib import blake2b

WAYS = 8
"""Clients that share a set of the table."""
SETS = 1024
ENTRY = struct.Struct("=Qd")
SET = struct.Struct("=" + "Qd" * WAYS)
KNOWN = 4096
"""Clients whose places in the table each process remembers."""
WIDTH = WAYS * ENTRY.size


class RateLimit:
    """`rate` requests a second per client. Made in gunicorn's master, before workers are forked."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period, self._clock = 1 / rate, clock
        self._burst = max(1.0, rate) * self._period
        self._key = os.urandom(16)  # so that nobody can choose clients that push out each other
        self._file = os.memfd_create("trainyard-rate", os.MFD_CLOEXEC)
        os.ftruncate(self._file, SETS * WIDTH)
        self._memory = mmap.mmap(self._file, SETS * WIDTH)
        self._lock = threading.Lock()
        self._place = functools.lru_cache(KNOWN)(self._look_up)

    def wait(self, client: str) -> float:
        """Count a request of the client: 0 when it may be answered, else the seconds until one may."""
        key, first = self._place(client)
        # The kernel's lock is one of processes, and ends with one that is killed; threads need another.
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX, WIDTH, first)
            try:
                return self._count(key, first)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, WIDTH, first)

    def _look_up(self, client: str) -> tuple[int, int]:
        """The client's key, and where its set begins."""
        digest = blake2b(client.encode("utf-8", "surrogateescape"), digest_size=12, key=self._key).digest()
        return int.from_bytes(digest[:8], "little") | 1, int.from_bytes(digest[8:], "little") % SETS * WIDTH

    def _count(self, key: int, first: int) -> float:
        now = self._clock()
        entries = SET.unpack_from(self._memory, first)
        keys: tuple[int, ...] = entries[::2]
        times: tuple[float, ...] = entries[1::2]
        if key in keys:
            way = keys.index(key)
            paid = max(now, times[way])
        else:
            way, paid = times.index(min(times)), now
        if paid + self._period - now > self._burst + 1e-9:
            return paid + self._period - now - self._burst
        ENTRY.pack_into(self._memory, first + way * ENTRY.size, key, paid + self._period)
        return 0.0
