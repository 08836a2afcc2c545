"""Connections shared out evenly among the workers, in numbers that all of them see.

Whichever worker wakes first gets a new connection, and with sixteen at once that can be the same one sixteen times:
then one process has all the work, on one core, as long as the clients keep their connections. So a worker leaves a
connection to those that hold fewer, for a moment, and one that has far more than another asks clients to come again.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable

SLOTS = 64
AWAY = -1
PATIENCE = 0.05
"""Seconds until a connection that nobody with fewer has taken is taken after all."""
GAP = 0.02
"""Seconds without a waiting connection after which patience begins anew."""
DEAF = 1.0
"""Seconds for which workers that let one wait are not counted on."""
PAUSE = 0.02
"""Seconds after which another client may be asked to come again: by then the one before it has."""


class Shares:
    """How many connections each worker holds. Made in the master, before workers are forked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts = memoryview(mmap.mmap(-1, 8 * SLOTS)).cast("q")
        self._taken: set[int] = set()
        for slot in range(SLOTS):
            self._counts[slot] = AWAY

    def take(self) -> Share:
        """The share of a worker that is about to be forked; called in the master."""
        slot = next((slot for slot in range(SLOTS) if slot not in self._taken), SLOTS)
        self._taken.add(slot)
        return Share(self._counts, slot, self._clock)

    def give_back(self, share: Share) -> None:
        """The worker has ended, however it did; called in the master."""
        share.tell(AWAY)
        self._taken.discard(share.slot)


class Share:
    """One worker's number, and what it means beside those of the others. `slot` SLOTS: one worker too many; it counts alone."""

    def __init__(self, counts: memoryview[int], slot: int, clock: Callable[[], float]) -> None:
        self.slot, self._clock = slot, clock
        self._counts = counts
        self._waits = (0.0, 0.0, 0)  # since when we leave a connection to others, when we last looked, their least
        self._deaf_until = 0.0
        self._ask_at = 0.0

    def tell(self, count: int) -> None:
        """Say that it holds `count` connections now; AWAY: it takes none."""
        if self.slot < SLOTS:
            self._counts[self.slot] = count

    def leaves(self, mine: int) -> bool:
        """Whether a waiting connection is left to a worker with fewer; for `PATIENCE`, and while such workers react."""
        now, least = self._clock(), self._least()
        if least is None or mine <= least or now < self._deaf_until:
            return False
        since, looked, before = self._waits
        if now - looked > GAP or least != before:
            since = now
        self._waits = since, now, least
        if now - since > PATIENCE:
            self._deaf_until = now + DEAF
            return False
        return True

    def asks_to_come_again(self, mine: int) -> bool:
        """Whether the client that is being answered shall connect anew: we hold far more than another worker."""
        now = self._clock()
        if now < max(self._deaf_until, self._ask_at):
            return False
        self._ask_at, least = now + PAUSE, self._least()
        return least is not None and mine - least > max(2, mine // 4)

    def _least(self) -> int | None:
        """The fewest connections that another worker holds."""
        found = [count for slot, count in enumerate(self._counts.tolist()) if count != AWAY and slot != self.slot]
        return min(found, default=None)
