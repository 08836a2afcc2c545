"""What the workers count, in memory that all of them share.

Each adds to a row of its own, and whichever is scraped sums up all rows. A row stays when its worker ends, however it
does, and the next worker adds to it: no count ever goes back while the server runs, and nothing is left on a disk. There
is a fixed set of numbers, so no client can make more of them.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROUTES = ("/predict", "/", "/example", "/version", "/health/live", "/health/ready", "other")
STATUSES = ("200", "400", "401", "403", "404", "405", "413", "415", "421", "429", "500", "503", "other")
REFUSALS = (
    ("400", "malformed"), ("400", "ended_early"), ("408", "slow_head"), ("408", "slow_body"), ("413", "chunks"), ("414", "request_line"),
    ("417", "expectation"), ("429", "connections_of_address"), ("431", "head_too_large"), ("500", "error"),
    ("501", "transfer_coding"), ("503", "connections"), ("503", "memory"),
)  # fmt: skip
"""Statuses and reasons of answers to requests that the app has not answered: serving.server.refusals."""
CLOSED = ("connections", "connections_of_address", "memory", "silent", "slow_handshake", "no_tls", "slow_to_receive")
"""Why a connection was closed without an answer."""
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
INSTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
"""Of the class that was answered."""

_ROUTE = {name: i for i, name in enumerate(ROUTES)}
_STATUS = {name: i for i, name in enumerate(STATUSES)}
_REFUSAL = {pair: i for i, pair in enumerate(REFUSALS)}
_STEP = len(SECONDS) + 2  # a histogram is a count per bucket, one beyond the last, and the sum of the values
_REQUESTS = 1  # the number of requests in flight comes first
_SECONDS = _REQUESTS + len(ROUTES) * len(STATUSES)
_BYTES = _SECONDS + len(ROUTES) * _STEP
_INSTANCES = _BYTES + len(BYTES) + 2
_CONFIDENCE = _INSTANCES + len(INSTANCES) + 2
_LOG = _CONFIDENCE + len(CONFIDENCE) + 2
_REFUSED = _LOG + 1
_CLOSED = _REFUSED + len(REFUSALS)
WIDTH = _CLOSED + len(CLOSED)

Histogram = tuple[list[float], float]
"""The count in each bucket, the last one without a bound, and the sum of all values."""


@dataclass(slots=True)
class CountedRequest:
    """What there is to count of one request and its answer."""

    path: str
    status: str = ""
    """Three digits; empty: the request was not answered."""
    seconds: float = 0.0
    size: int | None = None
    """Bytes of the body, if the client said how many."""
    predictions: Sequence[dict[str, Any]] = ()


class CounterTable:
    """A row of numbers for each of `rows` workers. Made in gunicorn's master, before workers are forked."""

    def __init__(self, rows: int = 1) -> None:
        memory = memoryview(mmap.mmap(-1, 8 * WIDTH * rows)).cast("d")
        self._rows = [memory[WIDTH * i : WIDTH * (i + 1)] for i in range(rows)]

    def counters(self, row: int) -> WorkerCounters:
        """For the worker that has this row now. A worker beyond the last row gets one that is not summed up."""
        return WorkerCounters(self, self._rows[row] if row < len(self._rows) else CounterTable()._rows[0])  # noqa: SLF001

    def worker_ended(self, row: int) -> None:
        """The requests that the worker was answering have ended with it; called in the master."""
        if row < len(self._rows):
            self._rows[row][0] = 0

    def totals(self) -> Totals:
        """The sums over all workers."""
        return Totals([sum(each) for each in zip(*self._rows, strict=True)])


class WorkerCounters:
    """Counts for one worker, for all of its threads."""

    def __init__(self, table: CounterTable, row: memoryview[float]) -> None:
        self.table = table
        self._row = row
        self._open: set[int] = set()
        self._lock = threading.Lock()
        """Taken once per request only: while the thread that holds it waits for the GIL, all others wait, too."""

    def start(self, request: CountedRequest) -> None:
        """Count it as in flight."""
        self._open.add(id(request))  # atomic under the GIL
        self._row[0] = len(self._open)

    def log_line_dropped(self) -> None:
        """Count a line that could not be written."""
        self._add_one(_LOG)

    def refused(self, status: int, reason: str) -> None:
        """Count a request that the app has not answered, by one of REFUSALS."""
        self._add_one(_REFUSED + _REFUSAL[str(status), reason])

    def closed(self, reason: str) -> None:
        """Count a connection that was closed without an answer, by one of CLOSED."""
        self._add_one(_CLOSED + CLOSED.index(reason))

    def _add_one(self, cell: int) -> None:
        with self._lock:
            self._row[cell] += 1

    def finish(self, request: CountedRequest) -> None:
        """Count it as answered."""
        row, predictions = self._row, request.predictions
        route = _ROUTE.get(request.path, len(ROUTES) - 1)
        request_cell = _REQUESTS + route * len(STATUSES) + _STATUS.get(request.status, len(STATUSES) - 1)
        sums: list[tuple[int, Sequence[float], list[float]]] = [(_SECONDS + route * _STEP, SECONDS, [request.seconds])]
        if predictions:
            sums.append((_INSTANCES, INSTANCES, [len(predictions)]))
            if request.size is not None:
                sums.append((_BYTES, BYTES, [request.size]))
            first = predictions[0].get("probability")
            if first is not None and not isinstance(first, dict):  # an output may have that name
                # A probability may be a rounding more than 1.
                sums.append((_CONFIDENCE, CONFIDENCE, [min(float(each["probability"]), 1.0) for each in predictions]))
        with self._lock:
            self._open.discard(id(request))
            row[0] = len(self._open)
            row[request_cell] += 1
            for first_cell, bounds, values in sums:
                total = first_cell + len(bounds) + 1
                for value in values:
                    row[first_cell + bisect_left(bounds, value)] += 1
                    row[total] += value


class Totals:
    """The numbers of all workers at one moment."""

    def __init__(self, numbers: list[float]) -> None:
        self._numbers = numbers
        self.in_flight = numbers[0]
        self.log_lines_dropped = numbers[_LOG]
        self.bytes = self._histogram(_BYTES, len(BYTES))
        self.instances = self._histogram(_INSTANCES, len(INSTANCES))
        self.confidence = self._histogram(_CONFIDENCE, len(CONFIDENCE))

    def refused(self) -> dict[tuple[str, str], float]:
        """How many requests the app has not answered, by status and reason."""
        return dict(zip(REFUSALS, self._numbers[_REFUSED:_CLOSED], strict=True))

    def closed(self) -> dict[str, float]:
        """How many connections were closed without an answer, by reason."""
        return dict(zip(CLOSED, self._numbers[_CLOSED:], strict=True))

    def requests(self) -> dict[tuple[str, str], float]:
        """How many requests there were, by route and status."""
        keys = [(route, status) for route in ROUTES for status in STATUSES]
        return dict(zip(keys, self._numbers[_REQUESTS:_SECONDS], strict=True))

    def seconds(self) -> dict[str, Histogram]:
        """How long they took, by route."""
        return {route: self._histogram(_SECONDS + i * _STEP, len(SECONDS)) for i, route in enumerate(ROUTES)}

    def _histogram(self, first: int, bounds: int) -> Histogram:
        return self._numbers[first : first + bounds + 1], self._numbers[first + bounds + 1]
