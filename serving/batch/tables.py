"""Parquet and CSV files as sources: a block of columns at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from registry.errors import ConfigError
from serving.batch import arrow
from serving.batch.block import BYTES, Block, Inputs, Wanted, Wants
from serving.batch.columns import ColumnReader
from serving.engines.base import Array
from serving.protocols.read_instances import Reader
from training.data.table.csv_stream import CsvStream, Piece

BUFFER = 1 << 17
"""Bytes of a column that are read from the disk at once."""


class TableSource:
    """What both kinds share: from a table of some rows to inputs, and to the columns that are kept."""

    def __init__(self, reader: Reader, names: Sequence[str], wants: Wants, *, written: bool) -> None:
        twice = sorted({each for each in names if list(names).count(each) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ConfigError(f"column {twice[0]!r} appears twice", hint="rename or delete one")
        self._columns = ColumnReader(reader, names, wants.rules, written=written)
        self.keep = kept_columns(names, wants.columns)
        wanted = {*self.keep, *self._columns.needed}
        self.read_columns = [each for each in names if each in wanted]

    def inputs(self, block: Block) -> Inputs:
        """See Source."""
        arrays, rows, rejected = self._columns.read(block.body)
        numbers = block.numbers
        if numbers is not None:
            rows, rejected = numbers[rows], {int(numbers[row]): why for row, why in rejected.items()}
        return Inputs([(rows, arrays)] if len(rows) else [], block.rejected | rejected)

    def kept(self, block: Block, rows: Array) -> Any:
        """See Source."""
        if block.numbers is not None:
            rows = np.searchsorted(block.numbers, rows)
        return arrow.rows_of(block.body.select(self.keep), rows)


def kept_columns(names: Sequence[str], keep: Sequence[str] | None) -> list[str]:
    """The columns of a file that are kept; raises ConfigError for one that is not there."""
    if keep is None:
        return list(names)
    for each in keep:
        if each not in names:
            raise ConfigError(f"column {each!r} is to be kept, and is missing", hint="see --columns")
    return [each for each in names if each in keep]


class ParquetSource(TableSource):
    """A Parquet file, read column by column through buffers: neither a row group nor the file is ever in memory as a whole."""

    def __init__(self, path: Path, reader: Reader, wants: Wants) -> None:
        try:
            self._file = parquet.ParquetFile(
                path, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(error, "Parquet") from None
        names = self._file.schema_arrow.names
        super().__init__(reader, names, wants, written=False)
        schema = pa.schema([self._file.schema_arrow.field(each) for each in self.keep])
        self.schema = arrow.never_null(schema, self._columns.always_there)
        meta = self._file.metadata
        self.total: int | None = meta.num_rows
        size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups)) // max(1, meta.num_rows)
        self._batch = max(1, min(wants.rows, BYTES // max(1, size)))
        self._rows_per_part = wants.rows_per_part

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """See Source. Row groups of which no row is wanted are not read."""
        meta, start = self._file.metadata, 0
        groups: list[tuple[int, int]] = []  # number, first row
        for number in range(meta.num_row_groups):
            last = start + meta.row_group(number).num_rows
            if any(wanted(part) for part in range(start // self._rows_per_part, -(-last // self._rows_per_part))):
                groups.append((number, start))
            start = last
        try:
            for run in _runs(groups):
                pieces = self._pieces(run)
                yield from cut(pieces, wanted, self._rows_per_part, self._batch)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise unreadable(error, "Parquet") from None

    def _pieces(self, run: list[tuple[int, int]]) -> Iterator[tuple[int, Any]]:
        at = run[0][1]
        numbers = [number for number, _ in run]
        for batch in self._file.iter_batches(self._batch, numbers, columns=self.read_columns, use_threads=False):
            yield at, pa.Table.from_batches([batch])
            at += batch.num_rows

    def kept(self, block: Block, rows: Array) -> Any:
        """See Source."""
        return pa.table(super().kept(block, rows).columns, schema=self.schema)

    def rows_read(self) -> int:
        """See Source."""
        return self.total or 0

    def far(self) -> float:
        """See Source."""
        return 0.0


class CsvSource(TableSource):
    """A text file of columns, read from its beginning whatever is wanted of it; fields are kept as they are written."""

    total: int | None = None

    def __init__(self, path: Path, name: str, reader: Reader, wants: Wants) -> None:
        self._stream = CsvStream(path, wants.rules, name)
        names = self._stream.names
        super().__init__(reader, names, wants, written=True)
        self.schema = pa.schema([(each, pa.string()) for each in self.keep])
        self._rows_per_part, self._block, self._rows = wants.rows_per_part, wants.rows, 0

    def blocks(self, wanted: Wanted) -> Iterator[Block]:
        """See Source."""
        for piece in self._stream.pieces():
            first, count = piece[:2]
            self._rows = first + count
            for part in range(first // self._rows_per_part, (first + count - 1) // self._rows_per_part + 1):
                if wanted(part):
                    yield from _slices(piece, part, self._rows_per_part, self._block)

    def rows_read(self) -> int:
        """See Source."""
        return self._rows

    def far(self) -> float:
        """See Source."""
        return self._stream.far()


def cut(pieces: Iterator[tuple[int, Any]], wanted: Wanted, per_part: int, per_block: int) -> Iterator[Block]:
    """Blocks of `per_block` rows, counted from the beginning of each part, so that they are the same wherever reading begins."""
    waiting: list[Any] = []
    first = rows = 0
    for at, piece in pieces:
        inside = 0
        while inside < piece.num_rows:
            row = at + inside
            if not rows:
                first = row
            begin = first // per_part * per_part
            end = min(begin + per_part, begin + ((first - begin) // per_block + 1) * per_block)
            take = min(piece.num_rows - inside, end - row)
            if wanted(first // per_part):
                waiting.append(piece.slice(inside, take))
            rows, inside = rows + take, inside + take
            if row + take == end:
                if waiting:
                    yield Block(first // per_part, first, rows, pa.concat_tables(waiting).combine_chunks())
                waiting, rows = [], 0
    if waiting:
        yield Block(first // per_part, first, rows, pa.concat_tables(waiting).combine_chunks())


def _slices(piece: Piece, part: int, per_part: int, per_block: int) -> Iterator[Block]:
    """The rows of a piece that belong to a part, as blocks."""
    first, count, table, places, odd = piece
    begin, end = max(0, part * per_part - first), min(count, (part + 1) * per_part - first)
    for start in range(begin, end, per_block):
        stop = min(end, start + per_block)
        if places is None:
            yield Block(part, first + start, stop - start, table.slice(start, stop - start))
            continue
        low, high = np.searchsorted(places, [start, stop])
        rejected = {row - start: why for row, why in odd.items() if start <= row < stop}
        inside = places[low:high] - start
        yield Block(part, first + start, stop - start, table.slice(low, high - low), rejected, inside)


def _runs(groups: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Row groups that follow each other, together."""
    run: list[tuple[int, int]] = []
    for each in groups:
        if run and each[0] != run[-1][0] + 1:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def unreadable(error: Exception, kind: str) -> ConfigError:
    """What a file that is damaged, or is something else, makes pyarrow say."""
    said = str(error).strip().partition("\n")[0]
    return ConfigError(f"cannot be read as {kind}: {said:.300}", hint="is it complete, and what its name says?")
