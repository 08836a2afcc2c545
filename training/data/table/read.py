"""Reads and writes the files of a table through pyarrow: the one reader for training, checks and Great Expectations.

Python values are not handed to pyarrow (`pa.array(list)`, `pa.scalar(…)`): it would import pandas, which takes longer
than all the rest, only to ask whether they are pandas' own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from registry.spelling import difference, name_spelling, shown
from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.files import CORRECT, FILES, find_files
from training.data.table import csv_file, json_lines, packed, suspect, typed, workbook
from training.data.table.content import known_kind
from training.data.table.dialect import Dialect
from training.data.table.index import index_columns
from training.data.table.places import Places
from training.data.table.suspect import Unreadable

PARQUET = (".parquet", ".pq")
COLUMNS = "every file has the same columns"
UNNAMED = "delete it if it numbers the rows (DataFrame.to_csv(index=False) writes none); else name it"


class MixedTypes(ValueError):
    """The files store a column as types that do not go together; `kinds` is type → the first file that has it."""

    def __init__(self, kinds: dict[Any, str]) -> None:
        super().__init__()
        self.kinds = kinds


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a table."""

    name: str
    rows: Any
    """pyarrow.Table, with the columns as the file has them; those of a text file are strings."""
    dialect: Dialect | None = None
    """How a text file was read."""
    lines: Any = None
    """NumPy array: the line of a text file on which each row begins, or the row of a sheet; None: its rows have no numbers."""
    unit: str = "line"
    """What `lines` counts."""


class Rows:
    """All rows of a table's files, numbered from 0 through all files."""

    def __init__(self, parts: Sequence[Part], table: Table, index: Collection[str] = ()) -> None:
        self._parts, self._table, self.index = parts, table, index
        self._starts: list[int] = [0, *accumulate(part.rows.num_rows for part in parts)]
        self.columns: list[str] = parts[0].rows.column_names
        """In the order of the first file; those in `index` are the index of a pandas DataFrame."""

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def parts(self) -> Sequence[Part]:
        """The files, in their order."""
        return self._parts

    @property
    def has_text_files(self) -> bool:
        """Whether a field may be empty, or a mark: Parquet has null, and its texts are values."""
        return any(part.dialect for part in self._parts)

    def where(self, row: int) -> str:
        """The file and the place in it: `data.csv line 17`, as an editor numbers the line on which the row begins, or
        `data.parquet row index 15`, as `DataFrame.iloc` counts, from 0."""
        number, inside = self._find(row)
        part = self._parts[number]
        return (
            f"{part.name} row index {inside}" if part.lines is None else f"{part.name} {part.unit} {part.lines[inside]}"
        )

    def places(self) -> Places:
        """What `where` says of each row."""
        called, numbers = [], []
        for part in self._parts:
            called.append(f"{part.name} {'row index' if part.lines is None else part.unit}")
            numbers.append(np.arange(part.rows.num_rows) if part.lines is None else part.lines[: part.rows.num_rows])
        files = np.repeat(np.arange(len(called), dtype=np.int32), [len(each) for each in numbers])
        return Places(called, files, np.concatenate(numbers).astype(np.int64, copy=False))

    def column(self, name: str) -> Any:
        """One column of all files by what it holds, as one pyarrow.ChunkedArray: numbers, truth values, or texts, which
        declared columns of text files always are. Null where a value is missing. Raises MixedTypes."""
        table, written = self._table, [part for part in self._parts if part.dialect]
        columns = [(part, plain_column(part.rows.column(name))) for part in self._parts if not part.dialect]
        if written:
            joined = pa.chunked_array(
                [chunk for part in written for chunk in part.rows.column(name).chunks], pa.string()
            )
            columns.insert(0, (written[0], joined if name in table.texts else typed.typed(joined, table)))
            if len(written) > 1 and pa.types.is_string(columns[0][1].type) and name not in table.texts:
                self._check_mixture(name, written)
        if name in table.numeric or (name in table.predicted and table.task == "regression"):
            columns = [(p, typed.typed(c, table) if pa.types.is_string(c.type) else c) for p, c in columns]
        try:
            tables = [pa.table({name: column}) for _, column in columns]
            joined = pa.concat_tables(tables, promote_options="permissive").column(0)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            kinds: dict[Any, str] = {}
            for part, column in columns:
                kinds.setdefault(column.type, part.name)
            raise MixedTypes(kinds) from None
        if not pa.types.is_string(joined.type):
            return typed.without_numbers(joined, table.na or ())
        return typed.text(joined, table, name) if written else typed.without(joined, table.na or ())

    def as_written(self, name: str) -> Any:
        """One column of all files as text: that of the text files, or what Parquet holds in words."""
        chunks = [part.rows.column(name).cast(pa.string()) for part in self._parts]
        return pa.chunked_array([chunk for column in chunks for chunk in column.chunks], pa.string())

    def views(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Three times all columns by their names: as `column` has them, as text, and with texts as numbers where all of
        a column are numbers. What has several types in several files is text. Names must differ."""
        table, text, numbers = {}, {}, {}
        for name in self.columns:
            if any(name not in part.rows.column_names for part in self._parts):  # an index that few files have
                continue
            try:
                table[name] = self.column(name)
            except MixedTypes:
                table[name] = typed.without(self.as_written(name), self._table.na or ())
            try:
                text[name] = compute.if_else(
                    compute.is_null(table[name]), pa.nulls(1, pa.string())[0], self.as_written(name)
                )
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a list, say, which has no text
                text[name] = table[name]
            is_text = pa.types.is_string(table[name].type)
            numbers[name] = typed.typed(table[name], self._table) if is_text else table[name]
        return table, text, numbers

    def matches(self, name: str, pattern: str) -> int:
        """How many texts of a column in text files match."""
        found = [compute.match_substring_regex(part.rows.column(name), pattern) for part in self._parts if part.dialect]
        return sum(compute.sum(each).as_py() or 0 for each in found)

    def holds(self, name: str, marks: Sequence[str]) -> bool:
        """Whether some text of a column is one of these."""
        columns = [
            column for part in self._parts if pa.types.is_string((column := plain_column(part.rows.column(name))).type)
        ]
        return any(
            typed.without(column, tuple(marks)).null_count > typed.without(column, ()).null_count for column in columns
        )

    def marks(self, name: str) -> dict[str, int]:
        """The texts of a column that are read as missing, and how often each appears; without the empty field."""
        found = compute.value_counts(self.as_written(name).drop_null())
        texts = pa.chunked_array([found.field(0)])
        texts = (
            typed.text(texts, self._table, name) if self.has_text_files else typed.without(texts, self._table.na or ())
        )
        missing = compute.is_null(texts).combine_chunks()
        values, counts = (found.field(i).filter(missing).to_pylist() for i in (0, 1))
        return {text.strip(): count for text, count in zip(values, counts, strict=True) if text.strip()}

    def _check_mixture(self, name: str, parts: Sequence[Part]) -> None:
        """Raise MixedTypes when one file has numbers only, and another hardly any."""
        kinds: dict[Any, str] = {}
        for part in parts:
            kinds.setdefault(typed.kind(part.rows.column(name), self._table), part.name)
        kinds = {kind: file for kind, file in kinds.items() if kind and not pa.types.is_null(kind)}
        if len(kinds) > 1:
            raise MixedTypes(kinds)

    def write(self, rows: Any, folder: Path) -> None:
        """Write some rows (NumPy array of indices) of each file under its own name, in its own format and order."""
        chosen = np.sort(rows)
        ends = np.searchsorted(chosen, self._starts)
        for i, part in enumerate(self._parts):
            _write_part(part, chosen[ends[i] : ends[i + 1]] - self._starts[i], folder, self._table)

    def _find(self, row: int) -> tuple[int, int]:
        """The number of the file, and the row in it, from 0."""
        part = bisect_right(self._starts, row) - 1
        return part, row - self._starts[part]


def read_rows(repository: Path, table: Table, checks: Checks) -> Rows | None:
    """All files of the table; None when there is something wrong with one, which goes to `checks`."""
    parts, unreadable = [], []
    for name in find_files(repository, table.file, "[table] file", checks):
        try:
            part = _read(repository / name, name, table, checks)
        except Unreadable as error:
            unreadable.append((name, error))
            continue
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            checks.fail(FILES, f"{name} cannot be read: {said:.300}", CORRECT)
            continue
        if not part.rows.num_rows:
            checks.fail(FILES, f"{name} has no rows", "add rows, or delete the file")
        else:
            parts.append(part)
    _fail_unreadable(repository, unreadable, parts, checks)
    _check_encodings(repository, [part for part in parts if part.dialect], table, checks)
    index = {name for part in parts for name in index_columns(part.rows)} - table.used
    if parts:
        _check_columns(parts, index, checks)
        checks.read_as += _read_as(parts, table)
    return None if checks.failed or not parts else Rows(parts, table, index)


def _fail_unreadable(
    repository: Path, unreadable: Sequence[tuple[str, Unreadable]], parts: Sequence[Part], checks: Checks
) -> None:
    """Report files that cannot be read; no hint asks for a setting that would spoil other files."""
    for name, error in unreadable:
        others: list[str] = []
        if error.declares:
            others = [
                other for other, each in unreadable if each.declares == error.declares and each.hint != error.hint
            ]
        for part in parts if error.declares else ():
            plain = error.declares == "encoding" and suspect.letters(packed.read(repository / part.name)) == "ascii"
            others += [part.name] if part.dialect and not plain else []
        checks.fail(FILES, f"{name} {error}", _hint_for_all(error, others) if others else error.hint)


def _hint_for_all(error: Unreadable, others: Sequence[str]) -> str:
    """What to do about one file where a setting for all of them would spoil others."""
    inside = "; a first line such as sep=; in a file says it for this file" if error.declares == "delimiter" else ""
    return f"{others[0]} is written in another way: write all files with the same {error.declares}{inside}"


def _check_encodings(repository: Path, parts: Sequence[Part], table: Table, checks: Checks) -> None:
    """Refuse UTF-8 among files of another encoding, which is declared: its letters would be garbled."""
    if not table.encoding or table.encoding in csv_file.UTF_8 or table.encoding.startswith("utf"):
        return
    found: dict[str, str] = {}
    for part in parts:
        found.setdefault(suspect.letters(packed.read(repository / part.name)), part.name)
    if "utf-8" in found and "other" in found:
        message = f"{found['utf-8']} is UTF-8, and {found['other']} is not"
        checks.fail(FILES, message, "write all files in one encoding, best in UTF-8")


def _read(path: Path, name: str, table: Table, checks: Checks) -> Part:
    ending = packed.ending(name)
    if ending in PARQUET and not packed.is_packed(name):
        with path.open("rb") as file:
            start = file.read(csv_file.START)
        if not start.startswith(b"PAR1"):
            kind, hint = known_kind(start) or ("something else", "give it the ending that says what it is, e.g. .csv")
            raise Unreadable(f"is {kind}, not a Parquet file", hint)
        return Part(name, _without_views(parquet.read_table(path, partitioning=None)))
    if ending in json_lines.ENDINGS:
        rows, lines = json_lines.read(path, table)
        return Part(name, rows, None, lines)
    if ending in workbook.ENDINGS and not packed.is_packed(name):
        rows, numbers, notes = workbook.read(path, table)
        for note in notes:
            checks.note(f"{name} {note}")
        return Part(name, rows, None, numbers, f"sheet {table.sheet!r} row")
    if ending not in csv_file.ENDINGS:
        with path.open("rb") as file:
            kind, hint = known_kind(file.read(csv_file.START)) or ("", CORRECT)
        raise Unreadable(
            f"has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet{f', but {kind}' if kind else ''}", hint
        )
    found = csv_file.read(path, table)
    for note in found.notes:
        checks.note(f"{name} {note}")
    if (row := suspect.repeated_header(found.rows)) is not None:
        message = f"{name} repeats the names of its columns in line {found.lines[row]}"
        checks.fail(FILES, message, "delete that line")
    return Part(name, found.rows, found.dialect, found.lines)


def _read_as(parts: Sequence[Part], table: Table) -> list[str]:
    """How the text files were read: one line for all that were read in the same way."""
    alike: dict[str, list[str]] = {}
    for part in parts:
        if part.dialect:
            alike.setdefault(part.dialect.in_words(typed.numbers_of(table)), []).append(part.name)
    return [f"{files[0] if len(files) == 1 else f'{len(files)} files'}: {words}" for words, files in alike.items()]


def _check_columns(parts: Sequence[Part], index: Collection[str], checks: Checks) -> None:
    """The index of a pandas DataFrame may be in some files only."""
    checks.make(COLUMNS)
    first = [name for name in parts[0].rows.column_names if name not in index]
    for part in parts:
        names = [name for name in part.rows.column_names if name not in index]
        for name, times in Counter(names).items():
            if times > 1:
                checks.fail(COLUMNS, f"{part.name}: column {name!r} appears {times} times", "rename or delete one")
            elif not name.strip():
                checks.fail(COLUMNS, f"{part.name}: a column has no name", UNNAMED)
            elif "\0" in name:
                checks.fail(COLUMNS, f"{part.name}: column {name!r:.80} holds a NUL character", "rename the column")
        _check_names(part, checks)
        same = "give all files the same columns"
        for name in (each for each in first if each not in names):
            checks.fail(COLUMNS, f"{part.name} lacks column {name!r}, which {parts[0].name} has", same)
        for name in (each for each in names if each not in first):
            checks.fail(COLUMNS, f"{part.name} has column {name!r}, which {parts[0].name} lacks", same)


def _check_names(part: Part, checks: Checks) -> None:
    by_name: dict[str, str] = {}
    for name in part.rows.column_names:
        before = by_name.setdefault(name_spelling(name), name)
        if before != name:
            one, other = shown(before, name)
            message = f"{part.name}: columns {one} and {other} differ only in {difference(before, name)}"
            checks.fail(COLUMNS, message, "rename or delete one")


def _without_views(rows: Any) -> Any:
    """Viewed texts as texts: pyarrow cannot choose rows of them."""
    for i, field in enumerate(rows.schema):
        if pa.types.is_string_view(field.type) or pa.types.is_binary_view(field.type):
            kind = pa.large_string() if pa.types.is_string_view(field.type) else pa.large_binary()
            rows = rows.set_column(i, field.name, rows.column(i).cast(kind))
        elif re.search(r"\b(string|binary)_view\b", str(field.type)):
            raise Unreadable(
                f"holds {field.name!r} as {field.type}, of which rows cannot be chosen", "store it in another type"
            )
    return rows


def plain_column(column: Any) -> Any:
    """A column without the variants that mean the same: dictionaries, large or viewed strings, decimals."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    return column


def _write_part(part: Part, rows: Any, folder: Path, table: Table) -> None:
    path = folder / part.name
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = pa.py_buffer(rows.astype(np.int64))
    chosen = part.rows.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, wanted]))
    if path.suffix.lower() in PARQUET:
        parquet.write_table(chosen, path)
    elif path.suffix.lower() in workbook.ENDINGS:
        workbook.write(chosen, table, path)
    elif packed.ending(part.name) in json_lines.ENDINGS:
        path.write_bytes(packed.pack(part.name, json_lines.text(chosen)))
    elif part.dialect:
        csv_file.write(chosen, part.dialect, path)
