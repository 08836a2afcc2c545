"""JSON Lines as a source: one row per line, what an entry of `instances` may be, or an object that holds the inputs by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from registry.errors import ConfigError
from registry.spelling import name_spelling
from serving.batch.block import BYTES, Block, Inputs, Rejected, Wanted, Wants
from serving.engines.base import Array
from serving.errors import Refused, did_you_mean, show
from serving.protocols.read_instances import Reader
from training.data.table import packed
from training.data.table.content import known_kind

LONGEST = 16 << 20
"""Bytes of one line."""
PATH = re.compile(r"^instances\[\d+\]\.?")


class LinesSource:
    """A file of JSON Lines, read from its beginning whatever is wanted of it. Blank lines count as rows nowhere."""

    total: int | None = None

    def __init__(self, path: Path, reader: Reader, wants: Wants, name: str = "") -> None:
        """`name`: of the file; its ending says how it is compressed."""
        self._path, self._name, self._reader, self._wants = path, name, reader, wants
        self._names = [each.name for each in reader.fields]
        self._spellings = {name_spelling(each): each for each in self._names}
        self._size, self._rows, self._at = max(1, path.stat().st_size), 0, 0
        self.first = self._look()

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """See Source."""
        lines: list[bytes] = []
        part = first = size = 0
        self._rows = 0
        for line in self._lines():
            row, self._rows = self._rows, self._rows + 1
            if lines and (row // self._wants.rows_per_part != part or size >= BYTES or len(lines) >= self._wants.rows):
                yield Block(part, first, len(lines), lines)
                lines, size = [], 0
            if not wanted(row // self._wants.rows_per_part):
                continue
            if not lines:
                part, first = row // self._wants.rows_per_part, row
            lines.append(line)
            size += len(line)
        if lines:
            yield Block(part, first, len(lines), lines)

    def inputs(self, block: Block) -> Inputs:
        """See Source."""
        rejected: Rejected = {}
        rows, samples = [], []
        for row, line in enumerate(block.body):
            try:
                samples.append(self._sample(line))
                rows.append(row)
            except (Refused, orjson.JSONDecodeError) as error:
                rejected[row] = PATH.sub("", str(error)) if isinstance(error, Refused) else f"not JSON: {error}"
        if not rows:
            return Inputs([], rejected)
        try:
            return Inputs([(np.array(rows), self._reader.rows(samples, len(samples))[0])], rejected)
        except Refused:
            return one_by_one(zip(rows, samples, strict=True), self._reader.rows, rejected)

    def kept(self, block: Block, rows: Array) -> list[dict[str, Any]]:
        """See Source. What is not an object has no columns."""
        found = []
        for row in rows.tolist():
            value = orjson.loads(block.body[row])
            columns = self._wants.columns
            value = value if isinstance(value, dict) else {}
            found.append(value if columns is None else {each: value[each] for each in columns if each in value})
        return found

    def rows_read(self) -> int:
        """See Source."""
        return self._rows

    def far(self) -> float:
        """See Source."""
        return min(1.0, self._at / self._size)

    def _sample(self, line: bytes) -> Any:
        if len(line) > LONGEST:
            raise Refused(413, f"the line is longer than {LONGEST >> 20} MB")
        value = orjson.loads(line)
        if not self._reader.named and (not isinstance(value, dict) or value.keys() == {"b64"}):
            return value
        if not isinstance(value, dict):
            raise Refused(400, f"{show(value)}, an object is expected")
        try:
            found = {each: value[each] for each in self._names}
        except KeyError:
            found = {ours: value[each] for each in value if (ours := self._spellings.get(name_spelling(each)))}
            for each in self._names:
                if each not in found:
                    raise Refused(400, f"{each}: is missing") from None
        return found if self._reader.named else found[self._names[0]]

    def _lines(self) -> Iterator[bytes]:
        raw, file = packed.opened(self._path, self._name)
        first = True
        with raw, file:
            while line := self._line(file):
                self._at = raw.tell()
                if len(line) > LONGEST and not line.endswith(b"\n"):
                    while (rest := self._line(file)) and not rest.endswith(b"\n"):
                        pass
                if first:
                    line, first = line.removeprefix(b"\xef\xbb\xbf"), False
                if line.strip():
                    yield line

    def _line(self, file: IO[bytes]) -> bytes:
        try:
            return file.readline(LONGEST + 1)
        except packed.DAMAGED as error:
            if not packed.is_packed(self._name):
                raise
            found = packed.unreadable(self._name, error)
            raise ConfigError(str(found), hint=found.hint) from None

    def _look(self) -> dict[str, Any]:
        """The first line's object, empty when it is not an object. Raises ConfigError when no line can be meant."""
        self._at = 0
        first = next(self._lines(), b"")
        self._at = 0
        if (kind := known_kind(first[:4096])) and kind[0] != "JSON":
            raise ConfigError(f"is {kind[0]}, not JSON Lines", hint=kind[1])
        if first.strip() in {b"[", b"{"}:
            raise ConfigError("is one JSON document over many lines, not one row per line", hint="jq -c '.[]' FILE")
        try:
            value = orjson.loads(first or b"{}")
        except orjson.JSONDecodeError:
            return {}  # this line is rejected; others may be good
        if not isinstance(value, dict) or (self._reader.image and value.keys() == {"b64"}):
            return {}
        for each in self._names if value else ():
            if each not in value and not any(self._spellings.get(name_spelling(name)) == each for name in value):
                raise ConfigError(f"column {each!r} is missing in the first line", hint=did_you_mean(each, value))
        return value


def one_by_one(
    samples: Iterable[tuple[int, Any]],
    read: Callable[[list[Any], int], tuple[dict[str, Array], int]],
    rejected: Rejected,
) -> Inputs:
    """Rows of which at least one is refused, or which have different shapes; `read`: what a Reader makes of one."""
    found: dict[tuple[Any, ...], list[tuple[int, dict[str, Array]]]] = {}
    for row, sample in samples:
        try:
            arrays, _ = read([sample], 1)
        except Refused as error:
            rejected[row] = PATH.sub("", str(error))
            continue
        found.setdefault(tuple(each.shape for each in arrays.values()), []).append((row, arrays))
    return Inputs([joined(each) for each in found.values()], rejected)


def joined(rows: list[tuple[int, dict[str, Array]]]) -> tuple[Array, dict[str, Array]]:
    """Rows of the same shape as one group."""
    arrays = {name: np.concatenate([each[name] for _, each in rows]) for name in rows[0][1]}
    return np.array([row for row, _ in rows]), arrays
