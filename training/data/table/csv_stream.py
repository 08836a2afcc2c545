"""A text file of columns from its beginning to its end, in pieces: for files of any size, whose rows are looked at once.

The header, the delimiter and how fields are parsed are those of `csv_file`, which reads a whole file.
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from registry.errors import ConfigError
from training.data.dataset_toml import Table
from training.data.table import csv_file, packed
from training.data.table.comments import Comments
from training.data.table.content import known_kind
from training.data.table.dialect import Dialect
from training.data.table.suspect import Unreadable

BATCH = "[batch] in trainyard.toml"
"""Where what a hint names is set for such a file."""
BLOCK = 1 << 20
"""Bytes that are parsed together; a row must fit into it."""
Piece = tuple[int, int, Any, Any, dict[int, str]]
"""Number of the first row, how many rows, pyarrow.Table of the good ones as texts, their places among the rows (NumPy
array; None: all are good), and place → why a row could not be read."""


class CsvStream:
    """One file, whose header is read at once. Raises ConfigError for what is not such a file."""

    def __init__(self, path: Path, table: Table, name: str) -> None:
        """`name`: of the file; its ending says what is between columns, unless `table` does, and how it is compressed."""
        self._path, self._name, self._size = path, name, max(1, path.stat().st_size)
        ending = packed.ending(name)
        try:
            raw, file = packed.opened(path, name)
            with raw, file:
                start = file.read(csv_file.START)
            if kind := known_kind(start):
                raise Unreadable(f"is {kind[0]}, not a table in text", kind[1])
            self._encoding = csv_file.encoding_of(start, table.encoding)
            _check_letters(start, self._encoding)
            self._stream = _Utf8(path, name, self._encoding, Comments(table.comment, table.quote))
            with contextlib.closing(self._stream):
                text = pa.py_buffer(self._stream.read_start())
                default = csv_file.ENDINGS.get(ending, ",")
                first_line, delimiter, self._begin = csv_file.declared_inside(text, table, default)
                text = pa.py_buffer(self._stream.begin(self._begin))
                header, self._header = csv_file.header_of(text, 0, table.quote)
        except Unreadable as error:
            hint = error.hint.replace("[table] in dataset.toml", BATCH).replace("[table]", "[batch]")
            raise ConfigError(str(error), hint=hint) from None
        except UnicodeError:
            raise self._not_encoded() from None
        except packed.DAMAGED as error:
            raise self._damaged(error) from None
        self.dialect = Dialect(delimiter, self._encoding, first_line, table.quote, table.comment)
        self.names = csv_file.names_in(header, self.dialect)
        if not self.names:
            raise ConfigError("has no line with the names of columns", hint="add one")

    def far(self) -> float:
        """How much of the file was read, 0 to 1."""
        return min(1.0, self._stream.at() / self._size)

    def pieces(self) -> Iterator[Piece]:
        """All rows; raises ConfigError where the file cannot be parsed any further."""
        comments = Comments(self.dialect.comment, self.dialect.quote)
        self._stream = _Utf8(self._path, self._name, self._encoding, comments)
        odd: list[tuple[int, int]] = []

        def keep(row: Any) -> str:
            odd.append((row.number - 1, row.actual_columns))
            return "skip"

        try:
            self._stream.read_start()
            self._stream.begin(self._begin)
            self._stream.skip(self._header)
            if not self._stream.has_rows():
                return
            batches = csv.open_csv(
                pa.PythonFile(self._stream, mode="r"),
                csv.ReadOptions(column_names=self.names, use_threads=False, block_size=BLOCK),
                csv_file.parse_options(self.dialect, keep),
                csv_file.convert_options(self.names, pa.binary()),
            )
            yield from self._pieces(batches, odd)
        except pa.ArrowInvalid as error:
            long = "straddling" in str(error)
            said = f"a row is longer than {BLOCK >> 20} MB, or a quotation mark is missing" if long else str(error)
            raise ConfigError(f"cannot be read: {said.partition(chr(10))[0]:.300}", hint="correct the file") from None
        except UnicodeError:
            raise self._not_encoded() from None
        except packed.DAMAGED as error:
            raise self._damaged(error) from None
        finally:
            self._stream.close()

    def _pieces(self, batches: Any, odd: list[tuple[int, int]]) -> Iterator[Piece]:
        first = 0
        for batch in batches:
            table, garbled = _texts(pa.Table.from_batches([batch]))
            rows, wrong = batch.num_rows, dict[int, str]()
            while odd and odd[0][0] < first + rows + len(wrong):
                number, fields = odd.pop(0)
                wrong[number - first] = self._fields(fields)
            count = rows + len(wrong)
            places = np.delete(np.arange(count), list(wrong)) if wrong or garbled else None
            if places is not None and garbled:
                wrong |= {int(places[row]): why for row, why in garbled.items()}
                good = np.delete(np.arange(rows), list(garbled))
                table = table.take(pa.Array.from_buffers(pa.int64(), len(good), [None, pa.py_buffer(good)]))
                places = places[good]
            if count:
                yield first, count, table, places, wrong
            first += count
        if odd:  # behind the last good row
            wrong = {number - first: self._fields(fields) for number, fields in odd}
            nothing = pa.table([pa.nulls(0, pa.string()) for _ in self.names], self.names)
            yield first, len(wrong), nothing, np.zeros(0, np.int64), wrong

    def _fields(self, count: int) -> str:
        return f"{count} fields, and the header has {len(self.names)}"

    def _damaged(self, error: Exception) -> Exception:
        if not packed.is_packed(self._name):
            return error
        found = packed.unreadable(self._name, error)
        return ConfigError(str(found), hint=found.hint)

    def _not_encoded(self) -> ConfigError:
        return ConfigError(f"is not encoded as {self._encoding}", hint="correct the file, or [batch] encoding")


def _check_letters(start: bytes, encoding: str) -> None:
    """Raise Unreadable for letters in UTF-8 that would be read as others: each byte means something in most older encodings."""
    if encoding in csv_file.UTF_8 or encoding.startswith(("utf-16", "utf-32")):
        return
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # which may end within a letter
    except UnicodeDecodeError:
        return
    if not text.isascii():
        raise Unreadable(
            f"is encoded as UTF-8, not as {encoding}", f'write encoding = "utf-8" under {BATCH}', "encoding"
        )


class _Utf8:
    """A file's text in UTF-8, without a byte order mark and comments, as a file that pyarrow reads."""

    closed = False

    def __init__(self, path: Path, name: str, encoding: str, comments: Comments) -> None:
        self._raw, self._file = packed.opened(path, name)
        self._comments, self._begun, self._ended = comments, False, False
        plain = encoding in csv_file.UTF_8
        self._text = None if plain else io.TextIOWrapper(self._file, encoding, newline="")
        self.start = b""

    def read_start(self) -> bytes:
        """The beginning, which may hold the header; it is there to be read again."""
        self.start = self.read(csv_file.LONGEST_HEADER).removeprefix("\ufeff".encode())
        return self.start

    def begin(self, count: int) -> bytes:
        """Pass over what is before the names of the columns; from there on, comments are emptied."""
        self.start, self._begun = self._comments.next(self.start[count:]), True
        return self.start

    def at(self) -> int:
        """The bytes of the file that were read."""
        return 0 if self._raw.closed else self._raw.tell()

    def skip(self, count: int) -> None:
        """Pass over some of `start`."""
        self.start = self.start[count:]

    def has_rows(self) -> bool:
        """Whether there is anything but empty lines."""
        while not self.start.strip(b"\r\n"):
            self.start = b""
            self.start = self.read(BLOCK)
            if not self.start:
                return False
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes, not more than `size`; empty at the end."""
        while not self.start and not self._ended:
            piece = (
                self._file.read(size)
                if self._text is None
                else self._text.read(max(1, size)).encode("utf-8", "replace")
            )
            self.start, self._ended = self._comments.next(piece) if self._begun else piece, not piece
        found, self.start = self.start[:size], self.start[size:]
        return found

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def close(self) -> None:
        """See io.RawIOBase."""
        self.closed = True
        self._file.close()
        self._raw.close()


def _texts(table: Any) -> tuple[Any, dict[int, str]]:
    """Columns of bytes as texts, and row → which column is not UTF-8; there the text is not the file's."""
    columns, garbled = [], dict[int, str]()
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns.append(column.cast(pa.string()))
        except pa.ArrowInvalid:
            values = column.to_pylist()
            for row, value in enumerate(values):
                try:
                    value.decode()
                except UnicodeDecodeError:
                    garbled.setdefault(row, f"{name}: is not UTF-8")
                    values[row] = b""
            data = b"".join(values)
            offsets = np.zeros(len(values) + 1, np.int32)
            np.cumsum([len(each) for each in values], out=offsets[1:])
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
            columns.append(pa.chunked_array([pa.Array.from_buffers(pa.string(), len(values), buffers)]))
    return pa.table(columns, table.column_names), garbled
