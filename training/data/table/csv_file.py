"""Reads a text file of columns through pyarrow, every field as the text that it is; writes rows as the file has them."""

from __future__ import annotations

import codecs
import csv as python_csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from pyarrow import compute, csv

from training.data.dataset_toml import Table
from training.data.table import lines, packed, suspect
from training.data.table.comments import Comments
from training.data.table.content import known_kind
from training.data.table.dialect import Dialect, quoted
from training.data.table.suspect import Unreadable

ENDINGS = {".csv": ",", ".tsv": "\t", ".txt": ","}
"""The endings of text files, and what is between their columns unless `delimiter` is declared."""
BOMS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UTF_8 = ("utf-8", "utf-8-sig", "ascii")
LONGEST_HEADER = 1 << 20  # bytes
COMMAS = Dialect(",", "utf-8")
START = 4096


@dataclass(frozen=True, slots=True)
class CsvFile:
    """What a text file holds."""

    rows: Any
    """pyarrow.Table of strings, without null: a field that is empty is the empty text."""
    lines: Any
    """NumPy array: the line of the file on which each row begins, as an editor numbers it."""
    dialect: Dialect
    notes: tuple[str, ...] = ()


def read(path: Path, table: Table) -> CsvFile:
    """Read the file; raises Unreadable, pa.ArrowInvalid or OSError when it cannot be."""
    whole = packed.read(path)
    start = bytes(memoryview(whole)[:START])
    if kind := known_kind(start):
        raise Unreadable(f"is {kind[0]}, not a table in text", kind[1] + packed.rename(start))
    text, encoding, notes = _decoded(whole, start, table.encoding)
    first_line, delimiter, begin = declared_inside(text, table, ENDINGS[packed.ending(path.name)])
    dialect = Dialect(delimiter, encoding, first_line, table.quote, table.comment)
    text = _without_comments(text, begin, dialect)
    header, end = header_of(text, begin, dialect.quote)
    names = names_in(header, dialect)
    if not names:
        raise Unreadable("has no line with the names of columns", "add one")
    beginning = bytes(memoryview(text)[begin : begin + suspect.SAMPLE]).decode(errors="replace")
    sample = suspect.Sample(beginning, table.predicted[0], lines.line_at(text, begin), table.skip_rows, dialect.quote)
    sample.check_delimiter(delimiter, names)
    suspect.check_names(names, table.predicted[0])
    rows = _rows(text, end, names, dialect, sample)
    begins = lines.of_records(text, end, rows)
    suspect.check_quotes(text, begins, dialect)
    rows, more = suspect.without_empty(rows)
    return CsvFile(rows, begins, dialect, (*notes, *more, *suspect.footer(rows)))


def parse_options(dialect: Dialect, odd: Callable[[Any], str] | None) -> Any:
    """How records are parsed; `odd` is asked about those with more or fewer fields than the header."""
    return csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char=dialect.quote or False,
        newlines_in_values=bool(dialect.quote),
        invalid_row_handler=odd,
    )


def convert_options(names: list[str], kind: Any) -> Any:
    """Every field is what is written, whatever it looks like."""
    return csv.ConvertOptions(column_types=dict.fromkeys(names, kind), strings_can_be_null=False)


def write(rows: Any, dialect: Dialect, path: Path) -> None:
    """Write rows that `read` has read, with the same delimiter, in the same encoding; fields in quotes only where needed."""
    written = _in_utf_8(rows, dialect)
    if dialect.encoding not in {"utf-8", "ascii"}:
        written = written.decode().encode(dialect.encoding)
    path.write_bytes(packed.pack(path.name, written))


def text(rows: Any, dialect: Dialect) -> str:
    """The text of a file with these rows, a pyarrow.Table of strings; fields in quotes only where needed."""
    return _in_utf_8(rows, dialect).decode()


def _in_utf_8(rows: Any, dialect: Dialect) -> bytes:
    head = header_text(rows.column_names, dialect)
    if (body := unquoted(rows, dialect)) is None:  # some field needs quotes
        body = _quoted(zip(*(column.to_pylist() for column in rows.columns), strict=True), dialect).encode()
    return (dialect.first_line + head).encode() + body


def header_text(names: list[str], dialect: Dialect) -> str:
    """The first line, with quotes where a name needs them."""
    return _quoted([names], dialect)


def _quoted(rows: Iterable[Sequence[str]], dialect: Dialect) -> str:
    """Lines of a file, with quotes where a field needs them. Raises Unreadable where nothing can be quoted, and a field needs it."""
    made = io.StringIO(newline="")
    writer = python_csv.writer(made, **dialect.for_python, lineterminator="\n")
    every = python_csv.writer(
        made,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or '"',
        quoting=python_csv.QUOTE_ALL,
        lineterminator="\n",
    )
    try:
        for row in rows:
            like_comment = dialect.comment and row[0].lstrip(" \t").startswith(dialect.comment)
            (every if like_comment and dialect.quote else writer).writerow(row)
    except python_csv.Error:
        raise Unreadable(
            f"cannot hold a field with {suspect.called(dialect.delimiter)} or a line break: nothing is quoted",
            'set [table] quote = """ if the files hold no quotation mark',
        ) from None
    return made.getvalue()


def unquoted(rows: Any, dialect: Dialect) -> bytes | None:
    """Rows in UTF-8 without a header; None when some field needs quotes."""
    if dialect.quote not in {"", '"'} and any(_any_holds(each, re.escape(dialect.quote)) for each in rows.columns):
        return None
    if dialect.comment and _any_holds(rows.column(0), rf"^[ \t]*{re.escape(dialect.comment)}"):
        return None
    body = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, delimiter=dialect.delimiter, quoting_style="none")
    try:
        csv.write_csv(rows, body, options)
    except pa.ArrowInvalid:
        return None
    return cast("bytes", body.getvalue().to_pybytes())


def _any_holds(column: Any, pattern: str) -> bool:
    return bool(compute.any(compute.match_substring_regex(column, pattern)).as_py())


def encoding_of(start: bytes, declared: str) -> str:
    """The encoding of a file that begins with `start`, as a codec of Python; raises Unreadable when another is declared."""
    marked = _mark(start)[1]
    if declared and not declared.startswith(marked.removesuffix("-sig")):
        hint = f"write encoding = {quoted(marked)} under [table] in dataset.toml"
        shown = marked.removesuffix("-sig").upper()
        raise Unreadable(f"begins with the byte order mark of {shown}, but {declared} is declared", hint, "encoding")
    return declared or marked or "utf-8"


def _mark(start: bytes) -> tuple[bytes, str]:
    return next(((mark, name) for mark, name in BOMS if start.startswith(mark)), (b"", ""))


def _decoded(whole: Any, start: bytes, declared: str) -> tuple[Any, str, list[str]]:
    """The text as a buffer of UTF-8 without a byte order mark, its encoding, and notes."""
    mark, marked = _mark(start)
    wide = marked.startswith(("utf-16", "utf-32"))
    encoding = encoding_of(start, declared)
    if encoding in UTF_8:
        text = whole.slice(len(mark)) if marked == "utf-8-sig" else whole
        suspect.check_zeros(text, start)
        return text, marked or encoding, []
    if encoding.startswith(("utf-16", "utf-32")) and not wide and b"\0" not in start:
        raise Unreadable(f"is not encoded as {encoding}, which is declared", "correct [table] encoding")
    notes = []
    if not wide and suspect.letters(whole) == "utf-8":
        notes.append(f"is read as {encoding}, as declared, though it is valid UTF-8: are its letters right?")
    try:
        decoded = bytes(memoryview(whole)).decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = bytes(memoryview(whole)[: error.start]).decode(encoding, "replace")
        line = 1 + lines.breaks(before.encode("utf-8", "replace"))
        raise Unreadable(
            f"is not encoded as {encoding}: line {line} cannot be read", "correct [table] encoding"
        ) from None
    text = pa.py_buffer(decoded.encode("utf-8", "replace"))
    suspect.check_zeros(text, start)
    return text, encoding, notes


def declared_inside(text: Any, table: Table, default: str) -> tuple[str, str, int]:
    """What is before the names of the columns (the line `sep=;` that Excel reads, and `[table] skip_rows` lines), what is
    between columns, and where the rest of the file begins.

    Raises Unreadable."""
    first_line, delimiter, begin = _sep_line(text, table, default)
    if not table.skip_rows:
        return first_line, delimiter, begin
    start = bytes(memoryview(text)[begin : begin + LONGEST_HEADER])
    ends = [each.end() for each in islice(re.finditer(rb"\r\n|\n|\r", start), table.skip_rows)]
    if len(ends) < table.skip_rows:
        raise Unreadable(f"has no {table.skip_rows} lines to skip", "correct [table] skip_rows, or the file")
    return first_line + start[: ends[-1]].decode(errors="replace"), delimiter, begin + ends[-1]


def _sep_line(text: Any, table: Table, default: str) -> tuple[str, str, int]:
    found = re.match(rb'"?sep=(.)"?(?:\r\n|\n|\r)', bytes(memoryview(text)[:20]), re.IGNORECASE)
    if not found:
        return "", table.delimiter or default, 0
    inside = found[1].decode(errors="replace")
    if table.delimiter not in {"", inside}:
        hint = f"write delimiter = {quoted(inside)} under [table] in dataset.toml, or correct the file's first line"
        raise Unreadable(
            f"says {found[0].decode().strip()!r} in its first line, but {table.delimiter!r} is declared", hint
        )
    return found[0].decode(), inside, found.end()


def _without_comments(text: Any, begin: int, dialect: Dialect) -> Any:
    """The text of a file, a buffer, with the comments behind `begin` emptied."""
    if not dialect.comment:
        return text
    whole = bytes(memoryview(text))
    return pa.py_buffer(whole[:begin] + Comments(dialect.comment, dialect.quote).emptied(whole[begin:]))


def names_in(header: str, dialect: Dialect) -> list[str]:
    """The names of the columns in the record that holds them."""
    return next(python_csv.reader(io.StringIO(header, newline=""), **dialect.for_python), [])


def header_of(text: Any, begin: int, quote: str) -> tuple[str, int]:
    """The record with the names of the columns, and where the next one begins; empty lines before it are passed over.

    Raises Unreadable."""
    start = bytes(memoryview(text)[begin : begin + LONGEST_HEADER])
    at = len(start) - len(start.lstrip(b"\r\n"))
    for line in re.finditer(rb"\r\n|\n|\r", start[at:]):
        record = start[at : at + line.start()]
        if not quote or record.count(quote.encode()) % 2 == 0:
            break
    else:
        if len(start) == LONGEST_HEADER:
            raise Unreadable("has a first line that does not end: is a quotation mark missing?", "correct the file")
        record, line = start[at:], None
    try:
        return record.decode(), begin + at + (line.end() if line else len(record))
    except UnicodeDecodeError:
        raise suspect.not_utf_8(text) from None


def _rows(text: Any, begin: int, names: list[str], dialect: Dialect, sample: suspect.Sample) -> Any:
    """The records from `begin` as a pyarrow.Table of strings; raises Unreadable for those with more or fewer fields than names."""
    odd: list[Any] = []

    def parse(block: int | None = None, *, slow: bool = False) -> Any:
        def keep(row: Any) -> str:
            odd.append(row)
            return "skip"

        return csv.read_csv(
            pa.BufferReader(text.slice(begin)),
            csv.ReadOptions(column_names=names, use_threads=not slow, block_size=block),
            parse_options(dialect, keep if slow else None),
            convert_options(names, pa.string()),
        )

    if text.size - begin < START and not bytes(memoryview(text)[begin:]).strip(b"\r\n"):
        return pa.table([pa.nulls(0, pa.string()) for _ in names], names)
    try:
        return parse()
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise suspect.not_utf_8(text) from None
        block = min(text.size + 1, (1 << 31) - 1) if "straddling" in str(error) else None  # one field of megabytes
    try:
        rows = parse(block, slow=True)
    except pa.ArrowInvalid as error:
        raise (suspect.not_utf_8(text) if "UTF8" in str(error) else error) from None
    if odd:
        begins = lines.of_records(text, begin, rows, odd)
        raise sample.ragged(odd, begins, dialect)
    return rows
