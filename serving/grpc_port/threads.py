"""The threads that answer requests over gRPC: as many as there are for HTTP, which depends on the live model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Threads:
    """`size` says how many there shall be now. Used by one event loop alone."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._wanted, self._size = size, size()
        self._pool = ThreadPoolExecutor(self._size, "grpc")

    def pool(self) -> ThreadPoolExecutor:
        """For the next request; those before it are answered, whatever their number was."""
        if (wanted := self._wanted()) != self._size:
            before, self._pool, self._size = self._pool, ThreadPoolExecutor(wanted, "grpc"), wanted
            before.shutdown(wait=False)
        return self._pool

    def close(self) -> None:
        """Those that answer do so to the end."""
        self._pool.shutdown(wait=False)
