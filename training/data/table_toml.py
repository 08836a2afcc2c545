"""The section `[table]` of `dataset.toml`."""

from __future__ import annotations

import codecs
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from registry.records import DateColumn, Task, TextRules
from training.data.dates import PARTS, as_text, parse
from training.data.spec import Missing
from training.data.toml_values import (
    TASK,
    Check,
    Wrong,
    about_task,
    fraction,
    one_of,
    paths,
    some_of,
    targets,
    text,
    texts,
)

MOST_SKIPPED = 1000
LONGEST_TEXT, MOST_CHARACTERS = 10_000, 1_000_000
LONGEST_MARK = 3
MARKS = frozenset(string.punctuation) - {'"'}
QUOTES = MARKS | {'"'} - set("+-.,")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of CSV, Parquet or other files with the same columns."""

    file: tuple[str, ...]
    target: str = ""
    """Empty: it is `targets` that are predicted, or, of anomalies, nobody has marked any."""
    task: Task = "classification"
    key: str = ""
    group: str = ""
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    missing: Missing = "refuse"
    """Of features. `keep`: NaN and the empty text reach the model; `impute`: what the train split measured is in their place."""
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: rows with equal features are different things that happen to look the same."""
    spellings: Literal["refuse", "distinct"] = "refuse"
    """`distinct`: `1` and `01`, `yes` and `yes `, are different values."""
    delimiter: str = ""
    """Between the columns of a text file; empty: a comma, in a `.tsv` a tab."""
    decimal: Literal[".", ","] = "."
    thousands: str = ""
    """Between groups of digits; empty: numbers have none. A blank means every kind of blank."""
    quote: str = '"'
    """Around a field that holds a delimiter or a line break; empty: quotation marks mean nothing."""
    comment: str = ""
    """Lines of a text file that begin with it, behind blanks or none, mean nothing; empty: every line is a row."""
    skip_rows: int = 0
    """Lines of a text file before the one with the names of the columns, which mean nothing."""
    longest_text: int = LONGEST_TEXT
    """Characters of a text that is a feature."""
    dates: tuple[DateColumn, ...] = ()
    """Columns of dates, of which the model gets parts as numbers."""
    date_format: str = ""
    """Of those that have none of their own; empty: ISO 8601."""
    sheet: str = ""
    """Of an Excel workbook: the one with the rows."""
    encoding: str = ""
    """A codec's name in Python; empty: UTF-8, or what a byte order mark says."""
    na: tuple[str, ...] | None = None
    """The texts that mean missing, beside the empty field; null: see `MARKS`, and only where a column is not declared."""
    split: tuple[str, ...] = ()
    """The columns that `[split]` names: the model does not see them, unless they are declared as inputs."""
    targets: tuple[str, ...] = ()
    """Several columns that are predicted together."""
    threshold: float = 0.5
    """Of multi-label: a label applies from this probability on."""
    quantile: float = 0.99
    """Of anomalies: a sample is one when its score is over that of this share of the train split."""

    @property
    def text(self) -> TextRules | None:
        """How the files are written, for whoever reads others like them; None: nothing is declared."""
        found = TextRules(*(getattr(self, each.name) for each in fields(TextRules)))
        return None if found == TextRules() else found

    @property
    def predicted(self) -> tuple[str, ...]:
        """The columns that are predicted."""
        return self.targets or (self.target,)

    @property
    def texts(self) -> frozenset[str]:
        """The columns that are declared to be text, so that `007` and `NA` are values."""
        target = self.target if self.task == "classification" else ""
        return frozenset({target, self.key, self.group, *self.ignore, *self.categorical, *self.date_names} - {""})

    @property
    def date_names(self) -> frozenset[str]:
        """The columns of dates."""
        return frozenset(each.name for each in self.dates)

    @property
    def dated(self) -> tuple[DateColumn, ...]:
        """The columns of dates, each with its format."""
        return tuple(replace(each, written=each.written or self.date_format) for each in self.dates)

    @property
    def used(self) -> frozenset[str]:
        """The columns that are named here for what they mean."""
        named = {*self.predicted, self.key, self.group, *self.numeric, *self.categorical, *self.date_names, *self.split}
        return frozenset(named - {""})

    @property
    def hidden(self) -> frozenset[str]:
        """The columns that say something about a row, and are not shown to the model."""
        splits = set(self.split) - {*self.numeric, *self.categorical, *self.date_names}
        return frozenset({*self.predicted, self.key, self.group, *self.ignore, *splits} - {""})


def errors_of(table: Mapping[str, Any]) -> Iterator[str]:
    """What does not go together in `[table]`, which holds good values only."""
    yield from _roles(table)
    if table.get("task") == "multi-label" and not table.get("targets"):
        yield '[table] targets: missing; with task = "multi-label" they are the columns of 0 and 1, a label each'
    yield from about_task("table", table)
    if table.get("thousands") == table.get("decimal", "."):
        yield f"[table] thousands: {table['thousands']!r} is [table] decimal, too"
    quote, comment = table.get("quote", '"'), table.get("comment", "")
    for name in ("delimiter", "thousands"):
        if quote and table.get(name) == quote:
            yield f"[table] quote: {quote!r} is [table] {name}, too"
    for name, mark in (("delimiter", table.get("delimiter", ",")), ("quote", quote)):
        if mark and comment.startswith(mark):
            yield f"[table] comment: a row, too, may begin with {mark!r}, which is [table] {name}"


def _roles(table: Mapping[str, Any]) -> Iterator[str]:
    """A column of a table has one role."""
    roles: dict[str, str] = {}
    for role in ("target", "targets", "key", "group", "numeric", "categorical", "ignore", "dates"):
        value = table.get(role, ())
        if role == "dates":
            value = [each.name for each in value]
        for column in (value,) if isinstance(value, str) else value:
            if not column:
                continue
            if column in roles:
                yield f"[table] {role}: {column!r} already is {roles[column]}"
            roles.setdefault(column, role)


def _delimiter(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in '"\r\n\0':
        raise Wrong('one character, such as ";", "|" or "\\t" (in double quotes)')
    return value


def _quote(value: Any) -> str:
    if not isinstance(value, str) or (value and (len(value) > 1 or value not in QUOTES)):
        raise Wrong('one character that is neither a letter nor a digit, such as "\'", or "" where nothing is quoted')
    return str(value)


def _comment(value: Any) -> str:
    marks = set(value) if isinstance(value, str) else set()
    if not marks or len(value) > LONGEST_MARK or not marks <= MARKS or value in {"-", "+", ".", ","}:
        raise Wrong(f'one to {LONGEST_MARK} signs, with which no row begins, such as "#", "%" or "//"')
    return str(value)


def _characters(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_CHARACTERS:
        raise Wrong(f"a whole number of characters, up to {MOST_CHARACTERS:,}")
    return value


def _dates(value: Any) -> tuple[DateColumn, ...]:
    if not isinstance(value, list):
        raise Wrong('a list of columns: ["when"], or [{column = "when", parts = ["year", "month"]}]')
    return tuple(_date(each) for each in value)


def _date(value: Any) -> DateColumn:
    given = {"column": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not given.keys() <= {"column", "parts", "date_format"} or "column" not in given:
        raise Wrong(f'a column; {value!r:.60} is neither its name nor {{column = "…", parts = […], date_format = "…"}}')
    parts = some_of(*PARTS)(given["parts"]) if "parts" in given else ("days",)
    if not parts:
        raise Wrong(f"a list of at least one of {', '.join(map(repr, PARTS))} as parts")
    return DateColumn(text(given["column"]), _format(given["date_format"]) if "date_format" in given else "", parts)


def _format(value: Any) -> str:
    try:
        again = parse(as_text(parse("2026-11-30T14:05:06+00:00"), text(value)), value)
    except ValueError:
        again = None
    if not again or not re.search(r"%[A-Za-z]", value):
        raise Wrong('a format of dates as Python\'s strptime has it, such as "%d.%m.%Y"')
    return str(value)


def _thousands(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value.isalnum() or value in '+-"\r\n\0':
        raise Wrong('one character between groups of digits, such as ".", "," or " "')
    return value


def _lines(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_SKIPPED:
        raise Wrong(f"a whole number of lines, up to {MOST_SKIPPED:,}")
    return value


def _encoding(value: Any) -> str:
    try:
        "a".encode(text(value))
        return codecs.lookup(value).name
    except (LookupError, ValueError):
        raise Wrong('an encoding, such as "utf-8", "cp1252" or "utf-16"') from None


def _marks(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Wrong('a list of the texts that mean missing, such as ["?", "-"]')
    return tuple(dict.fromkeys(each.strip() for each in value))


TABLE: dict[str, Check] = {
    "file": paths,
    "target": text,
    "targets": targets,
    "task": TASK,
    "threshold": fraction,
    "quantile": fraction,
    "key": text,
    "group": text,
    "numeric": texts,
    "categorical": texts,
    "ignore": texts,
    "missing": one_of("refuse", "drop", "keep", "impute"),
    "duplicates": one_of("refuse", "allow"),
    "spellings": one_of("refuse", "distinct"),
    "delimiter": _delimiter,
    "decimal": one_of(".", ","),
    "thousands": _thousands,
    "quote": _quote,
    "comment": _comment,
    "skip_rows": _lines,
    "longest_text": _characters,
    "dates": _dates,
    "date_format": _format,
    "sheet": text,
    "encoding": _encoding,
    "na": _marks,
}
