"""`{"instances": [...]}` that holds nothing but numbers in even lists, read without making an object of each number.

Whatever is unusual in a body is left to the reader that finds the error: nothing is refused here.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
import simdjson

from serving.engines.base import Array

STARTS = (b'{"instances": [', b'{"instances":[')
NUMBERS_AND_BLANKS = b"0123456789+-.eE \t\r\n"
HEAD, TAIL = b'{"instancs":[', b"]}"
"""Around the rows, when the characters of numbers, which `e` is one of, are taken out."""
KEPT_PARSER = 1 << 16
"""Bytes of a body for which each thread keeps a parser; a parser takes many times the memory of its largest body."""


class _Parsers(threading.local):
    """A parser serves one thread at a time."""

    def __init__(self) -> None:
        self.small = simdjson.Parser()


_parsers = _Parsers()


def numbers(body: bytes, shapes: tuple[tuple[int | None, ...], ...]) -> Array | None:
    """The numbers as float64, rows x the first of `shapes` that fits; None when this cannot be said for sure.

    The brackets and commas of the body are exactly those of an array of that shape, and it is valid JSON.
    """
    if not body.startswith(STARTS):
        return None
    marks = body.translate(None, NUMBERS_AND_BLANKS)
    size = len(marks) - len(HEAD) - len(TAIL) + 1
    for shape in shapes:
        one = _marks(shape)
        rows, rest = divmod(size, len(one) + 1)
        if one and rows > 0 and not rest and marks == HEAD + b",".join([one] * rows) + TAIL:
            return _parsed(body, (rows, *shape))
    return None


def _parsed(body: bytes, shape: tuple[Any, ...]) -> Array | None:
    parser = _parsers.small if len(body) <= KEPT_PARSER else simdjson.Parser()
    try:
        document: Any = parser.parse(body)
        found = np.frombuffer(document["instances"].as_buffer(of_type="d"), np.float64)
    except (ValueError, TypeError, RuntimeError):  # what it raises for JSON that it does not take
        return None
    return found.reshape(shape) if found.size == math.prod(shape) else None


@lru_cache(maxsize=64)
def _marks(shape: tuple[int | None, ...]) -> bytes:
    """What is left of one row when its numbers are taken out; empty for a shape that is not fixed, or has no numbers."""
    marks = b""
    if not all(shape):
        return marks
    for size in filter(None, reversed(shape)):
        marks = b"[" + b",".join([marks] * size) + b"]"
    return marks
