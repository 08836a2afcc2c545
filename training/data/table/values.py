"""Columns that are filled with Python's values, block by block: what JSON Lines and workbooks hold, which know types.

Python values are not handed to pyarrow (`pa.array(list)`): it would import pandas.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import compute

from training.data.table import typed
from training.data.table.dialect import MARKS
from training.data.table.suspect import Unreadable
from training.data.table_toml import Table

Kind = Literal["numbers", "text", "truth values", "dates", "other"]
KINDS: dict[type, Kind] = {
    bool: "truth values", int: "numbers", float: "numbers", str: "text", date: "dates", datetime: "dates",
}  # fmt: skip
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (a workbook's dates have no zone)
MIDNIGHT = time()
DAY_MICROSECONDS = 86_400_000_000
Where = Callable[[int, str], str]
"""The place of a row's value: `line 7`, `sheet 'Birds' cell C7`."""


class Gathered:
    """Columns by name. A column that a block lacks is missing in its rows."""

    def __init__(self) -> None:
        self.rows = 0
        self._chunks: dict[str, dict[Kind, list[tuple[int, Any]]]] = {}
        self._first: dict[str, dict[Kind, int]] = {}

    @property
    def names(self) -> list[str]:
        """In the order in which they have come."""
        return list(self._chunks)

    def add(self, columns: Mapping[str, Sequence[Any]], rows: int) -> None:
        """The next rows. Values are those of `KINDS`, or None where one is missing; others are refused by `table`, unless their
        column is ignored: there they are text."""
        for name, values in columns.items():
            chunks, first = self._chunks.setdefault(name, {}), self._first.setdefault(name, {})
            kinds = {KINDS.get(each, "other") for each in set(map(type, values)) - {type(None)}}
            for kind in kinds:
                mine = values if len(kinds) == 1 else [each if _kind(each) == kind else None for each in values]
                if kind not in first:
                    first[kind] = self.rows + next(i for i, each in enumerate(mine) if each is not None)
                chunks.setdefault(kind, []).append((self.rows, _array(kind, mine)))
        self.rows += rows

    def table(self, table: Table, where: Where) -> Any:
        """All of it as a pyarrow.Table. Raises Unreadable for a column with values of several kinds."""
        return pa.table({name: self._column(name, table, where) for name in self._chunks})

    def _column(self, name: str, table: Table, where: Where) -> Any:
        first, joined = self._first[name], {kind: self._joined(each) for kind, each in self._chunks[name].items()}
        if name in table.ignore and (len(joined) > 1 or "other" in joined):
            return compute.coalesce(*(each.cast(pa.string()) for each in joined.values()))
        if "other" in first:
            raise Unreadable(
                f"holds a list or an object as {name!r} in {where(first['other'], name)}",
                "store its parts as columns of their own, or list it under [table] ignore",
            )
        if len(joined) > 1 and "text" in joined:  # texts that mean missing are of every kind
            there = typed.without(joined["text"], MARKS if table.na is None else table.na)
            if there.null_count == len(there):
                del joined["text"]
            else:
                first = {**first, "text": int(np.flatnonzero(typed.as_numpy(compute.is_valid(there)))[0])}
        if len(joined) > 1:
            (row, one), (other_row, other) = sorted((first[kind], kind) for kind in joined)[:2]
            missing = '; texts that mean missing are named by [table] na = ["…"]' if "text" in joined else ""
            raise Unreadable(
                f"holds {one} as {name!r} in {where(row, name)}, and {other} in {where(other_row, name)}",
                f"store one kind of value in a column{missing}",
            )
        return next(iter(joined.values()), pa.chunked_array([pa.nulls(self.rows)]))

    def _joined(self, chunks: Sequence[tuple[int, Any]]) -> Any:
        """The chunks, each of which begins at its row, with null between them."""
        types = {each.type for _, each in chunks}
        wanted = next((each for each in types if each in {pa.float64(), pa.timestamp("us")}), chunks[0][1].type)
        parts, at = [], 0
        for begin, chunk in chunks:
            if begin > at:
                parts.append(pa.nulls(begin - at, wanted))
            parts.append(chunk.cast(wanted, safe=False))
            at = begin + len(chunk)
        if at < self.rows:
            parts.append(pa.nulls(self.rows - at, wanted))
        return pa.chunked_array(parts, wanted)


def _kind(value: Any) -> Kind | None:
    return None if value is None else KINDS.get(type(value), "other")


def _array(kind: Kind, mine: Sequence[Any]) -> Any:
    """Values of one kind, or None, as a pyarrow.Array."""
    there = np.fromiter((each is not None for each in mine), bool, len(mine))
    valid = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    if kind in {"text", "other"}:
        raw = [b"" if each is None else _bytes(each) for each in mine]
        offsets = pa.py_buffer(array("i", [0, *accumulate(map(len, raw))]))
        return pa.Array.from_buffers(pa.string(), len(mine), [valid, offsets, pa.py_buffer(b"".join(raw))])
    if kind == "truth values":
        bits = np.packbits(np.fromiter((bool(each) for each in mine), bool, len(mine)), bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(mine), [valid, pa.py_buffer(bits)])
    if kind == "dates":
        return _dates(mine, valid)
    try:
        whole = all(type(each) is not float for each in mine)
        numbers = np.array([each or 0 for each in mine], np.int64 if whole else np.float64)
    except OverflowError:  # more than 64 bits
        numbers = np.array([each or 0 for each in mine], np.float64)
    arrow = pa.int64() if numbers.dtype == np.int64 else pa.float64()
    return pa.Array.from_buffers(arrow, len(mine), [valid, pa.py_buffer(numbers)])


def _bytes(value: Any) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else orjson.dumps(value, default=str)


def _dates(values: Sequence[Any], valid: Any) -> Any:
    """Days where no value has a time of day, else moments without a zone."""
    step = timedelta(microseconds=1)
    moments = [datetime.combine(each, MIDNIGHT) if type(each) is date else each for each in values]
    counts = np.array([0 if each is None else (each - EPOCH) // step for each in moments], np.int64)
    if (counts % DAY_MICROSECONDS == 0).all():
        days = (counts // DAY_MICROSECONDS).astype(np.int32)
        return pa.Array.from_buffers(pa.date32(), len(values), [valid, pa.py_buffer(days)])
    return pa.Array.from_buffers(pa.timestamp("us"), len(values), [valid, pa.py_buffer(counts)])
