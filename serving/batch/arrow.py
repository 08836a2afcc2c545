"""NumPy and Python values as pyarrow has them, made from buffers: `pa.array` would import pandas, only to ask about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from serving.engines.base import Array


def numbers(array: Array) -> Any:
    """Numbers or truth values of shape (n,) as a pyarrow.Array; of shape (n, …) as lists of fixed size."""
    if array.dtype.kind == "b":
        return numbers(array.astype(np.uint8)).cast(pa.bool_())
    flat = np.ascontiguousarray(array).reshape(-1)
    values = pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])
    for size in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def texts(values: Sequence[str | None]) -> Any:
    """Texts as a pyarrow.Array; None is null."""
    data = [b"" if each is None else each.encode("utf-8", "replace") for each in values]
    offsets = np.zeros(len(data) + 1, np.int32)
    np.cumsum([len(each) for each in data], out=offsets[1:])
    buffers = [_valid(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(pa.string(), len(data), buffers)


def lists(values: Sequence[Sequence[str]]) -> Any:
    """Lists of texts as a pyarrow.Array."""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(each) for each in values], out=offsets[1:])
    return pa.ListArray.from_arrays(numbers(offsets), texts([text for each in values for text in each]))


def optional(values: Sequence[float | None]) -> Any:
    """Numbers as a pyarrow.Array of float64; None is null."""
    there = np.array([0.0 if each is None else each for each in values], np.float64)
    return pa.Array.from_buffers(pa.float64(), len(there), [_valid(values), pa.py_buffer(there)])


def _valid(values: Sequence[object]) -> Any:
    """Which are there, as a bitmap; None: all of them."""
    if None not in values:
        return None
    return pa.py_buffer(np.packbits([each is not None for each in values], bitorder="little"))


def chosen(names: Sequence[str], index: Array) -> Any:
    """`names[i]` for each i of `index`, as a pyarrow.Array of texts."""
    return texts(names).take(numbers(index.astype(np.int64)))


def never_null(schema: Any, names: Collection[str]) -> Any:
    """The schema with these fields as ones that have no null: Parquet then writes no level beside each value."""
    return pa.schema([each.with_nullable(each.name not in names) for each in schema])


def rows_of(table: Any, rows: Array) -> Any:
    """These rows of a pyarrow.Table; the table itself when they are all of it."""
    return table if len(rows) == table.num_rows else table.take(numbers(rows.astype(np.int64)))
