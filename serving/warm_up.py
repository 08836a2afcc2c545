"""The rows with which a model is warmed up, and the sample that the API shows as an example."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import numpy as np

from registry.records import Signature
from serving.engines.base import Array, Arrays, cast_inputs
from training.data import dates
from training.data.spec import DataSpec

WARM_ROWS = 16
DAYS = 20_000
"""Of a date that is made up, since 1970: in October 2024."""
OPEN_SIZE = 32
"""Size of a made-up sample in a dimension that the model leaves open."""


def warm_up_inputs(folder: Path, signature: Signature, data: DataSpec | None) -> Arrays:
    """Up to 16 rows that evaluation kept in `golden.npz`; else one made up from the dataset's statistics."""
    path = folder / "golden.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as golden:
            arrays = {each.name: golden[f"in_{i}"][:WARM_ROWS] for i, each in enumerate(signature.inputs)}
        return cast_inputs(signature, arrays)
    return example(signature, data)


def example(signature: Signature, data: DataSpec | None) -> dict[str, Array]:
    """One made-up sample, shape (1, …) per input: means and common categories of the train split, else zeros and empty texts.

    It holds no real data, and nothing that only a few samples have: anyone may ask the API for an example.
    """
    columns = {each.name: each for each in data.columns} if data else {}
    arrays: dict[str, Array] = {}
    written = {each.name: each.written for each in signature.dates}
    for spec in signature.inputs:
        shape = (1, *(OPEN_SIZE if each is None else each for each in spec.shape[1:]))
        column = columns.get(spec.name)
        if spec.name in written:
            day = columns.get(dates.feature(spec.name, "days"))
            when = dates.EPOCH + timedelta(days=round(day.mean) if day else DAYS)
            arrays[spec.name] = np.full(
                shape, dates.as_text(when if written[spec.name] else when.date(), written[spec.name]), object
            )
        elif spec.dtype == "string":
            arrays[spec.name] = np.full(shape, column.common[0] if column and column.common else "", object)
        else:
            value = np.nan_to_num(round(column.mean, 3) if column else 0.0)
            low = -math.inf if spec.low is None else spec.low
            high = math.inf if spec.high is None else spec.high
            arrays[spec.name] = np.full(shape, min(max(value, low), high)).astype(spec.dtype)
    return arrays
