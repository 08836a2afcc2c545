"""Connections are balanced among the workers, by numbers in shared memory that all of them see.

Whichever worker wakes first gets a new connection, and of sixteen that come at once it may get all sixteen: then one
process has all the work, on one core, as long as the clients keep their connections. So a worker leaves a waiting
connection to those that hold fewer, for a moment, and one that holds far more than another asks clients to reconnect.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable

SLOTS = 64
NOT_ACCEPTING = -1
ROUGHLY = 16
"""Of so many connections, one more than another worker has does not matter: hundreds come faster than two can take turns."""
PATIENCE = 0.05
"""Seconds after which a connection that no worker with fewer has accepted is accepted after all."""
GAP = 0.02
"""Seconds without a waiting connection after which patience starts again."""
IGNORED = 1.0
"""Seconds for which workers that left a connection waiting are not counted on."""
PAUSE = 0.02
"""Seconds between two clients that are asked to reconnect: by then the first one has."""


class ConnectionBalance:
    """How many connections each worker holds. Made in gunicorn's master, before workers are forked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts = memoryview(mmap.mmap(-1, 8 * SLOTS)).cast("q")
        self._taken: set[int] = set()
        for slot in range(SLOTS):
            self._counts[slot] = NOT_ACCEPTING

    def add_worker(self) -> WorkerConnections:
        """For a worker that is about to be forked; called in the master."""
        slot = next((slot for slot in range(SLOTS) if slot not in self._taken), SLOTS)
        self._taken.add(slot)
        return WorkerConnections(self._counts, slot, self._clock)

    def remove_worker(self, worker: WorkerConnections) -> None:
        """The worker has ended, however it did; called in the master."""
        worker.publish(NOT_ACCEPTING)
        self._taken.discard(worker.slot)


class WorkerConnections:
    """One worker's number of connections, compared with those of the others.

    `slot` is SLOTS for a worker beyond the last slot: the others do not see its number.
    """

    def __init__(self, counts: memoryview[int], slot: int, clock: Callable[[], float]) -> None:
        self.slot, self._clock = slot, clock
        self._counts = counts
        self._waits = (0.0, 0.0, 0)  # waiting since, last checked at, least of the others at that time
        self._ignored_until = 0.0
        self._shed_at = 0.0

    def publish(self, count: int) -> None:
        """Show the other workers that this one holds `count` connections now; NOT_ACCEPTING: it accepts none."""
        if self.slot < SLOTS:
            self._counts[self.slot] = count

    def should_wait(self, mine: int) -> bool:
        """Whether to leave a waiting connection to a worker with fewer; for `PATIENCE`, and while such workers react."""
        now, least = self._clock(), self._least()
        if least is None or mine <= least + mine // ROUGHLY or now < self._ignored_until:
            return False
        since, checked, before = self._waits
        if now - checked > GAP or least != before:
            since = now
        self._waits = since, now, least
        if now - since > PATIENCE:
            self._ignored_until = now + IGNORED
            return False
        return True

    def should_shed(self, mine: int) -> bool:
        """Whether to ask the client that is being answered to reconnect: this worker holds far more than another."""
        now = self._clock()
        if now < max(self._ignored_until, self._shed_at):
            return False
        self._shed_at, least = now + PAUSE, self._least()
        return least is not None and mine - least > max(2, mine // 4)

    def _least(self) -> int | None:
        """The fewest connections that another worker holds."""
        found = [
            count for slot, count in enumerate(self._counts.tolist()) if count != NOT_ACCEPTING and slot != self.slot
        ]
        return min(found, default=None)
