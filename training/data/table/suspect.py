"""Says what is wrong with a text file that cannot be read as a table, and what to write into `dataset.toml`."""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import pyarrow as pa
from pyarrow import compute

from training.data.table.dialect import Dialect, Numbers, quoted
from training.data.table.lines import count, find, line_at

DELIMITERS = (";", "\t", ",", "|")
CALLED = {"\t": "a tab"}
SAMPLE = 1 << 16  # bytes from which other delimiters are tried
REGULAR = 0.9  # of the lines have as many fields as the first
COMMENTS = ("#", "%", "//", "--", "!", "*")
FOOTER = re.compile(
    r"(grand |sub)?(total|totals|sum|summe|gesamt|gesamtsumme|totale|totaal|suma|somme|soma|razem|average|mean|mittelwert)\b",
    re.IGNORECASE,
)
SAVE = "save it as UTF-8"
Letters = Literal["ascii", "utf-8", "other"]


class Unreadable(ValueError):
    """The file is not a table as declared; the message continues the sentence that begins with its name.

    `declares`: the setting of `[table]` that the hint is about, which holds for all files.
    """

    def __init__(
        self,
        message: str,
        hint: str,
        declares: Literal["", "delimiter", "encoding", "skip_rows", "comment", "quote", "sheet"] = "",
    ) -> None:
        super().__init__(message)
        self.hint, self.declares = hint, declares


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a file, as text, and the column that a table must have."""

    text: str
    target: str
    line: int = 1
    """The line of the file in which it begins."""
    skipped: int = 0
    """Lines before it that `[table] skip_rows` names."""
    quote: str = '"'
    """See Dialect."""

    def check_delimiter(self, delimiter: str, names: Sequence[str]) -> None:
        """Raise Unreadable when another delimiter obviously divides the columns."""
        if self.target in names and self._regular(delimiter):
            return
        found = [each for each in DELIMITERS if each != delimiter and self._regular(each)]
        found = [each for each in found if self.target in self._records(each)[0]] or (found if len(names) == 1 else [])
        if not found:
            return
        better = max(found, key=lambda each: len(self._records(each)[0]))
        columns = len(self._records(better)[0])
        first = f", {self.text.lstrip().splitlines()[0]!r:.120}," if self.target in self._records(better)[0] else ""
        lines = " and ".join((f"delimiter = {quoted(better)}", *self._numbers(better).changes(Numbers())))
        raise Unreadable(
            f"has {called(better)} between its columns: its first line{first} is {columns} columns with {called(better)}, "
            f"and {len(names)} with {called(delimiter)}",
            f"write {lines} under [table] in dataset.toml",
            "delimiter",
        )

    def ragged(self, odd: Sequence[Any], begins: Any, dialect: Dialect) -> Unreadable:
        """Why records have more or fewer fields than the first line; `odd` are pyarrow's InvalidRows, and `begins` the
        lines on which all records begin."""
        first, expected, delimiter = odd[0], odd[0].expected_columns, dialect.delimiter
        fields = f"{first.actual_columns} {'field' if first.actual_columns == 1 else 'fields'}"
        message = f"has {fields} in line {begins[first.number - 1]}, but its first line names {expected} columns"
        if len(odd) > 1:
            message += f" (the first of {len(odd):,} such lines)"
        if line := self._line_of_names(delimiter):
            first_line = next(each for each in self.text.splitlines() if each.strip())
            message = f"begins with {first_line!r:.80}; the names of its columns seem to be in line {line}"
            if mark := comment_mark(self.text.splitlines()[: line - self.line]):
                return Unreadable(message, comments_are(mark), "comment")
            skip = f"write skip_rows = {self.skipped + line - self.line} under [table] in dataset.toml"
            return Unreadable(message, f"{skip}, or delete the lines before it", "skip_rows")
        if all(each.actual_columns == expected + 1 and each.text.rstrip().endswith(delimiter) for each in odd):
            return Unreadable(
                message, f"rows end in one {delimiter!r} more than the first line: delete it, or add one there"
            )
        if mark := comment_mark([each.text for each in odd]):
            return Unreadable(f"{message}: it looks like a comment", comments_are(mark), "comment")
        if dialect.quote == '"' and all(_fields(each.text, delimiter, "'") == expected for each in odd):
            return Unreadable(message, 'write quote = "\'" under [table] in dataset.toml', "quote")
        if first.number == len(begins) - len(odd) + 1 and len(odd) <= 5:
            return Unreadable(f"{message}: the last lines look like a footer", "delete the lines below the table")
        if re.search(rf'{re.escape(delimiter)}[ \t]+"', first.text):
            return Unreadable(
                message, "delete the blanks before quotation marks: a field is quoted from its first character"
            )
        if delimiter == "," and first.actual_columns > expected:
            return Unreadable(
                message, "put texts with a comma into quotation marks; with decimal commas, write ';' between columns"
            )
        return Unreadable(message, "correct the row: a delimiter or a quotation mark is missing, or one too many")

    def _records(self, delimiter: str) -> list[list[str]]:
        """The records of the sample, at most 200, without the last, which may be cut off."""
        try:
            found = [record for record in self._reader(delimiter) if record]
        except csv.Error:  # a field without an end
            return [[]]
        return (found[:-1] if len(self.text) >= SAMPLE / 4 else found)[:200] or [[]]

    def _regular(self, delimiter: str) -> bool:
        """Whether this delimiter gives columns: more than one, and the same number in nearly all lines."""
        names, *rows = self._records(delimiter)
        return len(names) > 1 and sum(len(row) == len(names) for row in rows) >= REGULAR * len(rows)

    def _line_of_names(self, delimiter: str) -> int:
        """The line of the file in which the target's name is, unless that is in the first record or in none: 0."""
        reader, line, first = self._reader(delimiter), self.line, True
        try:
            for record in reader:
                if self.target in record:
                    return 0 if first else line
                line, first = self.line + reader.line_num, first and not record
        except csv.Error:
            pass
        return 0

    def _reader(self, delimiter: str) -> Any:
        return csv.reader(io.StringIO(self.text, newline=""), **Dialect(delimiter, "", quote=self.quote).for_python)

    def _numbers(self, delimiter: str) -> Numbers:
        """How numbers are written, where some column shows it beyond doubt; else the default."""
        _, *rows = self._records(delimiter)
        commas = Numbers(","), Numbers(",", ".")
        for column in zip(*rows, strict=False):
            texts = [text.strip() for text in column if text.strip()]
            for numbers in commas:
                fitting = [text for text in texts if re.match(numbers.pattern, text)]
                if len(fitting) > len(texts) / 2 and any("," in text for text in fitting):
                    dotted = any(
                        re.match(commas[1].pattern, t) and "." in t for c in zip(*rows, strict=False) for t in c
                    )
                    return commas[1] if dotted else commas[0]
        return Numbers()


def called(delimiter: str) -> str:
    """A delimiter in words."""
    return CALLED.get(delimiter, repr(delimiter))


def comment_mark(lines: Sequence[str]) -> str:
    """What all of some lines begin with, those that are empty aside, if comments begin so; else empty."""
    filled = [each.lstrip() for each in lines if each.strip()]
    return next((mark for mark in COMMENTS if filled and all(each.startswith(mark) for each in filled)), "")


def comments_are(mark: str) -> str:
    """What to write when lines that begin like this are comments."""
    return f"write comment = {quoted(mark)} under [table] in dataset.toml, or delete the comments"


def _fields(line: str, delimiter: str, quote: str) -> int:
    """How many fields a line has with another quotation mark; 0: it has no such mark."""
    if quote not in line:
        return 0
    try:
        return len(next(csv.reader([line], delimiter=delimiter, quotechar=quote)))
    except csv.Error:
        return 0


def check_zeros(text: Any, start: bytes) -> None:
    """Raise Unreadable when there is a zero byte, which no text has."""
    if (found := find(text, b"\0")) < 0:
        return
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) / 5:
        encoding = "utf-16-le" if odd > even else "utf-16-be"
        raise Unreadable(
            "looks like UTF-16 without a byte order mark",
            f'write encoding = "{encoding}" under [table] in dataset.toml',
            "encoding",
        )
    line = line_at(text, found)
    raise Unreadable(f"holds a zero byte in line {line}: it is damaged, or not a text", "write the file again")


def letters(whole: Any) -> Letters:
    """Whether bytes are ASCII alone, UTF-8, or something else."""
    data = bytes(memoryview(whole))
    try:
        return "ascii" if data.isascii() else "utf-8" if data.decode() else "ascii"
    except UnicodeDecodeError:
        return "other"


def not_utf_8(text: Any) -> Unreadable:
    """What to say of bytes that are not UTF-8: in which encoding they may be."""
    utf_8, others = [], []
    for number, line in enumerate(bytes(memoryview(text)).splitlines(), 1):
        if not line.isascii():
            try:
                line.decode()
                utf_8.append(number)
            except UnicodeDecodeError:
                others.append((number, line))
    number, _ = others[0] if others else (1, b"")
    if utf_8:
        return Unreadable(
            f"mixes encodings: some lines (e.g. line {utf_8[0]}) are UTF-8, others (e.g. line {number}) are not",
            "write the whole file in one encoding, best in UTF-8: with another [table] encoding the others are garbled",
        )
    return Unreadable(
        f"is not UTF-8 in line {number}",
        'write encoding = "cp1252" under [table] in dataset.toml if it comes from Windows or Excel in Western Europe '
        f'("cp1250": Central Europe, "cp1251": Cyrillic), or {SAVE}',
        "encoding",
    )


def check_names(names: Sequence[str], target: str) -> None:
    """Raise Unreadable when the first line looks like a row."""
    numbers = [name for name in names if re.match(Numbers().pattern, name.strip())]
    if target not in names and len(numbers) >= len(names) / 2:
        raise Unreadable("has no line with the names of its columns: the first one holds numbers", "add one")


def check_quotes(text: Any, begins: Any, dialect: Dialect) -> None:
    """Raise Unreadable when a quotation mark is not closed, so that all that follows is one field, or the file is cut off.

    `begins`: the line on which each row begins."""
    mark = dialect.quote.encode()
    if not len(begins) or not mark or count(text, mark) % 2 == 0:
        return
    whole = bytes(memoryview(text))
    quote, other = re.escape(mark), rf"[^{re.escape(dialect.delimiter)}\r\n]".encode()
    field = rb"(?:Q(?:[^Q]++|QQ)*+QO*|(?!Q)O+)?".replace(b"Q", quote).replace(b"O", other)
    last = b"".join(whole.splitlines(keepends=True)[begins[-1] - 1 :])
    if not re.fullmatch(rb"%b(?:%b%b)*+[\r\n]*" % (field, re.escape(dialect.delimiter).encode(), field), last):
        raise Unreadable(
            f"has a quotation mark in line {begins[-1]} that is not closed",
            'correct the line; where the mark means nothing, write quote = "" under [table] in dataset.toml',
        )


def without_empty(rows: Any) -> tuple[Any, list[str]]:
    """The rows without columns that have neither name nor values, and without empty rows at the end, as spreadsheets
    write them; and what was left out."""
    notes = []
    empty = [i for i, name in enumerate(rows.column_names) if not name.strip() and not _holds_anything(rows.column(i))]
    if empty and len(empty) < rows.num_columns:
        several = f"{len(empty)} columns" if len(empty) > 1 else "a column"
        notes.append(f"has {several} without name and values: left out")
        rows = rows.select([i for i in range(rows.num_columns) if i not in set(empty)])
    last = rows.num_rows
    while last and not any(column[last - 1].as_py().strip() for column in rows.columns):
        last -= 1
    if last < rows.num_rows:
        notes.append(f"ends in empty rows ({rows.num_rows - last:,}): left out")
    return rows.slice(0, last), notes


def repeated_header(rows: Any) -> int | None:
    """The first row, from 0, that is the line of names once more."""
    same = None
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        equal = compute.equal(column, texts(name)[0])
        same = equal if same is None else compute.and_(same, equal)
        if not compute.any(same).as_py():
            return None
    return compute.index(same, compute.equal(texts(""), texts(""))[0]).as_py() if same is not None else None


def footer(rows: Any) -> Iterator[str]:
    """A note when the last row seems to sum up the others."""
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if rows.num_rows and FOOTER.match(column[rows.num_rows - 1].as_py().strip()):
            last = column[rows.num_rows - 1]
            if compute.sum(compute.equal(column, last)).as_py() == 1:
                yield f"ends in a row with {last.as_py()!r:.40} in {name!r}: if it sums up the others, delete it"


def texts(*values: str) -> Any:
    """A pyarrow array of strings, without pandas."""
    raw = [each.encode() for each in values]
    offsets = array("i", [0, *accumulate(map(len, raw))])
    return pa.Array.from_buffers(pa.string(), len(raw), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))])


def _holds_anything(column: Any) -> bool:
    return bool(compute.any(compute.match_substring_regex(column, r"\S")).as_py())
