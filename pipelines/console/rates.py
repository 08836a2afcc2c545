"""How often something may fail before the next try has to wait: in memory, bounded, for all threads."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MOST_KEYS = 20_000


class Failures:
    """Counts failures per key within a window of time."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._lock = threading.Lock()
        self._of: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until the next try of this key; 0: now."""
        with self._lock:
            times = self._of.get(key)
            if times is None:
                return 0.0
            self._forget(times)
            return max(0.0, times[0] + self._seconds - self._clock()) if len(times) >= self._most else 0.0

    def add(self, key: str) -> None:
        """It has failed once more."""
        with self._lock:
            times = self._of.setdefault(key, deque(maxlen=self._most))
            self._of.move_to_end(key)
            self._forget(times)
            times.append(self._clock())
            while len(self._of) > MOST_KEYS:
                self._of.popitem(last=False)

    def clear(self, key: str) -> None:
        """It has succeeded."""
        with self._lock:
            self._of.pop(key, None)

    def take_back(self, key: str) -> None:
        """The last one was not a failure."""
        with self._lock:
            if times := self._of.get(key):
                times.pop()

    def _forget(self, times: deque[float]) -> None:
        while times and times[0] <= self._clock() - self._seconds:
            times.popleft()
