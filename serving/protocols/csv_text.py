"""CSV in the body of a request: with commas and points, or written as the files of the model's dataset are.

The first line decides: where commas divide it into names of columns, it is the former, unless the dataset has commas, too.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from registry.records import TextRules
from serving.errors import bad_request, show
from serving.protocols.fields import Field
from training.data.table.comments import Comments
from training.data.table.dialect import BLANKS, MARKS, Dialect, Numbers

BATCH = "`trainyard batch` reads files as [batch] delimiter, decimal and encoding say"
TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WHOLE = re.compile(r"[-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class CsvText:
    """What a body holds."""

    names: list[str]
    rows: list[list[str]]
    rules: TextRules | None
    """As which it was read; None: with commas and points."""

    def column(self, field: Field, at: int) -> list[Any]:
        """The column at this place, as JSON would have it; raises Refused."""
        return [self._value(field, row[at], f"column {self.names[at]}[{i}]") for i, row in enumerate(self.rows)]

    def _value(self, field: Field, text: str, path: str) -> Any:
        if self.rules is None or field.dtype in {"string", "bool"}:
            return field.from_text(text)
        written = text.strip()
        if written in {"", *MARKS, *(self.rules.na or ())}:
            return None
        numbers = Numbers(self.rules.decimal, self.rules.thousands)
        if re.match(numbers.pattern, written):
            return _number(written, numbers)
        if (field.low, field.high) == (0, 1) and written in TRUTH:
            return TRUTH[written]
        said = Dialect(self.rules.delimiter or ",", self.rules.encoding or "utf-8").in_words(numbers)
        raise bad_request(
            f"{path}: {show(text)} is not a number", hint=f"the CSV is read as the dataset's files: {said}"
        )


def read(body: bytes, rules: TextRules | None, known: Collection[str]) -> CsvText:
    """The text of a body; `rules`: how the dataset's files are written; `known`: the columns of the model. Raises Refused."""
    text = _decoded(body, rules.encoding if rules else "")
    if rules and rules.delimiter not in {"", ","} and _names_any(text, {}, known):
        rules = None
    records = _as_dataset(text, rules, known) if rules else _records(text, {})
    if len(records) < 2:
        raise bad_request("the CSV has no row", hint="a first line with the names, then one line per row")
    names = records[0]
    if between := _delimiter(names, known):
        hint = f"write ',' between columns and '.' in numbers; {BATCH}"
        raise bad_request(f"the CSV has {between!r} between its columns", hint=hint)
    return CsvText(names, records[1:], rules)


def _as_dataset(text: str, rules: TextRules, known: Collection[str]) -> list[Any]:
    """The records of a text that is written as the dataset's files are; the titles that those have may be left out."""
    how = Dialect(rules.delimiter or ",", "", quote=rules.quote).for_python
    if rules.skip_rows and not _names_any(text, how, known) and not _delimiter(_names(text, how), known):
        text = "".join(text.splitlines(keepends=True)[rules.skip_rows :])
    return _records(Comments(rules.comment, rules.quote).emptied(text.encode()).decode(), how)


def _names_any(text: str, how: dict[str, Any], known: Collection[str]) -> bool:
    """Whether the first line has the name of a column that is known."""
    return bool(set(_names(text, how)) & set(known))


def _names(text: str, how: dict[str, Any]) -> list[str]:
    """The fields of the first line; none where it is not one."""
    try:
        return next(csv.reader([text.partition("\n")[0].rstrip("\r")], strict=True, **how), [])
    except csv.Error:
        return []


def _decoded(body: bytes, encoding: str) -> str:
    """UTF-8 with or without its mark; else as the dataset's files are encoded. Text never holds NUL, and UTF-16 does."""
    for each in ("utf-8-sig", encoding or "utf-8"):
        try:
            text = body.decode(each).removeprefix("\ufeff")
        except UnicodeError:
            continue
        if "\0" not in text:
            return text
    what = f"UTF-8, nor {encoding}" if encoding and encoding != "utf-8" else "UTF-8"
    raise bad_request(f"the CSV is not {what}", hint=f"save it as UTF-8; {BATCH}")


def _records(text: str, how: dict[str, Any]) -> list[list[str]]:
    """All records that are not empty."""
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True, **how) if row]
    except csv.Error as error:
        raise bad_request(f"the CSV cannot be read: {error}") from None


def _delimiter(names: list[str], known: Collection[str]) -> str:
    """What is between the columns where it is not what was expected; empty: it is, or nothing can be known."""
    if set(known) & set(names):
        return ""
    line = ",".join(names)
    return next((each for each in ";\t|" if len(set(line.split(each)) & set(known)) > 1), "")


def _number(written: str, numbers: Numbers) -> float | int:
    if numbers.thousands:
        between = BLANKS if numbers.thousands in BLANKS else numbers.thousands
        written = "".join(each for each in written if each not in between)
    plain = written.replace(numbers.decimal, ".")
    return int(plain) if WHOLE.fullmatch(plain) else float(plain)
