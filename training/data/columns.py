"""Turns the columns of a table into what a model can use: numbers, categories and labels; tells why it cannot."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute

from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.table_files import Part, join

THERE = "every column that dataset.toml names is there"
USABLE = "every column has a type that a model can use"
LABELS = "every row has a label"
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
FLOAT64_WHOLE = 2**53  # from here on float64 does not hold every whole number
MOSTLY = 0.9  # a text column with more numbers than this is a numeric column with a slip
LONGEST = 10_000  # characters; NumPy gives every row as much room as the longest text


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column. `values` has one entry per row: float64 with NaN, or text with None, where it is missing."""

    name: str
    kind: Literal["numeric", "categorical"]
    values: Any
    """NumPy array: float64, or object (str | None)."""

    @property
    def missing(self) -> Any:
        """NumPy array of bool: the rows without a value."""
        return np.isnan(self.values) if self.kind == "numeric" else self.values == None  # noqa: E711


class Places:
    """Says where a row stands: the file and the row in it, from 1, not counting a header."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(part.rows.num_rows for part in parts)]
        self.rows = self._starts[-1]

    def __call__(self, row: int) -> str:
        """E.g. `data.csv row 17`."""
        part, inside = self.split(row)
        return f"{self._parts[part].name} row {inside + 1}"

    def split(self, row: int) -> tuple[int, int]:
        """The number of the file, and the row in it, from 0."""
        part = bisect_right(self._starts, row) - 1
        return part, row - self._starts[part]


def check_named(parts: Sequence[Part], table: Table, checks: Checks) -> bool:
    """Whether all columns that `dataset.toml` names are there."""
    checks.make(THERE)
    names = parts[0].rows.column_names
    roles: dict[str, tuple[str, ...]] = {"target": (table.target,), "key": (table.key,), "group": (table.group,)}
    roles |= {"numeric": table.numeric, "categorical": table.categorical, "ignore": table.ignore}
    found = True
    for role, wanted in roles.items():
        for name in wanted:
            if name and name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                message = f"[table] {role}: there is no column {name!r}" + (
                    f", did you mean {near[0]!r}?" if near else ""
                )
                checks.fault(THERE, message, "put the column back into the table, or correct dataset.toml")
                found = False
    return found


def read_features(parts: Sequence[Part], table: Table, checks: Checks, places: Places) -> list[Feature]:
    """All input columns in the order of the first file; those that cannot be used are told and left out."""
    checks.make(USABLE)
    others = {table.target, table.key, table.group, *table.ignore}
    names = [name for name in dict.fromkeys(parts[0].rows.column_names) if name not in others]
    if not names:
        checks.fault(USABLE, "no column is left as an input", "take some out of [table] ignore")
    features = [_feature(parts, name, table, checks, places) for name in names]
    return [feature for feature in features if feature]


def _feature(parts: Sequence[Part], name: str, table: Table, checks: Checks, places: Places) -> Feature | None:
    column = joined(parts, name, checks)
    if column is None:
        return None
    if "/" in name:
        checks.fault(
            USABLE, f"column {name!r}: Keras allows no '/' in a name", "rename the column, or list it under ignore"
        )
    wanted = "numeric" if name in table.numeric else "categorical" if name in table.categorical else ""
    kind = column.type
    if pa.types.is_null(kind):
        checks.fault(USABLE, f"column {name!r} is empty in every row", "fill it in, or list it under [table] ignore")
        return None
    if not (is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)):
        checks.fault(
            USABLE, f"column {name!r} holds {_called(kind)}", "list it under [table] ignore, or store a number"
        )
        return None
    if pa.types.is_string(kind) and wanted != "categorical":
        odd = _not_numbers(column)
        if wanted == "numeric" and odd:
            message = f"column {name!r} is listed as numeric, but {places(odd[0])} holds {column[odd[0]].as_py()!r:.80}"
            checks.fault(USABLE, message, "correct the value, or list the column under categorical", len(odd))
            return None
        if odd and len(odd) < (1 - MOSTLY) * (len(column) - column.null_count):
            message = f"column {name!r} holds numbers, but {places(odd[0])} holds {column[odd[0]].as_py()!r:.80}"
            checks.fault(USABLE, message, "correct the value, or list the column under categorical", len(odd))
            return None
    if wanted == "numeric" or (is_number(kind) and not wanted):
        return Feature(name, "numeric", _numbers(column))
    return _category(name, column, checks, places)


def _category(name: str, column: Any, checks: Checks, places: Places) -> Feature | None:
    values = np.array(text(column).to_pylist(), dtype=object)
    longest = max(range(len(values)), key=lambda row: len(values[row] or ""))
    if len(values[longest] or "") > LONGEST:
        message = f"column {name!r} holds {len(values[longest]):,} characters in {places(longest)}"
        checks.fault(USABLE, message, f"shorten it to {LONGEST:,} characters, or list it under [table] ignore")
        return None
    return Feature(name, "categorical", values)


def read_labels(parts: Sequence[Part], table: Table, checks: Checks, places: Places) -> Any:
    """The target of each row: texts (str | None) for classification, float64 (NaN: missing) for regression.

    None when the column cannot be used.
    """
    checks.make(LABELS)
    column = joined(parts, table.target, checks)
    if column is None:
        return None
    kind = column.type
    if pa.types.is_null(kind):
        checks.fault(LABELS, f"target {table.target!r} is empty in every row", "fill it in", len(column))
        return None
    if table.task == "regression":
        if not is_number(kind):
            bad = _not_numbers(column)[0] if pa.types.is_string(kind) else 0
            message = f"target {table.target!r}: {places(bad)} holds {column[bad].as_py()!r:.80}, which is no number"
            checks.fault(USABLE, message, 'correct it, or set [table] task = "classification"')
            return None
        values: Any = _numbers(column)
        empty = np.flatnonzero(np.isnan(values))
    else:
        if not (is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)):
            checks.fault(USABLE, f"target {table.target!r} holds {_called(kind)}", "store a class name or a number")
            return None
        if _holds_decimals(column):
            hint = 'set [table] task = "regression", or store class names'
            checks.fault(USABLE, f"target {table.target!r} holds decimal numbers, not classes", hint)
            return None
        values = np.array((_whole(column) if pa.types.is_floating(kind) else text(column)).to_pylist(), dtype=object)
        empty = np.flatnonzero(values == None)  # noqa: E711  (element by element)
    for row in empty.tolist():
        checks.fault(LABELS, f"{places(row)} has no {table.target!r}", "fill in the label, or delete the row")
    return values


def joined(parts: Sequence[Part], name: str, checks: Checks) -> Any:
    """One column of all files; None when its types do not go together."""
    try:
        return join(list(parts), name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        kinds = {_called(part.rows.schema.field(name).type): part.name for part in reversed(parts)}
        told = " and ".join(f"{kind} in {file}" for kind, file in reversed(kinds.items()))
        checks.fault(USABLE, f"column {name!r} holds {told}", "store the same kind of value in all files")
        return None


def text(column: Any) -> Any:
    """A column as text: `true`, `false`, digits, or what it was."""
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def is_number(kind: Any) -> bool:
    """Whether a pyarrow type is a whole or a floating number."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def canonical(value: Any) -> str:
    """A value's text, the same for 1, 1.0 and "1": a column's type may change when rows are added."""
    if not re.match(NUMBER, text := str(value), re.ASCII):
        return text
    number = float(text) + 0.0  # no negative zero
    return repr(number) if abs(number) < FLOAT64_WHOLE else text


def _numbers(column: Any) -> Any:
    """A column as a NumPy array of float64, NaN where it is null; through the buffers, as `to_numpy` imports pandas."""
    values = _buffer(column.cast(pa.float64(), safe=False), np.float64).copy()  # safe: no whole number above 2**53
    values[_buffer(compute.indices_nonzero(compute.is_null(column)), np.uint64)] = np.nan
    return values


def _buffer(column: Any, dtype: type) -> Any:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(whole):
        return np.zeros(0, dtype)
    size = np.dtype(dtype).itemsize
    return np.frombuffer(whole.buffers()[1], dtype, len(whole), whole.offset * size)


def _not_numbers(column: Any) -> list[int]:
    """The rows whose text is no number."""
    odd = compute.invert(compute.match_substring_regex(column, NUMBER))
    return [int(row) for row in compute.indices_nonzero(odd).to_pylist()]


def _holds_decimals(column: Any) -> bool:
    if pa.types.is_string(column.type):
        if column.null_count == len(column) or _not_numbers(column):
            return False
    elif not pa.types.is_floating(column.type):
        return False
    numbers = _numbers(column)
    numbers = numbers[~np.isnan(numbers)]
    return bool((numbers != np.floor(numbers)).any())


def _whole(column: Any) -> Any:
    """`1.0`, as Parquet files made from columns with gaps have it, is the class `1`."""
    return compute.replace_substring_regex(text(column), r"\.0$", "")


def _called(kind: Any) -> str:
    if pa.types.is_temporal(kind):
        return f"dates or times ({kind})"
    if pa.types.is_binary(kind):
        return "text that is not UTF-8"
    if is_number(kind):
        return "numbers"
    return "text" if pa.types.is_string(kind) else f"values of type {kind}"
