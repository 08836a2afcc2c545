"""How the C library keeps what a worker has freed."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""
MAPPED = 1 << 20
"""Bytes from which on a block is a mapping of its own, which is given back when it is freed."""
KEPT = 4 << 20
"""Bytes that may stay free at the end of a heap."""
HEAPS = 2
"""Python's threads take turns, so more heaps save no waiting, and each keeps what lies between blocks in use."""


def give_back_what_is_freed() -> None:
    """Keep the memory of large requests for none after them; to be called before a process has threads.

    glibc raises both bounds to the size of the largest block that was ever freed, up to 32 and 64 MB, to save calls to the
    kernel: after bodies of 16 MB, each thread's heap then keeps that much, and one small block that came after a
    large one keeps all before it. Setting them ends that. No-op with another C library.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, MAPPED)
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_ARENA_MAX, HEAPS)
