"""Several threads for work that NumPy and pyarrow do without the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

Item = TypeVar("Item")
Made = TypeVar("Made")
AHEAD = 2
"""Results that wait, for each thread."""


def in_threads(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What `function` makes of each item, in their order; raises what it raises."""
    threads, waiting = pa.cpu_count(), deque[Future[Made]]()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
