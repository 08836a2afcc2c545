"""The array of a NumPy archive that says what is to be predicted: classes, a number per sample, or several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.data.checks import Checks
from training.data.dataset_toml import DatasetFile, Npz
from training.data.toml_values import MOST_TARGETS

USABLE = "every array has a type that a model can use"
LABELS = "every sample has a label"
FINITE = "every number is finite"
FLAT = 2
"""Dimensions of y with several numbers per sample."""


def read_labels(file: str, y: Any, settings: DatasetFile, checks: Checks) -> Any:
    """One label per sample: text for classification, float64 for regression, in columns where there are several targets; None
    when y cannot be used."""
    npz = settings.source
    assert isinstance(npz, Npz)
    if not _has_shape(file, y, npz, checks):
        return None
    y = y if y.size > len(y) else y.reshape(len(y))
    if y.dtype.kind == "f":
        _check_numbers(file, y, npz, checks)
    if npz.task == "regression":
        if y.dtype.kind in "fiu":
            return _targets(file, y.astype(np.float64), npz.y, checks)
        checks.fail(
            USABLE,
            f"{file}: {npz.y!r} has dtype {y.dtype}, which is not a number",
            'store numbers, or set task = "classification"',
        )
        return None
    return _classes(file, y, settings, checks)


def _has_shape(file: str, y: Any, npz: Npz, checks: Checks) -> bool:
    """Whether it holds one label per sample, or as many numbers as it should."""
    several = npz.task == "regression" and y.ndim == FLAT and 1 < y.shape[1] <= MOST_TARGETS
    if y.size != len(y) and not several:
        wanted, hint = "one label per sample is wanted", "store one number per sample: y.argmax(axis=1)"
        if npz.task == "regression":
            wanted = f"one number per sample, or up to {MOST_TARGETS:,}, is wanted"
            hint = "store several numbers per sample as an array of shape (samples, numbers): y.reshape(len(y), -1)"
        checks.fail(USABLE, f"{file}: {npz.y!r} has shape {y.shape}, {wanted}", hint)
        return False
    if npz.targets and not (several and y.shape[1] == len(npz.targets)):
        message = f"{file}: {npz.y!r} has shape {y.shape}, and [npz] targets names {len(npz.targets)}"
        checks.fail(USABLE, message, "give each column of the array a name, in their order")
        return False
    return True


def _check_numbers(file: str, y: Any, npz: Npz, checks: Checks) -> None:
    names, hint = names_of_targets(npz, y), "fill in the label, or delete the sample"
    for row, *column in np.argwhere(np.isnan(y)).tolist():
        what = repr(names[column[0]]) if column else "label"
        checks.fail(LABELS, f"{file} row index {row} has no {what} (NaN)", hint)
    if np.isinf(y).any():
        checks.fail(FINITE, f"{file}: {npz.y!r} holds infinity", "correct it, or delete the sample")


def _classes(file: str, y: Any, settings: DatasetFile, checks: Checks) -> Any:
    npz = settings.source
    assert isinstance(npz, Npz)
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.dtype.kind == "U":
        for row in np.flatnonzero(y == "").tolist():
            checks.fail(
                LABELS, f"{file} row index {row} has no label (an empty text)", "fill it in, or delete the sample"
            )
        return y
    if y.dtype.kind == "b":
        return np.where(y, "true", "false")
    if y.dtype.kind in "iu":
        return np.array(_named(y.tolist(), settings.classes))
    hint = 'store class numbers or names, or set [npz] task = "regression"'
    checks.fail(USABLE, f"{file}: {npz.y!r} has dtype {y.dtype} and holds no classes", hint)
    return None


def names_of_targets(npz: Npz, labels: Any) -> tuple[str, ...]:
    """What the columns of y are called; empty unless there are several."""
    several = labels.shape[1] if labels.ndim > 1 else 0
    return npz.targets or tuple(f"{npz.y}[{place}]" for place in range(several))


def _targets(file: str, y: Any, name: str, checks: Checks) -> Any:
    with np.errstate(over="ignore"):
        far = np.argwhere(np.isinf(y.astype(np.float32)) & np.isfinite(y))
    if len(far):
        message = f"{file} row index {far[0][0]}: {name!r} is a number that float32 cannot hold (beyond ±3.4e38)"
        checks.fail(FINITE, message, "correct the value, or scale the labels", len(far))
    return y


def _named(numbers: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Whole numbers as labels: their digits, or, when `classes` lists names, the name at that place (from 0)."""
    if not classes or all(name.removeprefix("-").isdecimal() for name in classes):
        return [str(number) for number in numbers]
    return [classes[number] if 0 <= number < len(classes) else str(number) for number in numbers]
