"""The model on the rows of a block: what it predicts, and for which rows it has no prediction."""

from __future__ import annotations

import numpy as np

from serving.batch.block import Inputs, Rejected
from serving.engines.base import Array, Arrays, EngineError
from serving.model import Model, no_answer, not_taken

Outputs = tuple[Array, dict[str, Array]]
"""Rows of the block in order, and the outputs for them by name."""


def predict(model: Model, inputs: Inputs) -> tuple[Outputs, Rejected]:
    """Outputs for all rows that have some. Raises EngineError when the model fails on its warm-up rows, too."""
    rejected: Rejected = dict(inputs.rejected)
    found: list[Outputs] = []
    for rows, arrays in inputs.groups:
        found += _run(model, rows, arrays, rejected)
    if not found:
        return (np.zeros(0, np.int64), {}), rejected
    if len(found) == 1:
        return found[0], rejected
    names = found[0][1]
    rows = np.concatenate([each for each, _ in found])
    order = np.argsort(rows)
    try:
        return (rows[order], {name: np.concatenate([o[name] for _, o in found])[order] for name in names}), rejected
    except ValueError:
        raise EngineError("the model answers rows of different shapes in different shapes") from None


def _run(model: Model, rows: Array, arrays: Arrays, rejected: Rejected) -> list[Outputs]:
    outputs: dict[str, Array]
    try:
        outputs = model.engine(arrays)
    except EngineError as error:
        if len(rows) == 1:
            model.engine(model.warm_inputs)  # raises EngineError: then no row is the cause
            rejected[int(rows[0])] = not_taken(error)
            return []
        half = len(rows) // 2
        return [
            each
            for part in (slice(0, half), slice(half, None))
            for each in _run(model, rows[part], {name: array[part] for name, array in arrays.items()}, rejected)
        ]
    good = np.ones(len(rows), bool)
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = ~np.isfinite(array).reshape(len(rows), -1).all(axis=1)
            for row in rows[bad & good].tolist():
                rejected[row] = no_answer(name)
            good &= ~bad
    if good.all():
        return [(rows, outputs)]
    return [(rows[good], {name: array[good] for name, array in outputs.items()})] if good.any() else []
