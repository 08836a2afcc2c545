"""The labels of samples that may have several: a matrix of 0 and 1, with a row per sample and a column per label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from training.data.checks import LABELS_THERE, Checks, SampleList
from training.data.dataset_toml import DatasetFile, Npz
from training.data.npz_labels import USABLE

ONES = "every label is 0 or 1"
NO_LABEL = "no label"
ZERO_OR_ONE = "store 1 where the sample has the label, 0 where it does not"


def usable(matrix: Any, labels: Sequence[str], where: Callable[[int], str], checks: Checks) -> Any:
    """The matrix as uint8; None when it holds anything but 0 and 1. `where` says in words where a row is."""
    checks.make(ONES)
    with np.errstate(invalid="ignore"):
        wrong = (matrix != 0) & (matrix != 1)
    for column in np.flatnonzero(wrong.any(axis=0)).tolist():
        rows = np.flatnonzero(wrong[:, column])
        found = matrix[rows[0], column]
        holds = "has no value (NaN)" if np.isnan(found) else f"is {found.item()!r}"
        message = f"label {labels[column]!r} {holds} in {where(int(rows[0]))}"
        checks.fail(ONES, message, ZERO_OR_ONE, len(rows))
    return None if wrong.any() else matrix.astype(np.uint8)


def read_matrix(file: str, y: Any, settings: DatasetFile, checks: Checks) -> Any:
    """The array y of a NumPy archive: a row per sample, with a column for each label; None when it cannot be used."""
    assert isinstance(settings.source, Npz)
    name, labels = settings.source.y, settings.classes
    if y.dtype.kind not in "biuf":
        message = f"{file}: {name!r} has dtype {y.dtype}, which is neither 0 nor 1"
        checks.fail(USABLE, message, ZERO_OR_ONE)
        return None
    if y.ndim != 2 or y.shape[1] != len(labels):
        message = f"{file}: {name!r} has shape {y.shape}; `classes` in dataset.toml names {len(labels)} labels"
        hint = f"store {name!r} with a column for each label, in the order of `classes`"
        if y.ndim == 2:
            hint = f"name each of its {y.shape[1]} columns, in their order"
        elif y.size == len(y):
            hint += '; where each sample has exactly one, set task = "classification"'
        checks.fail(USABLE, message, hint)
        return None
    return usable(y, labels, lambda row: f"{file} row index {row}", checks)


def put_labels(samples: SampleList, matrix: Any, labels: Sequence[str], checks: Checks) -> None:
    """Fill in what the samples know of their labels; each label has a sample that has it, and should have one that has not."""
    samples.classes = tuple(labels)
    samples.several = [tuple(np.flatnonzero(row).tolist()) for row in matrix]
    samples.labels = [", ".join(labels[each] for each in row) or NO_LABEL for row in samples.several]
    checks.make(LABELS_THERE)
    counts = matrix.sum(axis=0).tolist()
    for name, count in zip(labels, counts, strict=True):
        if not count:
            hint = f"add samples that have {name!r}, or leave the label out, in the data and in dataset.toml"
            checks.fail(LABELS_THERE, f"no sample has the label {name!r}", hint)
        elif count == len(matrix):
            checks.note(f"every sample has the label {name!r}: there is nothing to learn about it")
    alone = sum(not each for each in samples.several)
    if alone:
        checks.note(f"{alone:,} of {len(matrix):,} samples have no label at all, which is an answer, too")
