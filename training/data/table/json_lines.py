"""JSON Lines as a table: an object in each line, its keys are the columns. `null`, and a key that a line lacks, mean missing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from training.data.table import packed
from training.data.table.content import known_kind
from training.data.table.dialect import quoted
from training.data.table.suspect import Unreadable
from training.data.table.values import Gathered
from training.data.table_toml import Table

ENDINGS = (".jsonl", ".ndjson")
BLOCK, BLOCK_BYTES = 8192, 64 << 20
"""Lines that become columns together, at most so many, until they have so many bytes."""
LONGEST = 16 << 20
"""Bytes of a line."""
MOST_COLUMNS = 20_000
KINDS = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number", type(None): "null"}


def read(path: Path, table: Table) -> tuple[Any, Any]:
    """The rows as a pyarrow.Table, and a NumPy array with the line of each. Raises Unreadable."""
    data = bytes(memoryview(packed.read(path)))
    if (kind := known_kind(data[:4096])) and kind[0] != "JSON":
        raise Unreadable(f"is {kind[0]}, not JSON Lines", kind[1])
    gathered, numbers = Gathered(), list[int]()
    for block in _blocks(data.removeprefix(b"\xef\xbb\xbf")):
        rows = [_row(number, line) for number, line in block]
        numbers += [number for number, _ in block]
        columns = {name: [row.get(name) for row in rows] for name in _names(rows, numbers[-1])}
        _check_repetitions(block, rows, columns)
        gathered.add(columns, len(rows))
        if len(gathered.names) > MOST_COLUMNS:
            raise Unreadable(
                f"has more than {MOST_COLUMNS:,} different keys by line {numbers[-1]}",
                "give every line the same keys: they are the columns",
            )
    return gathered.table(table, lambda row, _: f"line {numbers[row]}"), np.array(numbers, np.int64)


def text(rows: Any) -> bytes:
    """A pyarrow.Table as JSON Lines."""
    names = [orjson.dumps(name) for name in rows.column_names]
    columns = [column.to_pylist() for column in rows.columns]
    lines = (
        b"{"
        + b",".join(b"%b:%b" % (name, orjson.dumps(value)) for name, value in zip(names, row, strict=True))
        + b"}\n"
        for row in zip(*columns, strict=True)
    )
    return b"".join(lines)


def _blocks(data: bytes) -> Iterator[list[tuple[int, bytes]]]:
    """Lines that are not blank, with their numbers as an editor has them."""
    block, size = list[tuple[int, bytes]](), 0
    for number, line in enumerate(io.BytesIO(data), 1):
        if line.strip():
            block.append((number, line))
            size += len(line)
        if len(block) == BLOCK or size > BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _row(number: int, line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST:
        raise Unreadable(f"has more than {LONGEST >> 20} MB in line {number}", "store an object in each line")
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if line.strip() in {b"[", b"{"}:
            raise Unreadable(
                "is one JSON document over many lines, not an object in each", "jq -c '.[]' makes JSON Lines of a list"
            ) from None
        if any(word in line for word in (b"NaN", b"Infinity")):
            raise Unreadable(f"holds NaN or Infinity in line {number}, which JSON has not", "write null") from None
        raise Unreadable(f"is not JSON in line {number}: {error}", "correct the line") from None
    if not isinstance(found, dict):
        raise Unreadable(
            f"holds {KINDS[type(found)]} in line {number}, not an object",
            'write each row as an object with the columns\' names: {"age": 3, "kind": "cat"}',
        )
    return found


def _names(rows: Sequence[dict[str, Any]], line: int) -> dict[str, None]:
    """The keys of some rows, in the order in which they come."""
    names = dict.fromkeys(rows[0])
    for row in rows:
        if row.keys() != names.keys():
            names |= dict.fromkeys(row)
        if len(names) > MOST_COLUMNS:
            raise Unreadable(
                f"has more than {MOST_COLUMNS:,} different keys before line {line}",
                "give every line the same keys: they are the columns",
            )
    return names


def _check_repetitions(
    block: Sequence[tuple[int, bytes]], rows: Sequence[dict[str, Any]], columns: dict[str, list[Any]]
) -> None:
    """Raise Unreadable when a line has a key twice, of which orjson keeps the last one. Two quotation marks are around each key and
    each text, as long as none is inside: when there are no more, no key is there twice."""
    whole = b"".join(line for _, line in block)
    texts = sum(list(map(type, values)).count(str) for values in columns.values())
    if b"\\" not in whole and whole.count(b'"') == 2 * (sum(map(len, rows)) + texts):
        return
    for number, line in block:

        def once(pairs: list[tuple[str, Any]], number: int = number) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for name, value in pairs:
                if name in found:
                    raise Unreadable(f"has {quoted(name)} twice in line {number}", "delete or rename one")
                found[name] = value
            return found

        json.loads(line, object_pairs_hook=once)
