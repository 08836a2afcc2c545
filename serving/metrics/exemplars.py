"""For each bucket of the time of requests, the last request whose trace is kept by somebody: its trace id, for OpenMetrics.

They are in shared memory, as the counts: whichever worker is scraped shows the newest of all. There is one per bucket,
route and worker, so that they cannot grow; each has a checksum, so that one that is read while it is written is left out.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from typing import NamedTuple

from serving.metrics.layout import SECONDS
from serving.metrics.routes import ROUTES

_VALUES = struct.Struct("=16sdd")
_CHECK = struct.Struct("=I")
SIZE = _VALUES.size + _CHECK.size
BUCKETS = len(SECONDS) + 1
_ROW = len(ROUTES) * BUCKETS * SIZE
_FIRST = {name: i * BUCKETS * SIZE for i, name in enumerate(ROUTES)}


class Traced(NamedTuple):
    """One request."""

    trace_id: str
    seconds: float
    """That it took."""
    time: float
    """Seconds since 1970."""


class Exemplars:
    """A row for each of `rows` workers. Made in gunicorn's master, before workers are forked."""

    def __init__(self, rows: int) -> None:
        self._memory, self._rows = mmap.mmap(-1, _ROW * rows), rows

    def put(self, row: int, route: str, bucket: int, trace_id: str, seconds: float) -> None:
        """The last one of this bucket; `route` is one of ROUTES, `trace_id` has 32 hexadecimal digits."""
        if row < self._rows:
            values = _VALUES.pack(bytes.fromhex(trace_id), seconds, time.time())
            start = row * _ROW + _FIRST[route] + bucket * SIZE
            self._memory[start : start + SIZE] = values + _CHECK.pack(zlib.crc32(values))

    def newest(self, route: str) -> list[Traced | None]:
        """Of all workers, by bucket."""
        return [self._newest(_FIRST[route] + bucket * SIZE) for bucket in range(BUCKETS)]

    def _newest(self, offset: int) -> Traced | None:
        found = [self._read(row * _ROW + offset) for row in range(self._rows)]
        return max((each for each in found if each), key=lambda each: each.time, default=None)

    def _read(self, start: int) -> Traced | None:
        record = self._memory[start : start + SIZE]
        values = record[: _VALUES.size]
        if _CHECK.unpack_from(record, _VALUES.size)[0] != zlib.crc32(values):
            return None  # also where there was none yet: the checksum of zeros is not zero
        trace_id, seconds, at = _VALUES.unpack(values)
        return Traced(trace_id.hex(), seconds, at)
