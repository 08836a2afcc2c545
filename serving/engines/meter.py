"""For how long a thread has waited for the engine, and with whom: what its caller reads before and after a call.

The engine says it, as only the engine knows: an interpreter serves one thread at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class Meter(threading.local):
    """Of one thread."""

    waited = 0.0
    """Seconds, of all calls so far."""
    shared = False
    """Set when a call was made together with requests of other threads, and counted as one already."""


class EngineQueue:
    """The threads of this process that wait. `show` is called with their number whenever it changes, and `batched` with the
    rows of each call that was made for several of them."""

    def __init__(self) -> None:
        self.show: Callable[[int], None] = lambda _waiting: None
        self.batched: Callable[[int], None] = lambda _rows: None
        self._waiting: set[int] = set()

    def wait(self, get: Callable[[], T]) -> T:
        """What `get` returns, when it does: there was nothing free."""
        start, thread = time.perf_counter(), threading.get_ident()
        self.add(thread)
        try:
            return get()
        finally:
            METER.waited += time.perf_counter() - start
            self.remove((thread,))

    def add(self, thread: int) -> None:
        """It waits from now on."""
        self._waiting.add(thread)  # atomic under the GIL
        self.show(len(self._waiting))

    def remove(self, threads: Iterable[int]) -> None:
        """They do not any more."""
        self._waiting.difference_update(threads)
        self.show(len(self._waiting))


METER = Meter()
QUEUE = EngineQueue()
