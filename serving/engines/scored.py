"""A model that gives a score, for answers that say whether it is over the threshold, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from registry.records import Signature
from registry.records.data import ANOMALOUS, THRESHOLD
from serving.engines.base import Array, Arrays
from training.anomaly import is_anomalous

if TYPE_CHECKING:
    from serving.engines.base import LoadedEngine


def answering(engine: LoadedEngine, signature: Signature) -> LoadedEngine:
    """The engine of a model with `signature`, giving the outputs of `signature.answered`."""
    return Scored(engine, signature) if signature.task == "anomaly" else engine


class Scored:
    """An engine with three outputs, each of shape (rows,): score, whether it is anomalous, and the threshold."""

    def __init__(self, engine: LoadedEngine, signature: Signature) -> None:
        self._engine, self._name = engine, signature.outputs[0].name
        self._threshold = np.float32(signature.threshold)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """See Engine."""
        score = self._engine(inputs)[self._name].reshape(-1)
        decided = is_anomalous(score, float(self._threshold))
        return {self._name: score, ANOMALOUS: decided, THRESHOLD: np.full(len(score), self._threshold)}

    def renew(self, most: int, many: int, at_once: int) -> None:
        """See LoadedEngine."""
        self._engine.renew(most, many, at_once)
