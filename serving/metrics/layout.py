"""Which numbers there are, and where each is in a worker's row of the counter table. All label values are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from serving.metrics.routes import PROTOCOLS, ROUTES

STATUSES = (
    "200", "204", "207", "400", "401", "403", "404", "405", "406", "409", "410", "413", "415", "421", "422", "429", "500", "501", "503",
    "504", "other",
)  # fmt: skip
REFUSALS = (
    ("400", "malformed"), ("400", "ended_early"), ("408", "slow_head"), ("408", "slow_body"), ("413", "chunks"), ("414", "request_line"),
    ("417", "expectation"), ("429", "connections_of_address"), ("431", "head_too_large"), ("500", "error"),
    ("501", "transfer_coding"), ("503", "connections"), ("503", "memory"),
)  # fmt: skip
"""Statuses and reasons of answers to requests that the app has not answered: serving.server.refusals."""
FEEDBACK = ("added", "same", "invalid", "unknown", "forgotten", "failed")
"""What became of a label that somebody has reported."""
CLOSED = ("connections", "connections_of_address", "memory", "silent", "slow_handshake", "no_tls", "slow_to_receive")
"""Why a connection was closed without an answer."""
NAMED_CALLERS = 20
"""Tokens whose names are labels; the other ones are counted together."""
CALLERS: Final = NAMED_CALLERS + 2
"""The first one is of requests without a token, the last one of all tokens without a name."""
PHASES = ("queue", "read", "infer", "write")
QUEUES = ("thread", "engine")
"""What a request waits for: one of the threads, and then a free interpreter of the engine."""
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
PHASE_SECONDS = (0.00005, 0.0001, 0.0002, *SECONDS)
BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
INSTANCES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
"""Of the class that was answered."""


def cells(bounds: Sequence[float]) -> int:
    """A histogram is a count per bucket, one beyond the last, and the sum of the values."""
    return len(bounds) + 2


class _Row:
    """Gives out the cells of a row, from its start on."""

    def __init__(self) -> None:
        self.width = 0

    def take(self, count: int) -> int:
        self.width += count
        return self.width - count


_row = _Row()
# What is so now, and ends with the worker:
IN_FLIGHT = _row.take(1)
QUEUED = _row.take(len(QUEUES))
MEMORY, FILES, FILES_LIMIT = _row.take(1), _row.take(1), _row.take(1)
NOW = _row.width
"""The cells before this one are of the worker that has the row now."""
# What is only added to:
CPU = _row.take(1)
REQUESTS = _row.take(len(ROUTES) * len(STATUSES) * CALLERS)
ROUTE_SECONDS = _row.take(len(ROUTES) * cells(SECONDS))
PROTOCOL_PHASES = _row.take(len(PROTOCOLS) * len(PHASES) * cells(PHASE_SECONDS))
BODY_BYTES = _row.take(cells(BYTES))
REQUEST_INSTANCES = _row.take(cells(INSTANCES))
BATCHES = _row.take(cells(BATCH_ROWS))
CLASS_CONFIDENCE = _row.take(cells(CONFIDENCE))
LOG_LINES_DROPPED = _row.take(1)
PREDICTIONS_DROPPED = _row.take(1)
REFUSED = _row.take(len(REFUSALS))
CLOSED_CONNECTIONS = _row.take(len(CLOSED))
FEEDBACK_REPORTS = _row.take(len(FEEDBACK))
WIDTH: Final = _row.width

STATUS_INDEX = {name: i for i, name in enumerate(STATUSES)}
REFUSAL_INDEX = {pair: i for i, pair in enumerate(REFUSALS)}
FEEDBACK_INDEX = {name: i for i, name in enumerate(FEEDBACK)}
CLOSED_INDEX = {name: i for i, name in enumerate(CLOSED)}
QUEUE_CELLS = {name: QUEUED + i for i, name in enumerate(QUEUES)}
REQUEST_CELLS = {name: REQUESTS + i * len(STATUSES) * CALLERS for i, name in enumerate(ROUTES)}
SECONDS_CELLS = {name: ROUTE_SECONDS + i * cells(SECONDS) for i, name in enumerate(ROUTES)}
PHASE_CELLS = {
    name: tuple(PROTOCOL_PHASES + (i * len(PHASES) + phase) * cells(PHASE_SECONDS) for phase in range(len(PHASES)))
    for i, name in enumerate(PROTOCOLS)
}
