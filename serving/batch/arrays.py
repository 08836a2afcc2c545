"""NumPy archives (`.npz`) as a source: one input per array, of which a few rows are in memory at a time."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from registry.errors import ConfigError
from serving.batch import arrow
from serving.batch.block import BYTES, Block, Inputs, Rejected, Wanted, Wants
from serving.batch.columns import refusal, within
from serving.engines.base import Array, shape_text
from serving.errors import Refused, did_you_mean
from serving.protocols.fields import Field
from serving.protocols.read_instances import Reader
from training.data.npz import DAMAGE

MOST_ARRAYS = 10_000


class ArraysSource:
    """An archive whose arrays are read side by side; compressed ones from their beginning whatever is wanted."""

    def __init__(self, path: Path, reader: Reader, wants: Wants) -> None:
        self._path, self._wants, self._signature = path, wants, reader.signature
        try:
            self._heads = _heads(path)
        except DAMAGE as error:
            raise _damaged(error) from None
        self._fields = [(each, self._array_of(each, len(reader.fields))) for each in reader.fields]
        shape = self._heads[self._fields[0][1]][0]
        self._total: int = shape[0] if shape else 0
        self.total: int | None = self._total
        for field, name in self._fields:
            self._check(field, name)
        known = {name for _, name in self._fields}
        columns = [n for n, (shape, kind) in self._heads.items() if shape == (self._total,) and kind.kind in "biufU"]
        if wants.columns is not None and (missing := sorted(set(wants.columns) - set(columns))):
            raise ConfigError(f"column {missing[0]!r} is to be kept, and is missing", hint="see --columns")
        self.keep = [each for each in columns if (wants.columns is None or each in wants.columns)]
        self._read = sorted(known | set(self.keep))
        row = sum(_row_bytes(*self._heads[each]) for each in self._read)
        self._rows = max(1, min(wants.rows, BYTES // max(1, row)))
        self.schema = pa.schema([(each, _type(self._heads[each][1])) for each in self.keep])

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """See Source."""
        per_part = self._wants.rows_per_part
        try:
            with contextlib.ExitStack() as stack:
                archive = stack.enter_context(zipfile.ZipFile(self._path))
                members = {each: stack.enter_context(archive.open(f"{each}.npy")) for each in self._read}
                for each in members.values():
                    _head(each)
                first = 0
                while first < self._total:
                    part = first // per_part
                    if not wanted(part):
                        count = min(self._total, (part + 1) * per_part) - first
                        for name, member in members.items():
                            member.seek(_row_bytes(*self._heads[name]) * count, 1)
                    else:
                        count = min(self._rows, self._total - first, (part + 1) * per_part - first)
                        yield Block(part, first, count, {n: self._rows_of(n, m, count) for n, m in members.items()})
                    first += count
        except DAMAGE as error:
            raise _damaged(error) from None

    def inputs(self, block: Block) -> Inputs:
        """See Source."""
        rejected: Rejected = {}
        arrays: dict[str, Array] = {}
        for spec, (field, name) in zip(self._signature.inputs, self._fields, strict=True):
            array = block.body[name]
            if array.dtype.kind == "U":
                arrays[spec.name] = _texts(field, array, rejected)
                continue
            for row in np.flatnonzero(~within(field, array)).tolist():
                rejected.setdefault(row, refusal(field, array[row : row + 1], field.name))
            arrays[spec.name] = array
        good = np.ones(block.rows, bool)
        good[list(rejected)] = False
        rows = np.flatnonzero(good)
        for spec in self._signature.inputs:
            array = arrays[spec.name] if len(rows) == block.rows else arrays[spec.name][rows]
            shape = spec.shape[1:] if None not in spec.shape[1:] else array.shape[1:]
            kind = object if spec.dtype == "string" else spec.dtype
            arrays[spec.name] = array.astype(kind, copy=False).reshape(len(rows), *(each or 1 for each in shape))
        return Inputs([(rows, arrays)] if len(rows) else [], rejected)

    def kept(self, block: Block, rows: Array) -> Any:
        """See Source."""
        columns = [block.body[each][rows] for each in self.keep]
        return pa.table(
            [arrow.texts(e.tolist()) if e.dtype.kind == "U" else arrow.numbers(e) for e in columns], self.keep
        )

    def rows_read(self) -> int:
        """See Source."""
        return self._total

    def far(self) -> float:
        """See Source."""
        return 0.0

    def _array_of(self, field: Field, inputs: int) -> str:
        """The array for an input: of its name, or the only one that the archive holds."""
        if field.name in self._heads:
            return field.name
        if inputs == 1 and len(self._heads) == 1:
            return next(iter(self._heads))
        raise ConfigError(f"array {field.name!r} is missing", hint=did_you_mean(field.name, self._heads))

    def _check(self, field: Field, name: str) -> None:
        shape, kind = self._heads[name]
        if shape[:1] != (self._total,):
            raise ConfigError(f"array {name!r} has {shape[0] if shape else 0} rows, others have {self._total}")
        sizes = [each or 1 for each in field.shape]
        fits = None in field.shape or int(np.prod(shape[1:])) == int(np.prod(sizes))
        text = field.dtype == "string"
        if not fits or (kind.kind != "U" if text else kind.kind not in "biuf"):
            found = f"{kind.name} {shape_text(shape[1:])}"
            raise ConfigError(
                f"array {name!r}: rows of {found}; the model takes {field.dtype} {shape_text(field.shape)}"
            )

    def _rows_of(self, name: str, member: IO[bytes], count: int) -> Array:
        shape, kind = self._heads[name]
        data = member.read(_row_bytes(shape, kind) * count)
        if len(data) < _row_bytes(shape, kind) * count:
            raise EOFError(f"array {name!r} breaks off")
        return np.frombuffer(data, kind).reshape(count, *shape[1:])


def _heads(path: Path) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Array → shape and dtype, of those that hold plain numbers or texts."""
    found: dict[str, tuple[tuple[int, ...], Any]] = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) > MOST_ARRAYS:
            raise zipfile.BadZipFile(f"it holds {len(names)} files, {MOST_ARRAYS} are allowed")
        for name in names:
            if name.endswith(".npy"):
                with archive.open(name) as member:
                    shape, fortran, kind = _head(member)
                if fortran and len(shape) > 1:
                    raise ValueError(
                        f"array {name!r} is stored column by column; np.ascontiguousarray(array) changes that"
                    )
                if not kind.hasobject:
                    found[name.removesuffix(".npy")] = (shape, kind)
    return found


def _head(member: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(member)
    return tuple(int(each) for each in shape), bool(fortran), kind


def _row_bytes(shape: tuple[int, ...], kind: Any) -> int:
    return int(np.prod(shape[1:], dtype=np.int64)) * int(kind.itemsize)


def _texts(field: Field, array: Array, rejected: Rejected) -> Array:
    found = array.astype(object)
    for row, value in enumerate(array.tolist()):
        try:
            found[row] = field.read([value], lambda _: field.name, plain=False)[0]
        except Refused as error:
            rejected.setdefault(row, str(error))
    return found


def _type(kind: Any) -> Any:
    if kind.kind == "U":
        return pa.string()
    return pa.bool_() if kind.kind == "b" else pa.from_numpy_dtype(kind)


def _damaged(error: Exception) -> ConfigError:
    said = (
        "zlib: damaged data" if isinstance(error, zlib.error) else str(error).partition("\n")[0] or type(error).__name__
    )
    return ConfigError(f"cannot be read as npz: {said:.300}", hint="is it complete? np.savez writes such files")
