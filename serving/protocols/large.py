"""Of all requests that take much memory while they are read, one is read at a time."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

LARGE = 1 << 20
"""Bytes of JSON. Parsed, they can take 30 times the memory, so of larger bodies one is read at a time; the parser holds
the GIL, so nobody waits longer for that."""
LARGE_PIXELS = 1 << 20
"""Requests with more pixels, too, are read one at a time."""

_one_large = threading.RLock()


def one_at_a_time(large: bool) -> AbstractContextManager[Any]:  # noqa: FBT001  (reads like `if`)
    """Of all requests that are `large`, one is read at a time."""
    return _one_large if large else nullcontext()
