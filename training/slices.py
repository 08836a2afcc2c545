"""Slices of a dataset: the samples that have one value, or a number within a range, in a column. Light until arrays come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry.errors import ConfigError

SHOWN = 20


def slice_names(slices: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """`column=value` of each, in the order of the settings."""
    return tuple(f"{column}={value}" for column, values in slices.items() for value in values)


def rows_of_slices(
    slices: Mapping[str, Sequence[str]], x: Mapping[str, Any], among: Any | None = None
) -> dict[str, Any]:
    """The name of each slice → the positions of its samples, int64. `x`: arrays by column, shape (samples, 1) each. `among`: which
    samples there are, bool of shape (samples,), and positions are counted among these; None: all of them.

    Raises ConfigError for a column that there is not, and for a value that no number of its column can be.
    """
    import numpy as np

    return {name: np.flatnonzero(hit if among is None else hit[among]) for name, hit in _hits(slices, x)}


def missing_columns(slices: Mapping[str, Sequence[str]], columns: Sequence[str]) -> str:
    """What is wrong with the columns of slices; empty when there are all of them."""
    unknown = [each for each in slices if each not in columns]
    if not unknown:
        return ""
    known = ", ".join(map(repr, columns[:SHOWN])) + (
        f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    )
    return (
        f"[gate.slices] the model has no input column {', '.join(map(repr, unknown[:SHOWN]))}; it has {known or 'none'}"
    )


def _hits(slices: Mapping[str, Sequence[str]], x: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    import numpy as np

    usable = {name: each for name, each in x.items() if each.ndim <= 2 and each.size == len(each)}
    if why := missing_columns(slices, list(usable)):
        raise ConfigError(why, hint="slices are by feature columns of a table")
    for column, values in slices.items():
        array = np.asarray(usable[column]).reshape(-1)
        for value in values:
            hit = array.astype(str) == value if array.dtype.kind not in "biuf" else _numbers(array, column, value)
            yield f"{column}={value}", hit


def _numbers(array: Any, column: str, value: str) -> Any:
    low, dots, high = value.partition("..")
    try:
        if not dots:
            return array == array.dtype.type(float(value))
        return (array >= float(low or -math.inf)) & (array < float(high or math.inf))
    except ValueError:
        raise ConfigError(
            f"[gate.slices] {column}: {value!r:.100} is not a number, and the column holds numbers",
            hint='write a number ("2008"), or a range without its upper end ("18..30", "..18", "65..")',
        ) from None
