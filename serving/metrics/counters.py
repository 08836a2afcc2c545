"""What the workers count, in memory that all of them share.

Each adds to a row of its own, and whichever is scraped sums up all rows. A row stays when its worker ends, however it
does, and the next worker adds to it: no count ever goes back while the server runs, and nothing is left on a disk. There
is a fixed set of numbers (serving.metrics.layout), so no client can make more of them.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from serving.metrics import layout
from serving.metrics.callers import CallerNames
from serving.metrics.exemplars import Exemplars
from serving.metrics.layout import (
    BATCH_ROWS,
    BYTES,
    CALLERS,
    CLOSED,
    CONFIDENCE,
    FEEDBACK,
    INSTANCES,
    PHASE_SECONDS,
    PHASES,
    QUEUES,
    REFUSALS,
    SECONDS,
    STATUSES,
    WIDTH,
)
from serving.metrics.process_facts import ProcessFacts
from serving.metrics.routes import OTHER, PROTOCOL_OF, PROTOCOLS, ROUTES

Histogram = tuple[list[float], float]
"""The count in each bucket, the last one without a bound, and the sum of all values."""
_OTHER_STATUS = len(STATUSES) - 1
FEW = 8
"""Rows up to which each is counted by itself."""
_PHASE_SUM = len(PHASE_SECONDS) + 1


@dataclass(slots=True)
class CountedRequest:
    """What there is to count of one request and its answer, and to log."""

    route: str
    """The path, or the template of it."""
    status: str = ""
    """Three digits; empty: the request was not answered."""
    seconds: float = 0.0
    queue_seconds: float = 0.0
    """That it waited, whole, for a thread, and after that for a free interpreter of the engine."""
    engine_wait_seconds: float = 0.0
    """The latter of the two."""
    read_seconds: float = 0.0
    """From a thread taking it up until the inputs were ready for the model."""
    infer_seconds: float = 0.0
    """That the model took."""
    write_seconds: float = 0.0
    """From the model's outputs to the whole answer; not that the client took to receive it."""
    size: int | None = None
    """Bytes of the body, if the client said how many."""
    rows: int = 0
    """That were predicted."""
    batches: Sequence[int] = ()
    """Rows of each call of the engine, if they were those of this request alone."""
    confidence: Sequence[float] = ()
    """Per row, the probability of the class that was answered."""
    caller: str = ""
    """The name of the token with which it was asked."""
    trace_id: str = ""
    traced: bool = False
    """Somebody keeps the trace: it may be an example of its bucket."""


class CounterTable:
    """A row of numbers for each of `rows` workers. Made in gunicorn's master, before workers are forked."""

    def __init__(self, rows: int = 1) -> None:
        self._memory = mmap.mmap(-1, 8 * WIDTH * rows)
        memory = memoryview(self._memory).cast("d")
        self._rows = [memory[WIDTH * i : WIDTH * (i + 1)] for i in range(rows)]
        self._used = memoryview(mmap.mmap(-1, max(1, rows)))
        self.callers, self.exemplars = CallerNames(), Exemplars(rows)

    def counters(self, row: int) -> WorkerCounters:
        """For the worker that has this row now. A worker beyond the last row gets one that is not summed up."""
        if row >= len(self._rows):
            return CounterTable().counters(0)
        self._used[row] = 1
        return WorkerCounters(self, row, self._rows[row])

    def worker_ended(self, row: int) -> None:
        """What was so of the worker, e.g. that it was answering requests, has ended with it; called in the master."""
        if row < len(self._rows):
            self._rows[row][: layout.NOW] = memoryview(bytes(8 * layout.NOW)).cast("d")

    def totals(self) -> Totals:
        """The sums over all workers."""
        import numpy as np  # not in the master, which only makes the table

        rows = np.frombuffer(self._memory).reshape(-1, WIDTH)
        return Totals(rows[[i for i, used in enumerate(self._used) if used]].sum(axis=0).tolist(), self)


class WorkerCounters:
    """Counts for one worker, for all of its threads."""

    def __init__(self, table: CounterTable, index: int, row: memoryview[float]) -> None:
        self.table = table
        self._index, self._row = index, row
        self._open: set[int] = set()
        self._facts: ProcessFacts | None = None
        self._lock = threading.Lock()
        """Taken once per request only: while the thread that holds it waits for the GIL, all others wait, too."""

    def start(self, request: CountedRequest) -> None:
        """Count it as in flight."""
        self._open.add(id(request))  # atomic under the GIL
        self._row[layout.IN_FLIGHT] = len(self._open)

    def queue(self, name: str, waiting: int) -> None:
        """Show how many wait, by one of QUEUES."""
        self._row[layout.QUEUE_CELLS[name]] = waiting

    def log_line_dropped(self) -> None:
        """Count a line that could not be written."""
        self._add(layout.LOG_LINES_DROPPED)

    def predictions_dropped(self, lines: int = 1) -> None:
        """Count lines of the prediction log that were lost."""
        self._add(layout.PREDICTIONS_DROPPED, lines)

    def refused(self, status: int, reason: str) -> None:
        """Count a request that the app has not answered, by one of REFUSALS."""
        self._add(layout.REFUSED + layout.REFUSAL_INDEX[str(status), reason])

    def closed(self, reason: str) -> None:
        """Count a connection that was closed without an answer, by one of CLOSED."""
        self._add(layout.CLOSED_CONNECTIONS + layout.CLOSED_INDEX[reason])

    def feedback(self, outcome: str, count: int = 1) -> None:
        """Count reports of what was right, by one of FEEDBACK."""
        self._add(layout.FEEDBACK_REPORTS + layout.FEEDBACK_INDEX[outcome], count)

    def batch(self, rows: int) -> None:
        """Count one call of the engine with so many rows, which may be those of several requests."""
        with self._lock:
            self._observe(layout.BATCHES, BATCH_ROWS, rows)

    def publish_process(self) -> None:
        """Show what this process uses; to be called now and then, always by the same thread."""
        if self._facts is None:  # in the worker: it was made in the master
            self._facts = ProcessFacts()
        found = self._facts.look()
        self._row[layout.MEMORY], self._row[layout.FILES] = found.memory, found.files
        self._row[layout.FILES_LIMIT] = found.files_limit
        self._add(layout.CPU, found.cpu_seconds)

    def finish(self, request: CountedRequest) -> None:
        """Count it as answered."""
        row = self._row
        route = request.route if request.route in layout.REQUEST_CELLS else OTHER
        caller = self.table.callers.index(request.caller) if request.caller else 0
        status = layout.STATUS_INDEX.get(request.status, _OTHER_STATUS)
        request_cell = layout.REQUEST_CELLS[route] + status * CALLERS + caller
        predicted = bool(request.rows) and request.status == "200"
        with self._lock:
            self._open.discard(id(request))
            row[layout.IN_FLIGHT] = len(self._open)
            row[request_cell] += 1
            bucket = self._observe(layout.SECONDS_CELLS[route], SECONDS, request.seconds)
            if predicted:
                self._predicted(request, layout.PHASE_CELLS[PROTOCOL_OF[route]])
        if request.traced:
            self.table.exemplars.put(self._index, route, bucket, request.trace_id, request.seconds)

    def _predicted(self, request: CountedRequest, phases: tuple[int, ...]) -> None:
        """With the lock. Written out, as calls would take longer than what they do."""
        row = self._row
        took = request.queue_seconds, request.read_seconds, request.infer_seconds, request.write_seconds
        for first, value in zip(phases, took, strict=True):
            row[first + bisect_left(PHASE_SECONDS, value)] += 1
            row[first + _PHASE_SUM] += value
        row[layout.REQUEST_INSTANCES + bisect_left(INSTANCES, request.rows)] += 1
        row[layout.REQUEST_INSTANCES + len(INSTANCES) + 1] += request.rows
        if request.size is not None:
            row[layout.BODY_BYTES + bisect_left(BYTES, request.size)] += 1
            row[layout.BODY_BYTES + len(BYTES) + 1] += request.size
        for rows in request.batches:
            row[layout.BATCHES + bisect_left(BATCH_ROWS, rows)] += 1
            row[layout.BATCHES + len(BATCH_ROWS) + 1] += rows
        if len(request.confidence) > FEW:
            self._confident(request.confidence)
            return
        for each in request.confidence:
            value = min(each, 1.0)  # a probability may be a rounding more than 1
            row[layout.CLASS_CONFIDENCE + bisect_left(CONFIDENCE, value)] += 1
            row[layout.CLASS_CONFIDENCE + len(CONFIDENCE) + 1] += value

    def _confident(self, confidence: Sequence[float]) -> None:
        """The same of many rows, with the lock: their order is quicker to find than the bucket of each."""
        row, first, found = self._row, layout.CLASS_CONFIDENCE, sorted(confidence)
        counted = 0
        for bucket, bound in enumerate(CONFIDENCE[:-1]):
            up_to = bisect_right(found, bound)
            row[first + bucket] += up_to - counted
            counted = up_to
        row[first + len(CONFIDENCE) - 1] += len(found) - counted
        row[first + len(CONFIDENCE) + 1] += sum(found) if found[-1] <= 1 else sum(min(each, 1.0) for each in found)

    def _add(self, cell: int, value: float = 1) -> None:
        with self._lock:
            self._row[cell] += value

    def _observe(self, first_cell: int, bounds: Sequence[float], value: float) -> int:
        """Add to a histogram, with the lock; the bucket."""
        row, bucket = self._row, bisect_left(bounds, value)
        row[first_cell + bucket] += 1
        row[first_cell + len(bounds) + 1] += value
        return bucket


class Totals:
    """The numbers of all workers at one moment."""

    def __init__(self, numbers: list[float], table: CounterTable) -> None:
        self._numbers, self._table = numbers, table
        self.in_flight = numbers[layout.IN_FLIGHT]
        self.queued = dict(zip(QUEUES, numbers[layout.QUEUED :], strict=False))
        self.memory, self.cpu_seconds = numbers[layout.MEMORY], numbers[layout.CPU]
        self.files, self.files_limit = numbers[layout.FILES], numbers[layout.FILES_LIMIT]
        self.log_lines_dropped = numbers[layout.LOG_LINES_DROPPED]
        self.predictions_dropped = numbers[layout.PREDICTIONS_DROPPED]
        self.bytes = self._histogram(layout.BODY_BYTES, BYTES)
        self.instances = self._histogram(layout.REQUEST_INSTANCES, INSTANCES)
        self.batch_rows = self._histogram(layout.BATCHES, BATCH_ROWS)
        self.confidence = self._histogram(layout.CLASS_CONFIDENCE, CONFIDENCE)

    def refused(self) -> dict[tuple[str, str], float]:
        """How many requests the app has not answered, by status and reason."""
        return dict(zip(REFUSALS, self._numbers[layout.REFUSED :], strict=False))

    def closed(self) -> dict[str, float]:
        """How many connections were closed without an answer, by reason."""
        return dict(zip(CLOSED, self._numbers[layout.CLOSED_CONNECTIONS :], strict=False))

    def feedback(self) -> dict[str, float]:
        """How many reports of what was right there were, by outcome."""
        return dict(zip(FEEDBACK, self._numbers[layout.FEEDBACK_REPORTS :], strict=False))

    def requests(self) -> dict[tuple[str, str, str], float]:
        """How many requests there were, by route, status and caller; those that there were none of are left out."""
        callers, found = self._table.callers.labels(), {}
        for route, first in layout.REQUEST_CELLS.items():
            for i, status in enumerate(STATUSES):
                start = first + i * CALLERS
                for caller, count in zip(callers, self._numbers[start : start + CALLERS], strict=True):
                    if count:
                        found[route, status, caller] = count
        return found

    def seconds(self) -> dict[str, Histogram]:
        """How long they took, by route."""
        return {route: self._histogram(layout.SECONDS_CELLS[route], SECONDS) for route in ROUTES}

    def phases(self) -> dict[tuple[str, str], Histogram]:
        """How long the phases of predictions took, by protocol and phase."""
        return {
            (protocol, phase): self._histogram(first, PHASE_SECONDS)
            for protocol in PROTOCOLS
            for phase, first in zip(PHASES, layout.PHASE_CELLS[protocol], strict=True)
        }

    def _histogram(self, first: int, bounds: Sequence[float]) -> Histogram:
        last = first + len(bounds) + 1
        return self._numbers[first:last], self._numbers[last]
