"""Whether a model fits a holdout: its inputs are the dataset's by name, its output has one row per sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.records import Signature, TensorSpec
from serving.engines.base import spec_text

Array = NDArray[Any]


class Mismatch(ValueError):
    """The model does not fit the data; the message says where."""


def check_inputs(signature: Signature, x: Mapping[str, Array]) -> None:
    """Raise Mismatch unless there is an array for each input, of its shape and kind (numbers or strings)."""
    names = [each.name for each in signature.inputs]
    if set(names) != set(x):
        raise Mismatch(f"it takes {', '.join(names)}; the data have {', '.join(x)}")
    for spec in signature.inputs:
        found = _spec(spec.name, x[spec.name])
        same = len(spec.shape) == len(found.shape) and all(
            want is None or want == have for want, have in zip(spec.shape[1:], found.shape[1:], strict=True)
        )
        if missing := 0 if spec.may_miss or signature.kind != "table" else _missing(x[spec.name]):
            raise Mismatch(
                f"its input {spec.name} takes no missing value; {missing} of {len(x[spec.name])} are in the data"
            )
        if not same or (spec.dtype == "string") != (found.dtype == "string"):
            raise Mismatch(f"its input {spec.name} is {spec_text(spec)}; the data are {spec_text(found)}")


def check_output(signature: Signature, output: Array) -> None:
    """Raise Mismatch unless it has shape (rows, classes), or, without classes, (rows, 1) or (rows, targets)."""
    classes, targets = len(signature.classes), len(signature.targets)
    if output.ndim != 2 or output.shape[1] != (classes or targets or 1):
        numbers = f"; {targets} numbers are to be predicted" if targets else "; one number is to be predicted"
        wanted = f" for {classes} classes" if classes else numbers
        raise Mismatch(f"its output has shape {list(output.shape)}{wanted}")


def _missing(array: Array) -> int:
    return int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0


def _spec(name: str, array: Array) -> TensorSpec:
    return TensorSpec(name, (None, *array.shape[1:]), "string" if array.dtype.kind in "USO" else array.dtype.name)
