"""Explanations beside the predictions of a batch: of each row on its own, and in a time of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from registry.errors import ConfigError
from serving.batch import arrow
from serving.batch.block import Inputs
from serving.engines.base import Array, Arrays
from serving.explain.explanation import Explainer, Explanation, Wanted
from serving.explain.target import CannotExplain
from serving.model import Model, RowError

KEY = "explanation"
"""The member of a JSON object, or the column, that holds what `POST /explain` answers."""
BASE, EFFECT, ERROR, NOTE = "effect_base", "effect_of_", "effect_error", "explanation_note"
ROWS = 64
"""Of one block: each is as much work as hundreds of predictions, and blocks are what progress is counted in."""
Found = Explanation | str
"""Or why there is none."""


class Explanations:
    """Explains the rows of one model, each in at most so many milliseconds; safe to call from several threads."""

    def __init__(self, model: Model, milliseconds: int) -> None:
        """Raises ConfigError when what the model answers cannot be explained."""
        self._explainer = Explainer(model.run, model.signature, model.data, model.warm_outputs)
        self._wanted = Wanted(milliseconds / 1000)
        try:
            self._explainer.check(model.warm_outputs)
        except CannotExplain as error:
            raise ConfigError(
                f"{model.manifest.model}: {error}", hint="predict without --explain and [batch] explain"
            ) from None
        self._effects = self._explainer.columns
        self._whole = not self._effects or self._explainer.finds_words

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [name for name, _ in self.columns([])]

    def of(self, inputs: Inputs, rows: Array) -> list[Found]:
        """Why these rows of a block got their predictions. Raises EngineError when the model does not run at all."""
        where = {int(row): (arrays, i) for numbers, arrays in inputs.groups for i, row in enumerate(numbers)}
        return [self._of(*where[row]) for row in rows.tolist()]

    def _of(self, arrays: Arrays, row: int) -> Found:
        try:
            return self._explainer({name: array[row : row + 1] for name, array in arrays.items()}, 1, self._wanted)[0]
        except CannotExplain as error:
            return str(error)
        except RowError as error:  # of an altered row
            return f"the model has no answer for a row like this: {error}"

    def entries(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        """One entry per row, as in `explanations` of the API."""
        return [{"error": each} if isinstance(each, str) else each.entry() for each in found]

    def columns(self, found: Sequence[Found]) -> list[tuple[str, Any]]:
        """Name and pyarrow.Array of each column: numbers where there are Shapley values, else JSON; null: there is none."""
        made: list[tuple[str, Any]] = []
        if self._effects:
            there = [None if isinstance(each, str) else each for each in found]
            values = [{part["column"]: part["value"] for part in each.parts} if each else {} for each in there]
            errors = [max(part["error"] for part in each.parts) if each else None for each in there]
            made.append((BASE, arrow.optional([each.base if each else None for each in there])))
            made += [(f"{EFFECT}{name}", arrow.optional([each.get(name) for each in values])) for name in self._effects]
            made.append((ERROR, arrow.optional(errors)))
        if self._whole:
            entries = zip(found, self.entries(found), strict=True)
            made.append((KEY, arrow.texts([None if isinstance(e, str) else _json(entry) for e, entry in entries])))
        notes = [each if isinstance(each, str) else each.degraded for each in found]
        return [*made, (NOTE, arrow.texts([each or None for each in notes]))]


def _json(entry: dict[str, Any]) -> str:
    return orjson.dumps(entry, option=orjson.OPT_SERIALIZE_NUMPY).decode()
