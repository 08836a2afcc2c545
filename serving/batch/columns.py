"""Columns of pyarrow as inputs of the model, by the rules of the prediction API, a block at a time.

Good values are converted all at once; what a rule refuses is looked at value by value, and rejected in the API's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from registry.errors import ConfigError
from registry.records import Signature
from registry.spelling import name_spelling
from serving.batch.block import Rejected
from serving.engines.base import Array
from serving.errors import Refused, did_you_mean
from serving.protocols.fields import Field
from serving.protocols.read_instances import Reader
from training.data.dataset_toml import Table
from training.data.table import typed
from training.data.table.dialect import MARKS
from training.data.table.read import plain_column

MISSING = "is missing"
TRUE = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class ColumnReader:
    """Finds the columns that one model needs in a file with columns `names`, and reads them."""

    def __init__(self, reader: Reader, names: Sequence[str], rules: Table, *, written: bool) -> None:
        """`written`: the file is text, in which an empty field or a mark means missing. Raises ConfigError."""
        self._signature, self._rules, self._written = reader.signature, rules, written
        self.plan = [(field, columns_of(field, reader.signature, names)) for field in reader.fields]
        self.needed = tuple(dict.fromkeys(each for _, columns in self.plan for each in columns))

    @property
    def always_there(self) -> frozenset[str]:
        """The columns of numbers that the model needs: a row in which one of them is missing has no prediction."""
        numbers = (
            columns for field, columns in self.plan if field.dtype not in {"string", "bool"} and not field.may_miss
        )
        return frozenset(each for columns in numbers for each in columns)

    def read(self, table: Any) -> tuple[dict[str, Array], Array, Rejected]:
        """Inputs by name for the good rows, which rows these are, and why the others are rejected."""
        rejected: Rejected = {}
        found: list[tuple[Field, Array]] = []
        for field, columns in self.plan:
            if len(columns) == 1:
                found.append((field, self._column(field, columns[0], table.column(columns[0]), rejected)))
            else:
                found.append((field, self._flat(field, columns, table, rejected)))
        good = np.ones(table.num_rows, bool)
        good[list(rejected)] = False
        rows = np.flatnonzero(good)
        arrays = {}
        for spec, (field, values) in zip(self._signature.inputs, found, strict=True):
            array = values if not rejected else values[rows]  # all of them keep the field's bounds
            array = array if array.dtype.kind in "Ob" else array.astype(field.dtype, copy=False)
            shape = tuple(-1 if each is None else each for each in spec.shape[1:])
            arrays[spec.name] = array.reshape(len(array), *shape) if shape.count(-1) == 0 else array
        return arrays, rows, rejected

    def _column(self, field: Field, name: str, column: Any, rejected: Rejected) -> Array:
        column = plain_column(column)
        if field.shape:
            return _listed(field, name, column, rejected)
        if field.dtype in {"string", "bool"}:
            return self._values(field, name, column, rejected)
        return self._numbers(field, name, column, rejected)

    def _numbers(self, field: Field, name: str, column: Any, rejected: Rejected) -> Array:
        truth = (field.low, field.high) == (0, 1)
        if pa.types.is_string(column.type):
            texts = column
            column, wrong = typed.numbers(column, self._rules, truth=truth, exact=field.dtype in {"int64", "uint64"})
            for row in np.flatnonzero(wrong).tolist():
                rejected.setdefault(row, f"{name}: {_shown(texts[row].as_py())} is not a number")
        elif pa.types.is_boolean(column.type) and truth:
            column = column.cast(pa.uint8())
        elif not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            if not pa.types.is_null(column.type):
                for row in range(len(column)):
                    rejected.setdefault(row, f"{name}: {column.type} is not a number")
            column = pa.chunked_array([pa.nulls(len(column), pa.float64())])
        column = typed.without_numbers(column, self._rules.na or ())
        array = _with_nan(column) if field.may_miss else _filled(column, name, rejected)
        return _within(field, array, name, rejected)

    def _values(self, field: Field, name: str, column: Any, rejected: Rejected) -> Array:
        """Texts, categories and truth values: each different value is asked about once."""
        if self._written:
            known = any(each in field.known for each in MARKS)
            column = typed.without(column, self._rules.na or ()) if known else typed.text(column, self._rules, name)
        if field.written is not None and pa.types.is_date(column.type):
            column = column.cast(pa.date32())  # of which a dictionary can be made
        encoded = column.combine_chunks().dictionary_encode()
        values = encoded.dictionary.to_pylist()
        if field.dtype == "bool" and self._written:
            values = [TRUE.get(each.strip(), each) for each in values]
        asked, wrong = _asked(field, values, name)
        missing = typed.as_numpy(compute.is_null(encoded.indices))
        if field.may_miss:
            asked = np.append(asked, "")  # the last one is in the place of every missing one
            index = np.where(missing, len(asked) - 1, _filled(pa.chunked_array([encoded.indices]), name, {}))
        else:
            index = _filled(pa.chunked_array([encoded.indices]), name, rejected)
        if wrong:
            for row in np.flatnonzero(np.isin(index, list(wrong)) & ~missing).tolist():
                rejected.setdefault(row, wrong[int(index[row])])
        return asked[index] if len(asked) else np.full(len(index), "", object)

    def _flat(self, field: Field, columns: Sequence[str], table: Any, rejected: Rejected) -> Array:
        """One input from as many columns as it has values."""
        parts = [self._numbers(_scalar(field), name, plain_column(table.column(name)), rejected) for name in columns]
        kind = np.result_type(*{each.dtype for each in parts})
        joined = np.empty((table.num_rows, len(parts)), kind)
        for i, each in enumerate(parts):
            joined[:, i] = each
        return joined.reshape(table.num_rows, *(each or 1 for each in field.shape))


def columns_of(field: Field, signature: Signature, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that hold an input: one of its name, or one for each of its values: `pixel_0`, `pixel_1`, …

    Raises ConfigError when there are none.
    """
    if field.name in names:
        return (field.name,)
    alike = [each for each in names if name_spelling(each) == name_spelling(field.name)]
    if len(alike) == 1:
        return (alike[0],)
    size = int(np.prod([each or 0 for each in field.shape])) if field.shape else 0
    if size and len(signature.inputs) == 1 and field.dtype not in {"string", "bool"}:
        if len(names) == size and all(re.search(r"\d$", each) for each in names):
            return tuple(names)
        for first in (0, 1):
            for name in names:
                if name.endswith(str(first)):
                    flat = [f"{name.removesuffix(str(first))}{i}" for i in range(first, first + size)]
                    if set(flat) <= set(names):
                        return tuple(flat)
    what = f"column {field.name!r} is missing"
    also = f", or {size} columns such as {field.name}_0 to {field.name}_{size - 1}" if size else ""
    between = next((each for each in ",;\t|" if len(names) == 1 and field.name in names[0].split(each)), "")
    if between:
        hint = f"the file has {between!r} between its columns: set [batch] delimiter and decimal"
        raise ConfigError(f"{what}{also}", hint=hint)
    raise ConfigError(f"{what}{also}", hint=did_you_mean(field.name, names) if names else "there are no columns")


def within(field: Field, array: Array) -> Array:
    """Which rows keep the bounds of a field and, for whole numbers, have no fraction."""
    fits = (array >= field.low) & (array <= field.high)
    if field.may_miss:
        fits |= np.isnan(array)
    if field.dtype.startswith(("int", "uint")) and array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            fits &= array == np.floor(array)
    return np.asarray(fits.reshape(len(array), -1).all(axis=1))


def _within(field: Field, array: Array, name: str, rejected: Rejected) -> Array:
    """Reject the rows that a field refuses, in its own words."""
    if not len(array) or (
        array.min() >= field.low
        and array.max() <= field.high
        and not (field.dtype.startswith(("int", "uint")) and array.dtype.kind == "f")
    ):
        return array
    for row in np.flatnonzero(~within(field, array)).tolist():
        if row not in rejected:
            rejected[row] = refusal(field, array[row : row + 1], name)
    return array


def refusal(field: Field, row: Array, name: str) -> str:
    """Why a field refuses one row of numbers, in the API's words."""
    try:
        field.bounded(row, lambda _: name)
    except Refused as error:
        return str(error).replace("null is not a number", MISSING)
    return f"{name}: refused"


def _filled(column: Any, name: str, rejected: Rejected) -> Array:
    """The numbers as a NumPy array, 0 where one is missing."""
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    if not column.null_count:
        return typed.as_numpy(column)  # type: ignore[no-any-return]
    there = typed.as_numpy(compute.is_valid(column))
    for row in np.flatnonzero(~there).tolist():
        rejected.setdefault(row, f"{name}: {MISSING}")
    present = typed.as_numpy(compute.drop_null(column))
    found = np.zeros(len(column), present.dtype)
    found[there] = present
    return found


def _with_nan(column: Any) -> Array:
    """The numbers as a NumPy array, NaN where one is missing."""
    column = column.cast(pa.float64(), safe=False)
    found = np.array(_filled(column, "", {}), np.float64)
    found[typed.as_numpy(compute.is_null(column))] = np.nan
    return found


def _listed(field: Field, name: str, column: Any, rejected: Rejected) -> Array:
    """Lists in one column, flat or nested as the model has them; rows of another shape are rejected."""
    rows = len(column)
    flat, lengths = column.combine_chunks(), []
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        sizes = compute.min_max(compute.list_value_length(flat)).as_py()
        if flat.null_count or sizes["min"] != sizes["max"] or not sizes["max"]:
            return _one_by_one(field, name, column, rejected)
        lengths.append(sizes["max"])
        flat = flat.flatten()
    number = pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)
    wanted = tuple(lengths) if None in field.shape else tuple(each or 0 for each in field.shape)
    if not lengths or flat.null_count or not number or np.prod(lengths) != np.prod(wanted):
        return _one_by_one(field, name, column, rejected)
    array = typed.as_numpy(flat).reshape(rows, *wanted)
    return _within(field, array, name, rejected)


def _one_by_one(field: Field, name: str, column: Any, rejected: Rejected) -> Array:
    shape = tuple(each or 1 for each in field.shape)
    size = int(np.prod(shape))
    found = np.zeros((len(column), *shape), object if field.dtype == "string" else np.float64)
    for row, value in enumerate(column.to_pylist()):
        if value is None:
            rejected.setdefault(row, f"{name}: {MISSING}")
            continue
        try:
            if isinstance(value, list) and len(value) == size and not isinstance(value[0], list):
                flat = Field(field.name, (size,), field.dtype, field.low, field.high, field.known)
                found[row] = flat.read([value], lambda _: name, plain=False)[0].reshape(shape)
            else:
                found[row] = field.read([value], lambda _: name, plain=False)[0]
        except (Refused, ValueError) as error:
            rejected.setdefault(row, str(error))
    return found


def _asked(field: Field, values: list[Any], name: str) -> tuple[Array, dict[int, str]]:
    """What the field makes of values, and which it refuses, and why."""
    if not values:
        return np.empty(0, object), {}
    try:
        return field.read(values, lambda _: name, plain=False), {}
    except Refused:
        found = np.full(len(values), False if field.dtype == "bool" else "", object)
        wrong: dict[int, str] = {}
        for i, value in enumerate(values):
            try:
                found[i] = field.read([value], lambda _: name, plain=False)[0]
            except Refused as error:
                wrong[i] = str(error)
        return found.astype(bool) if field.dtype == "bool" else found, wrong


def _scalar(field: Field) -> Field:
    return Field(field.name, (), field.dtype, field.low, field.high)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
