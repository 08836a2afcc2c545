"""Things that one thread at a time may have, given out in the order in which threads have asked.

A queue would give one back to the thread that has just put it there, as it still runs while those that wait wake up.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from serving.engines.meter import QUEUE

T = TypeVar("T")


class FairPool(Generic[T]):
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._waiting: deque[SimpleQueue[T]] = deque()

    def put(self, item: T) -> None:
        """Give it to who has waited for longest, else keep it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(item)
            else:
                self._idle.append(item)

    def get_nowait(self) -> T:
        """One that nobody has; raises queue.Empty."""
        with self._lock:
            if not self._idle:
                raise Empty
            return self._idle.pop()

    def get(self) -> T:
        """One that nobody has; waits for its turn."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            turn: SimpleQueue[T] = SimpleQueue()
            self._waiting.append(turn)
        return turn.get()

    def qsize(self) -> int:
        """How many nobody has."""
        return len(self._idle)


def wait_for(pool: FairPool[T]) -> T:
    """One of the pool that no other thread has; the wait is counted."""
    try:
        return pool.get_nowait()
    except Empty:
        return QUEUE.wait(pool.get)
