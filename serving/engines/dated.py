"""A model that takes parts of dates, for inputs that hold the dates as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.records import Signature
from serving.engines.base import Array, Arrays, BadInput
from training.data import dates

if TYPE_CHECKING:
    from serving.engines.base import LoadedEngine


def in_parts(inputs: Arrays, signature: Signature) -> Arrays:
    """The inputs as the served file takes them; the same where none is a date, or all are in parts already. Raises BadInput."""
    if not signature.dates or not any(each.name in inputs for each in signature.dates):
        return inputs
    try:
        return dates.in_parts(inputs, signature.dates, {each.name: each.dtype for each in signature.features})
    except (KeyError, ValueError) as error:
        raise BadInput(f"{error!s:.200} is not a date") from None


class Dated:
    """An engine that takes both: dates as texts, and their parts."""

    def __init__(self, engine: LoadedEngine, signature: Signature) -> None:
        self._engine, self._signature = engine, signature

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """See Engine."""
        return self._engine(in_parts(inputs, self._signature))

    def renew(self, most: int, many: int, at_once: int) -> None:
        """See LoadedEngine."""
        self._engine.renew(most, many, at_once)
