"""The lines of a text file as an editor numbers them, from 1, and where its records begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pyarrow import compute

BREAK = r"\r\n|\n|\r"
BLOCK, PIECE = 1 << 24, 1 << 19  # bytes that are looked at together


def breaks(text: Any) -> int:
    """How many lines end in a text (bytes, or a buffer): by a line feed, by a carriage return, or by both together."""
    found, before = 0, b""
    for _, piece in _pieces(text):
        found += piece.count(b"\n") - (before == b"\r" and piece.startswith(b"\n"))
        if b"\r" in piece:
            found += piece.count(b"\r") - piece.count(b"\r\n")
        before = piece[-1:]
    return found


def count(text: Any, byte: bytes) -> int:
    """How often a byte is in a buffer."""
    return sum(piece.count(byte) for _, piece in _pieces(text))


def find(text: Any, byte: bytes) -> int:
    """Where a byte is first in a buffer; -1: nowhere."""
    return next((start + piece.index(byte) for start, piece in _pieces(text) if byte in piece), -1)


def _pieces(text: Any) -> Iterator[tuple[int, bytes]]:
    view = memoryview(text)
    return ((start, bytes(view[start : start + PIECE])) for start in range(0, len(view), PIECE))


def line_at(text: Any, offset: int) -> int:
    """The line in which the byte at `offset` of a buffer is."""
    return 1 + breaks(memoryview(text)[:offset])


def of_records(text: Any, begin: int, rows: Any, odd: Sequence[Any] = ()) -> Any:
    """The line on which each record begins that pyarrow has read from `begin` on, as a NumPy array of int64; it passes
    over empty lines.

    `rows`: pyarrow.Table of strings; `odd`: pyarrow's InvalidRows, which lack in it, and have a place in the result.
    """
    first, records, body = line_at(text, begin), rows.num_rows + len(odd), memoryview(text)[begin:]
    if len(body) and breaks(body) + (bytes(body[-1:]) not in {b"\n", b"\r"}) == records:  # no other lines
        return first + np.arange(records)
    lines = _filled_lines(bytes(body))
    if len(lines) == records:  # no record has several lines
        return first + lines
    inside, numbers = _breaks_inside(rows), {each.number: breaks(each.text.encode()) for each in odd}
    filled, found, line = iter(lines.tolist()), [], -1
    for number in range(1, records + 1):
        more = numbers[number] if number in numbers else next(inside)
        begins = next(each for each in filled if each > line)
        found.append(first + begins)
        line = begins + more
    return np.array(found, np.int64)


def _filled_lines(whole: bytes) -> Any:
    """The numbers, from 0, of the lines that are not empty, as a NumPy array of int64."""
    data = np.frombuffer(whole, np.uint8)
    ends = []
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        found = np.flatnonzero((block == 10) | (block == 13)) + start
        ends.append(found[(data[found] == 10) | (data[np.minimum(found + 1, len(data) - 1)] != 10)])
    if len(data) and data[-1] not in {10, 13}:
        ends.append(np.array([len(data)]))
    last = np.concatenate([np.zeros(0, np.int64), *ends])
    starts = np.concatenate([np.zeros(1, np.int64), last[:-1] + 1])[: len(last)]
    characters = last - starts
    characters -= (characters == 1) & (data[starts[: len(characters)]] == 13)  # \r\n alone
    return np.flatnonzero(characters)


def _breaks_inside(rows: Any) -> Iterator[int]:
    """How many lines end inside each record: only what is between quotation marks can hold such."""
    counts = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        if any(compute.any(compute.match_substring(column, each)).as_py() for each in "\n\r"):
            counts += np.array(compute.count_substring_regex(column, BREAK).to_pylist(), np.int64)
    return iter(counts.tolist())
