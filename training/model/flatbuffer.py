"""Reads a FlatBuffer as its C++ readers do, but with every offset and length checked first.

LiteRT maps a model file and follows its offsets unchecked: a damaged one makes it read wherever they point. Format:
"FlatBuffers internals" at flatbuffers.dev.

A schema maps the name of a table to the types of its fields, in order: `b h i q` numbers of 1, 2, 4, 8 bytes; `B H I Q`
vectors of them; `s` a text; `u` a union, whose type is the field before it; `Name` a table; `[Name]` a vector of tables; `x` a field that
may not be there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SIZES = {"b": 1, "h": 2, "i": 4, "q": 8}
FORMATS = {"b": "<B", "h": "<H", "i": "<i", "q": "<q"}
MAX_TABLES = 1_000_000
"""Tables may share what they hold, so few bytes could describe any number of them."""
Schema = Mapping[str, Sequence[str]]
Table = dict[int, Any]
"""Field number → number, Vector, text (bytes), Table or list of tables; fields that are left out are not there."""


class Malformed(ValueError):
    """An offset or a length leads out of the file."""


class Bytes(Protocol):
    """bytes or a mapped file."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Vector:
    """Numbers in the file: `count` of `size` bytes each from `start` on."""

    start: int
    count: int
    size: int


class Reader:
    """Reads tables of one schema from one file; `unions` has table names by (table, field) and the union's type."""

    def __init__(self, data: Bytes, schema: Schema, unions: Mapping[tuple[str, int], Mapping[int, str]]) -> None:
        self._data, self._schema, self._unions = data, schema, unions
        self._length = len(data)
        self._left = MAX_TABLES

    def root(self, name: str) -> Table:
        """The table that the file consists of; raises Malformed."""
        return self._table(self._follow(0), name)

    def numbers(self, vector: Vector) -> list[int]:
        """The whole numbers of a vector, signed but for single bytes."""
        kind = {1: "B", 2: "h", 4: "i", 8: "q"}[vector.size]
        return list(struct.unpack_from(f"<{vector.count}{kind}", self._data, vector.start))  # type: ignore[arg-type]

    def _table(self, at: int, name: str) -> Table:
        self._left -= 1
        if self._left < 0:
            raise Malformed(f"more than {MAX_TABLES:,} tables")
        fields_at = at - self._number(at, "i")
        if fields_at < 0:
            raise Malformed(f"{name} at {at} has its field table before the file")
        fields_size, size = self._number(fields_at, "h"), self._number(fields_at + 2, "h")
        if fields_size < 4 or fields_size % 2 or size < 4:
            raise Malformed(f"{name} at {at} has a field table of {fields_size} bytes for {size}")
        self._must_hold(fields_at, fields_size)
        self._must_hold(at, size)
        table: Table = {}
        for index, kind in enumerate(self._schema[name]):
            entry = 4 + 2 * index
            offset = self._number(fields_at + entry, "h") if entry < fields_size else 0
            if not offset:
                continue
            if kind == "x":
                raise Malformed(f"field {index} of {name} at {at} is of a kind that is not supported")
            if offset < 4 or offset + SIZES.get(kind, 4) > size:
                raise Malformed(f"field {index} of {name} at {at} lies outside of it")
            table[index] = self._field(at + offset, kind, (name, index), table)
        return table

    def _field(self, at: int, kind: str, where: tuple[str, int], before: Table) -> Any:
        if kind in SIZES:
            return self._number(at, kind)
        target = self._follow(at)
        if kind == "u":
            return self._table(target, self._chosen(where, before.get(where[1] - 1, 0)))
        if kind == "s":
            text = self._vector(target, 1)
            self._must_hold(text.start + text.count, 1)  # readers rely on the zero after it
            return self._data[text.start : text.start + text.count]
        if kind.startswith("["):
            items = self._vector(target, 4)
            places = range(items.start, items.start + 4 * items.count, 4)
            return [self._table(self._follow(place), kind[1:-1]) for place in places]
        if kind in {"B", "H", "I", "Q"}:
            return self._vector(target, SIZES[kind.lower()])
        return self._table(target, kind)

    def _chosen(self, where: tuple[str, int], kind: int) -> str:
        try:
            return self._unions[where][kind]
        except KeyError:
            raise Malformed(f"field {where[1]} of {where[0]} is of the unknown kind {kind}") from None

    def _vector(self, at: int, size: int) -> Vector:
        count = self._number(at, "i")
        if count < 0:
            raise Malformed(f"the vector at {at} has {count} entries")
        self._must_hold(at + 4, count * size)
        return Vector(at + 4, count, size)

    def _follow(self, at: int) -> int:
        """Where the offset at `at` leads: always forwards."""
        offset = self._number(at, "i")
        if offset <= 0:
            raise Malformed(f"the offset at {at} is {offset}")
        return at + offset

    def _number(self, at: int, kind: str) -> int:
        self._must_hold(at, SIZES[kind])
        return int(struct.unpack_from(FORMATS[kind], self._data, at)[0])  # type: ignore[arg-type]

    def _must_hold(self, at: int, size: int) -> None:
        if at < 0 or at + size > self._length:
            raise Malformed(f"{size} bytes at {at} lie outside of its {self._length:,} bytes")
