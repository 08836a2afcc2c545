"""Whether a model answers with a probability for each class, and which.

Decided once per model, on the rows that warm it up, so that all answers of a release have the same form.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from registry.records import Signature
from serving.engines.base import Array, Arrays
from training.multi_label import decided

TOLERANCE = 1e-2
"""How far the sum of probabilities may be from 1: 16-bit models are coarse."""
Form = Literal["distribution", "second", "scores", "labels", "numbers"]
"""Of one output: a probability per class; the probability of the second of two classes; a score per class; a probability for
each of several labels, which do not exclude each other; anything else."""


def form_of(signature: Signature, warm: Array) -> Form:
    """The form of an output of the model with `signature`, by its values `warm` for rows that are known to be good."""
    classes, width = signature.classes, warm.shape[1] if warm.ndim == 2 else 0
    if signature.task == "multi-label" and width == len(classes):
        return "labels"
    if classes and width == len(classes):
        distribution = bool((warm >= -TOLERANCE).all() and (np.abs(warm.sum(axis=1) - 1) <= TOLERANCE).all())
        return "distribution" if distribution else "scores"
    if len(classes) == 2 and (width == 1 or warm.ndim == 1) and (warm >= 0).all() and (warm <= 1).all():
        return "second"
    return "numbers"


def of_both(second: Array) -> Array:
    """The probabilities of two classes, rows × 2, from those of the second."""
    column = second.reshape(-1, 1)
    return np.concatenate([1 - column, column], axis=1)


def applying(labels: tuple[str, ...], output: Array, threshold: float) -> list[list[str]]:
    """The labels of each row whose probability is at least the threshold."""
    return [[labels[i] for i in np.flatnonzero(row).tolist()] for row in decided(output, threshold)]


class Probabilities:
    """Of the model with `signature`, whose outputs for good rows are `warm`."""

    def __init__(self, signature: Signature, warm: Arrays) -> None:
        only = signature.outputs[0].name if len(signature.outputs) == 1 else ""
        self._form: Form = form_of(signature, warm[only]) if only else "numbers"
        self._only = only

    def of(self, outputs: Arrays) -> Array | None:
        """Rows × classes; None for a model with several outputs, and for one that does not answer with probabilities."""
        if self._form == "distribution":
            return outputs[self._only]
        return of_both(outputs[self._only]) if self._form == "second" else None
