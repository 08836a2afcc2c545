"""Texts as numbers and truth values: the one place that decides what a column of texts holds."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from training.data.dataset_toml import Table
from training.data.table.dialect import BLANKS, MARKS, Numbers

NUMPY = {"halffloat": "float16", "float": "float32", "double": "float64"}
"""What pyarrow calls otherwise than NumPy."""
FEW = 8
TRUTH = r"^(?:true|false|True|False|TRUE|FALSE)$"


def numbers_of(table: Table) -> Numbers:
    """How the table writes numbers."""
    return Numbers(table.decimal, table.thousands)


def text(column: Any, table: Table, name: str) -> Any:
    """A column of texts that stays text; null where a value is missing.

    A column that is declared knows the empty field alone, unless `na` says more; others know MARKS, too.
    """
    if table.na is not None:
        return without(column, table.na)
    return without(column, () if name in table.texts - {table.target} else MARKS)


def typed(column: Any, table: Table) -> Any:
    """A column of texts by what all of them are: int64, float64 or bool, with null where a value is missing; else
    the texts as they were."""
    if numbers_of(table) == Numbers() and not table.na and (found := _cast(column)) is not None:
        return found
    return by_value(column, lambda values: _typed(values, table))


def numbers(column: Any, table: Table, *, truth: bool = False, exact: bool = False) -> tuple[Any, Any]:
    """Texts as numbers, each by itself: a column of float64, null where a value is missing or not a number, and a NumPy
    array that says which texts are not. With `truth`, `true` is 1 and `false` 0; with `exact`, whole numbers are int64."""
    if not exact and numbers_of(table) == Numbers() and not table.na:
        try:
            return column.cast(pa.float64()), np.zeros(len(column), bool)
        except pa.ArrowInvalid:
            pass
    found = typed(column, table)
    if pa.types.is_integer(found.type) or pa.types.is_floating(found.type):
        return found, np.zeros(len(column), bool)
    rules = numbers_of(table)
    present = without(compute.utf8_trim_whitespace(column), (*MARKS, *(table.na or ())))
    for spelled, digit in (("true", "1"), ("false", "0")) if truth else ():
        present = compute.replace_substring_regex(present, f"^(?i:{spelled})$", digit)
    good = compute.if_else(compute.match_substring_regex(present, rules.pattern), present, pa.nulls(1, pa.string())[0])
    wrong = compute.and_(compute.is_valid(present), compute.is_null(good))
    return plain(good, rules).cast(pa.float64()), as_numpy(wrong)


def of_numpy(values: Any) -> Any:
    """A NumPy array of numbers as one of pyarrow; `pa.array` would import pandas."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def as_numpy(column: Any) -> Any:
    """Numbers or truth values without null as a NumPy array, without a copy where there is one chunk; pyarrow's own
    `to_numpy` imports pandas."""
    if pa.types.is_boolean(column.type):
        return as_numpy(column.cast(pa.uint8())).view(bool)
    kind = np.dtype(NUMPY.get(str(column.type), str(column.type)))
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [
        np.frombuffer(each.buffers()[1], kind)[each.offset : each.offset + len(each)] for each in chunks if len(each)
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, kind), *found])


def _typed(column: Any, table: Table) -> Any:
    numbers = numbers_of(table)
    present = without(compute.utf8_trim_whitespace(column), (*MARKS, *(table.na or ())))
    if present.null_count == len(present):
        return pa.chunked_array([pa.nulls(len(present))])
    if numbers == Numbers():
        found = _cast(present)
    else:
        found = _cast(plain(present, numbers)) if _all(present, numbers.pattern) else None
    if found is not None:
        return found
    return present.cast(pa.bool_()) if _all(present, TRUTH) else column


def plain(column: Any, numbers: Numbers) -> Any:
    """Numbers as texts that follow `numbers`, written as computers write them."""
    if numbers.thousands:
        between = f"[{BLANKS}]" if numbers.thousands in BLANKS else re.escape(numbers.thousands)
        column = compute.replace_substring_regex(column, between, "")
    return compute.replace_substring(column, numbers.decimal, ".") if numbers.decimal != "." else column


def without(column: Any, marks: tuple[str, ...]) -> Any:
    """Texts, null where they are blank or one of the marks, with or without blanks around it."""
    return by_value(column, lambda values: _without(values, marks))


def without_numbers(column: Any, marks: tuple[str, ...]) -> Any:
    """Numbers, null where they are one of the marks, however either is written: `-999` and `-999.0`."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column
    for mark in marks:
        try:
            number = float(mark)
        except ValueError:
            continue
        wanted = pa.Array.from_buffers(pa.float64(), 1, [None, pa.py_buffer(array("d", [number]))])[0]
        equal = compute.equal(column.cast(pa.float64(), safe=False), wanted)
        column = compute.if_else(equal, pa.nulls(1, column.type)[0], column)
    return column


def by_value(column: Any, function: Callable[[Any], Any]) -> Any:
    """What `function` makes of a column of texts, asked once about each different text."""
    encoded = column.dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return function(column)
    different = pa.chunked_array([encoded.chunk(0).dictionary])
    if (made := function(different)) is different:
        return column
    values = made.combine_chunks()
    return pa.chunked_array([values.take(chunk.indices) for chunk in encoded.chunks], values.type)


def _without(column: Any, marks: tuple[str, ...]) -> Any:
    pattern = "|".join(re.escape(mark) for mark in sorted(marks))
    missing = compute.match_substring_regex(column, rf"^\s*(?:{pattern})?\s*$")
    if not compute.any(missing).as_py():
        return column
    return compute.if_else(missing, pa.nulls(1, pa.string())[0], column)


def _cast(column: Any) -> Any:
    """Texts as int64 or float64; None when some text is not a number. Only float64 refuses `0x10`, only int64 `1e5`."""
    try:
        found = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    try:
        column.slice(0, FEW).cast(pa.int64())  # the message about each text that fails takes longer than the rest
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return found


def _all(column: Any, pattern: str) -> bool:
    return bool(compute.all(compute.match_substring_regex(column, pattern)).as_py())


def kind(column: Any, table: Table) -> Any:
    """What the texts of one file are: float64 (numbers), bool, string (hardly any number), null; None: a mixture."""
    found = typed(column, table).type
    if pa.types.is_string(found):
        count = compute.sum(compute.match_substring_regex(column, numbers_of(table).pattern)).as_py() or 0
        return found if count < len(column) / 2 else None
    return found if pa.types.is_null(found) or pa.types.is_boolean(found) else pa.float64()
