"""Turns the columns of a table into what a model can use: numbers, categories and labels; reports those that cannot be."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute

from registry.records import DateColumn
from registry.spelling import difference, name_spelling, shown
from training.data import dates
from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.label_matrix import ONES, ZERO_OR_ONE
from training.data.marks import MARK_HINT, MARKS
from training.data.table import dated
from training.data.table.dialect import quoted
from training.data.table.parallel import in_threads
from training.data.table.read import MixedTypes, Rows
from training.data.table.slips import Counted, doubtful, leading_zeros, slip_in
from training.data.table.typed import as_numpy, numbers_of, typed
from training.data.table_toml import MOST_CHARACTERS

THERE = "every column that dataset.toml names is there"
USABLE = "every column has a type that a model can use"
LABELS = "every row has a label"
MOST_TEXT = 4 << 30
"""Bytes of a column of texts in the splits: NumPy gives every row as much room as the longest one, four bytes a character."""
FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1}
IGNORE = "list it under [table] ignore"


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column."""

    name: str
    kind: Literal["numeric", "categorical"]
    values: Any
    """NumPy array, one entry per row: float64, NaN where it is missing; of categories int32, the place of each in `texts`."""
    texts: tuple[str, ...] = ()
    """The different categories in the order in which they come; behind them the empty text, which means a missing value."""
    source: str = ""
    """The column of dates that it is a part of."""

    @property
    def missing(self) -> Any:
        """NumPy array of bool: the rows without a value."""
        return np.isnan(self.values) if self.kind == "numeric" else self.values == len(self.texts) - 1

    def counts(self, rows: Any = slice(None)) -> dict[str, int]:
        """Category → how many rows (all, or NumPy array of indices) have it, in their order; without those that none has."""
        found = np.bincount(self.values[rows], minlength=len(self.texts)).tolist()
        return {text: count for text, count in zip(self.texts[:-1], found, strict=False) if count}


@dataclass(frozen=True, slots=True)
class Content:
    """A table whose columns can be used; all lists have one entry per row, of the files as they are."""

    features: list[Feature]
    labels: Any
    """See `ColumnReader.labels`."""
    names: Sequence[str]
    """What each row is called: its key, else its file and number."""
    groups: list[str]
    """Empty when `[table] group` is not set."""
    dates: dict[str, Any] = field(default_factory=dict)
    """Column of dates → NumPy array of objects: the text of each row, None where it is missing; as `[table] dates` lists them."""


class ColumnReader:
    """Reads the columns of a table by the roles that `dataset.toml` gives them; what is wrong goes to `checks`."""

    def __init__(self, rows: Rows, table: Table, checks: Checks) -> None:
        self._rows, self._table, self._checks = rows, table, checks
        self.dates: dict[str, Any] = {}
        """Column of dates → NumPy array of objects: the text of each row, None where it is missing. `features` fills it."""

    def check_named(self) -> bool:
        """Whether all columns that `dataset.toml` names are there."""
        self._checks.make(THERE)
        table, found = self._table, True
        roles: dict[str, tuple[str, ...]] = {"targets" if table.targets else "target": table.predicted}
        roles |= {"key": (table.key,), "group": (table.group,)}
        roles |= {"numeric": table.numeric, "categorical": table.categorical, "ignore": table.ignore}
        roles |= {"dates": tuple(each.name for each in table.dates)}
        for role, wanted in roles.items():
            for name in wanted:
                if name and name not in self._rows.columns:
                    message = f"[table] {role}: there is no column {self.suggest(name)}"
                    self._checks.fail(THERE, message, "put the column back into the table, or correct dataset.toml")
                    found = False
        return found

    def suggest(self, name: str) -> str:
        """A column that is not there, with one that may be meant."""
        columns = self._rows.columns
        if same := [each for each in columns if name_spelling(each) == name_spelling(name)]:
            ours, theirs = shown(name, same[0])
            return f"{ours}, but {theirs}; they differ in {difference(name, same[0])}"
        near = difflib.get_close_matches(name, columns, n=1)
        return f"{name!r}" + (f", did you mean {near[0]!r}?" if near else "")

    def features(self) -> list[Feature]:
        """All input columns in the order of the first file; those that cannot be used are reported and left out."""
        self._checks.make(USABLE)
        others = {*self._table.hidden, *self._rows.index}
        for name in self._rows.index:
            called = f"column {name!r}" if name else "the first column, which has no name,"
            use = "; to use it all the same, list it under [table] numeric or categorical" if name else ""
            self._checks.note(f"{called} is the index of a pandas DataFrame, and no input{use}")
        names = [name for name in dict.fromkeys(self._rows.columns) if name not in others]
        if not names:
            self._checks.fail(
                USABLE,
                "no column is left as an input",
                "put a column beside the target; columns under [table] ignore, key and group are not inputs",
            )
        rules, features = {each.name: each for each in self._table.dated}, list[Feature | None]()
        for name, read in zip(names, in_threads(self._read, names), strict=True):
            column = self._checked(name, read)
            features += self._parts_of(rules[name], column) if name in rules else [self._feature(name, column)]
        for name in {each for rule in rules.values() for each in rule.features} & set(self._rows.columns):
            message = f"[table] dates make an input {name!r}, and there is a column of that name"
            self._checks.fail(USABLE, message, "rename the column")
        return [feature for feature in features if feature]

    def labels(self) -> Any:
        """The target of each row: texts (str | None) for classification, float64 (NaN: missing) for regression; with several
        targets float64 of shape (rows, targets), and of multi-label uint8 of that shape, 0 and 1; of anomalies float64: 1, 0, or NaN
        where nobody has said.

        None when a column cannot be used.
        """
        self._checks.make(LABELS)
        if self._table.task == "anomaly":
            return self._marks(self._table.target)
        found = [self._labels(name) for name in self._table.predicted]
        if any(each is None for each in found):
            return None
        if self._table.task == "multi-label":
            flags = [self._flags(*each) for each in zip(self._table.targets, found, strict=True)]
            return None if any(each is None for each in flags) else np.stack(flags, axis=1)
        return np.stack(found, axis=1) if self._table.targets else found[0]

    def _labels(self, target: str) -> Any:
        column = self.column(target)
        if column is None:
            return None
        if pa.types.is_null(column.type):
            self._checks.fail(LABELS, f"target {target!r} is empty in every row", "fill it in", len(column))
            return None
        values = self._numbers_to_predict(target, column) if self._table.task == "regression" else self._classes(column)
        if values is None:
            return None
        missing = np.isnan(values) if self._table.task == "regression" else values == None  # noqa: E711
        hint = "fill in the label, or delete the row"
        if missing.any() and self._table.task == "classification" and (marks := self._rows.marks(target)):
            said = ", ".join(f"{mark!r} in {count:,}" for mark, count in marks.items())
            hint += (
                f"; {said} rows is read as missing: where it is a class, write na = [] under [table] in dataset.toml"
            )
        for row in np.flatnonzero(missing).tolist():
            message = f"{self._rows.where(row)} has no {target!r}"
            self._checks.fail(LABELS, message, hint)
        return values

    def _flags(self, name: str, values: Any) -> Any:
        """Whether each row has a label, as uint8; None where it is not said by 0 and 1, or true and false."""
        self._checks.make(ONES)
        known = [FLAGS.get(str(each).lower()) for each in values]
        wrong = [row for row, flag in enumerate(known) if flag is None and values[row] is not None]
        if wrong:
            message = f"label {name!r} is {values[wrong[0]]!r:.60} in {self._rows.where(wrong[0])}"
            self._checks.fail(ONES, message, f"{ZERO_OR_ONE}, or true and false", len(wrong))
        return None if None in known else np.array(known, dtype=np.uint8)

    def _marks(self, name: str) -> Any:
        """Whether each row is anomalous; None where it is not said by 0 and 1, or true and false."""
        self._checks.make(MARKS)
        unknown = np.full(len(self._rows), np.nan)
        column = self.column(name) if name else None
        if not name or (column is not None and pa.types.is_null(column.type)):
            return unknown
        values = None if column is None else self._classes(column)
        if values is None:
            return None
        known = [FLAGS.get(str(each).lower()) for each in values]
        wrong = [row for row, flag in enumerate(known) if flag is None and values[row] is not None]
        if wrong:
            message = f"{name!r} is {values[wrong[0]]!r:.60} in {self._rows.where(wrong[0])}"
            self._checks.fail(MARKS, message, f"{MARK_HINT}; true and false are read, too", len(wrong))
            return None
        return np.array([np.nan if each is None else each for each in known], dtype=np.float64)

    def texts(self, name: str, check: str) -> list[str]:
        """The key or the group of each row; a row without one fails `check`."""
        self._checks.make(check)
        column = self.column(name)
        values: list[str | None] = [] if column is None else _text(column).to_pylist()
        for row, value in enumerate(values):
            if value is None:
                self._checks.fail(check, f"{self._rows.where(row)} has no {name!r}", "fill it in, or delete the row")
        return [value or "" for value in values]

    def column(self, name: str) -> Any:
        """One column of all files; None when its types do not go together, which is reported."""
        return self._checked(name, self._read(name))

    def _read(self, name: str) -> Any:
        try:
            return self._rows.column(name)
        except MixedTypes as error:
            return error

    def _checked(self, name: str, read: Any) -> Any:
        if not isinstance(read, MixedTypes):
            return read
        kinds: dict[str, str] = {}
        for kind, file in read.kinds.items():
            kinds.setdefault(_called(kind), file)
        mixture = " and ".join(f"{kind} in {file}" for kind, file in kinds.items())
        self._checks.fail(USABLE, f"column {name!r} holds {mixture}", "store the same kind of value in all files")
        return None

    def _feature(self, name: str, column: Any) -> Feature | None:
        if column is None:
            return None
        kind = column.type
        if pa.types.is_null(kind):
            self._checks.fail(USABLE, f"column {name!r} is empty in every row", f"fill it in, or {IGNORE}")
            return None
        if not _is_simple(kind):
            as_dates = (
                f"write dates = [{quoted(name)}] under [table] in dataset.toml, or "
                if pa.types.is_temporal(kind)
                else ""
            )
            self._checks.fail(
                USABLE, f"column {name!r} holds {_called(kind)}", f"{as_dates}{IGNORE}, or store a number"
            )
            return None
        categorical, numeric = name in self._table.categorical, name in self._table.numeric
        if pa.types.is_string(kind) and not categorical:
            as_numbers = f"numeric = [{quoted(name)}] reads them as numbers"
            found = Counted(column, numbers_of(self._table))
            if slip := slip_in(name, found, self._rows, self._table, numeric=numeric):
                texts = not (numeric or self._rows.has_text_files) and slip.hint.startswith(("write", "if they mean"))
                hint = f"{slip.hint}; the file stores texts: {as_numbers}" if texts else slip.hint
                self._checks.fail(USABLE, slip.message, hint, slip.count)
                return None
            if not pa.types.is_string(typed(found.values, self._table).type) and not numeric:
                self._checks.note(f"column {name!r} holds numbers, stored as texts: they are categories; {as_numbers}")
            self._note_doubts(name, found)
        if numeric or (_is_number(kind) and not categorical):
            for note in leading_zeros(name, self._rows) if pa.types.is_integer(kind) and not numeric else ():
                self._checks.note(note)
            return Feature(name, "numeric", _numbers(column))
        return self._category(name, column)

    def _parts_of(self, rule: DateColumn, column: Any) -> list[Feature]:
        """The parts of a column of dates; none when a row cannot be read."""
        if column is None:
            return []
        if pa.types.is_null(column.type):
            self._checks.fail(USABLE, f"column {rule.name!r} is empty in every row", f"fill it in, or {IGNORE}")
            return []
        texts = dated.texts_of(column, rule.written)
        if texts is None:
            stored = f"column {rule.name!r} holds {_called(column.type)}"
            hint = (
                "leave date_format out: the file stores dates" if pa.types.is_temporal(column.type) else "store dates"
            )
            self._checks.fail(USABLE, f"{stored}, not dates {dates.in_words(rule.written)}", hint, len(column))
            return []
        if wrong := dated.unreadable(texts, rule, self._rows):
            self._checks.fail(USABLE, wrong.message, wrong.hint, wrong.count)
            return []
        self.dates[rule.name] = np.array(texts, dtype=object)
        values = dates.numbers(texts, rule)
        return [Feature(name, "numeric", values[:, i], source=rule.name) for i, name in enumerate(rule.features)]

    def _note_doubts(self, name: str, found: Counted) -> None:
        """How the texts of a column that is not declared were read, where that may be wrong."""
        for note in doubtful(name, found, self._table):
            self._checks.note(note)
        if self._table.na is None and found.column.null_count and (marks := self._rows.marks(name)):
            said = ", ".join(f"{mark!r} in {count:,} rows" for mark, count in marks.items())
            declare = f"categorical = [{quoted(name)}] takes them as values"
            self._checks.note(f"column {name!r}: {said} are read as missing; {declare}")

    def _category(self, name: str, column: Any) -> Feature | None:
        values, texts = categories(column)
        lengths = np.array([len(text) for text in texts])
        allowed, most = self._table.longest_text, int(lengths.max())
        row = int((lengths == most)[values].argmax())
        if most > allowed:
            message = f"column {name!r} holds {most:,} characters in {self._rows.where(row)}"
            longer = f", write longest_text = {most} under [table] in dataset.toml" if most <= MOST_CHARACTERS else ""
            self._checks.fail(USABLE, message, f"shorten it to {allowed:,} characters{longer}, or {IGNORE}")
            return None
        if (size := 4 * most * len(values)) > MOST_TEXT:
            message = (
                f"column {name!r} would take {size >> 30:,} GB: every row has the room of the longest text, "
                f"{most:,} characters in {self._rows.where(row)}"
            )
            self._checks.fail(
                USABLE, message, f"shorten the longest texts, so that it takes {MOST_TEXT >> 30} GB, or {IGNORE}"
            )
            return None
        return Feature(name, "categorical", values, texts)

    def _numbers_to_predict(self, target: str, column: Any) -> Any:
        if _is_number(column.type):
            return _numbers(column)
        slip = (
            slip_in(
                target, Counted(column, numbers_of(self._table)), self._rows, self._table, numeric=True, what="target"
            )
            if pa.types.is_string(column.type)
            else None
        )
        hint = 'for classes, set [table] task = "classification"'
        if self._table.targets:
            hint = "take it out of [table] targets: several targets are numbers"
        self._checks.fail(
            USABLE,
            slip.message if slip else f"target {target!r} holds {_called(column.type)}, not numbers",
            f"{slip.hint}; {hint}" if slip else hint,
            slip.count if slip else len(column),
        )
        return None

    def _classes(self, column: Any) -> Any:
        flags = self._table.task != "classification"
        target = f"target {self._table.target!r}" if self._table.target else "a target"
        if not _is_simple(column.type):
            self._checks.fail(USABLE, f"{target} holds {_called(column.type)}", "store a class name or a number")
            return None
        if _holds_decimals(typed(column, self._table) if pa.types.is_string(column.type) else column):
            hint = ZERO_OR_ONE if flags else 'set [table] task = "regression", or store class names'
            self._checks.fail(USABLE, f"{target} holds decimal numbers, not classes", hint)
            return None
        values, texts = categories(column)
        return np.array([*texts[:-1], None], dtype=object)[values]


def categories(column: Any) -> tuple[Any, tuple[str, ...]]:
    """The values and the texts of a categorical `Feature` with this column."""
    encoded = _text(column).dictionary_encode().unify_dictionaries()
    texts = encoded.chunk(0).dictionary.to_pylist() if encoded.num_chunks else []
    places = np.array(as_numpy(pa.chunked_array([each.indices for each in encoded.chunks], pa.int32())))
    places[_missing(encoded)] = len(texts)
    return places, (*texts, "")


def _text(column: Any) -> Any:
    """A column as text: `true`, `false`, digits (`1` for 1.0, as Parquet has whole numbers with gaps), or what it was."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _is_number(kind: Any) -> bool:
    """Whether a pyarrow type is a whole or a floating number."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_simple(kind: Any) -> bool:
    """Whether a pyarrow type is a number, a truth value or text."""
    return _is_number(kind) or bool(pa.types.is_boolean(kind) or pa.types.is_string(kind))


def _numbers(column: Any) -> Any:
    """A column as a NumPy array of float64, NaN where it is null."""
    values = as_numpy(column.cast(pa.float64(), safe=False))  # safe: no whole number above 2**53
    if not column.null_count:
        return values
    values = np.array(values)
    values[_missing(column)] = np.nan
    return values


def _missing(column: Any) -> Any:
    return as_numpy(compute.is_null(column))


def _holds_decimals(column: Any) -> bool:
    if not pa.types.is_floating(column.type):
        return False
    numbers = _numbers(column)
    numbers = numbers[~np.isnan(numbers)]
    return bool((numbers != np.floor(numbers)).any())


def _called(kind: Any) -> str:
    if pa.types.is_temporal(kind):
        return f"dates or times ({kind})"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"bytes, not text ({kind})"
    if _is_number(kind):
        return "numbers"
    return "text" if pa.types.is_string(kind) else f"values of type {kind}"
