"""A loaded model together with what each dialect has prepared for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from serving.model import Model
from serving.probabilities import Probabilities

T = TypeVar("T")


class Predictor:
    """Built once per loaded model and swapped as a whole: a request that holds it is answered by it alone."""

    __slots__ = ("_codecs", "model", "probabilities")

    def __init__(self, model: Model) -> None:
        self.model = model
        self.probabilities = Probabilities(model.signature, model.warm_outputs)
        self._codecs: dict[Any, Any] = {}

    def codec(self, kind: Callable[[Model], T]) -> T:
        """What `kind` makes of the model, made once. It must be safe to use from several threads."""
        found = self._codecs.get(kind)
        if found is None:  # two threads may both make one: either will do
            found = self._codecs[kind] = kind(self.model)
        return cast("T", found)
