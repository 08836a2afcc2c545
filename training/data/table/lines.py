"""The lines of a text file as an editor numbers them, from 1, and where its records begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pyarrow import compute

BREAK = r"\r\n|\n|\r"
BLOCK = 1 << 24  # bytes that are looked at together


def breaks(text: bytes) -> int:
    """How many lines end in a text: by a line feed, by a carriage return, or by both together."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def line_at(text: Any, offset: int) -> int:
    """The line in which the byte at `offset` of a buffer is."""
    return 1 + breaks(bytes(memoryview(text)[:offset]))


def of_records(text: Any, begin: int, rows: Any, odd: Sequence[Any] = ()) -> Any:
    """The line on which each record begins that pyarrow has read from `begin` on, as a NumPy array of int64; it passes
    over empty lines.

    `rows`: pyarrow.Table of strings; `odd`: pyarrow's InvalidRows, which lack in it, and have a place in the result.
    """
    first, lines = line_at(text, begin), _filled_lines(text, begin)
    count = rows.num_rows + len(odd)
    if len(lines) == count:  # no record has several lines
        return first + lines
    inside, numbers = _breaks_inside(rows), {each.number: breaks(each.text.encode()) for each in odd}
    filled, found, line = iter(lines.tolist()), [], -1
    for number in range(1, count + 1):
        more = numbers[number] if number in numbers else next(inside)
        begins = next(each for each in filled if each > line)
        found.append(first + begins)
        line = begins + more
    return np.array(found, np.int64)


def _filled_lines(text: Any, begin: int) -> Any:
    """The numbers, from 0, of the lines that are not empty, as a NumPy array of int64."""
    whole = bytes(memoryview(text)[begin:])
    if not whole.startswith((b"\n", b"\r")) and not any(each in whole for each in (b"\n\n", b"\n\r", b"\r\r")):
        return np.arange(breaks(whole) + (bool(whole) and not whole.endswith((b"\n", b"\r"))))  # none is empty
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
