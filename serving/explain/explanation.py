"""From a row of inputs to its explanation: which method fits, and what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.records import Signature
from serving.engines.base import Array, Arrays
from serving.engines.dated import in_parts
from serving.explain.asker import Asker, Run
from serving.explain.background import ROWS, background
from serving.explain.occlusion import Drops, Level, array_levels, drops, image_levels, spans, text_levels
from serving.explain.shapley import shapley_values
from serving.explain.target import CannotExplain, Target, choose_target
from serving.probabilities import Form, form_of
from training.data.spec import DataSpec

TEXT_SHARE = 0.4
"""Of the budget, for the words of a table's texts; the rest for its columns."""

MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one row got its answer."""

    target: Target
    output: float
    """The explained number."""
    method: str
    parts: tuple[dict[str, Any], ...]
    """What each column, position or word counts: `value` in the units of `output`, `error` its standard error, and what it is."""
    base: float | None = None
    """Of an additive method: the answer for an average row, which plus all values is `output`."""
    draws: int = 0
    """Background rows that it was compared with; 0: none are needed."""
    evaluations: int = 0
    """How often the model was asked."""
    seconds: float = 0.0
    degraded: str = ""
    """What the budget did not suffice for; empty when it did."""
    heat: Array | None = field(default=None, compare=False)
    """Of an image: what each patch counts, float64, shape (patches, patches)."""

    def entry(self) -> dict[str, Any]:
        """As an object of JSON: what is left out is not there for its method. `heat` is a NumPy array."""
        entry: dict[str, Any] = {"output": self.target.output}
        if self.target.name:
            entry[self.target.kind] = self.target.name
        entry |= {"value": self.output, "method": self.method}
        if self.base is not None:
            entry |= {"base": self.base, "draws": self.draws}
        if self.heat is not None:
            entry["heat"] = np.ascontiguousarray(self.heat)
        if self.parts:
            entry["parts"] = self.parts
        entry["evaluations"] = self.evaluations
        return entry | ({"degraded": self.degraded} if self.degraded else {})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be explained, and in which time."""

    seconds: float
    """For all rows together."""
    output: str = ""
    """Empty: the first."""
    name: str = ""
    """The class; empty: each row's most likely one."""


class Explainer:
    """Explains the answers of one model; safe to call from several threads."""

    def __init__(
        self,
        run: Run,
        signature: Signature,
        data: DataSpec | None,
        warm: Arrays,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`warm` are the model's outputs for rows that are known to be good."""
        self._asked, signature = signature, signature.in_parts
        self._run, self._signature, self._clock = run, signature, clock
        self._forms: dict[str, Form] = {each.name: form_of(signature, warm[each.name]) for each in signature.outputs}
        self._columns = {each.name: each for each in data.columns} if data else {}
        scalars = all(each.shape[1:] == (1,) for each in signature.inputs)
        self._background: dict[str, Array] = {}
        if signature.kind == "table" and scalars and self._columns.keys() >= {each.name for each in signature.inputs}:
            self._background = background(signature.inputs, tuple(self._columns.values()))
        self._texts = tuple(each for each in signature.inputs if each.dtype == "string" and self._is_text(each.name))

    def _is_text(self, name: str) -> bool:
        """Whether words are looked at: a column whose values are mostly not common ones holds texts, not categories."""
        column = self._columns.get(name)
        return column is None or not column.common or 0 < sum(column.shares) < MOSTLY

    def __call__(self, inputs: Arrays, rows: int, wanted: Wanted) -> list[Explanation]:
        """One explanation per row; `inputs` are as the signature has them, and each array has `rows` rows. Of a date, each
        part has its own.

        Raises CannotExplain, and whatever the model raises.
        """
        inputs = in_parts(inputs, self._asked)
        outputs = self._run(inputs, rows)
        targets = [self._target(outputs, i, wanted) for i in range(rows)]
        began, found = self._clock(), list[Explanation]()
        for i, target in enumerate(targets):
            left = max(wanted.seconds - (self._clock() - began), 0.01)
            row = {name: _own(array[i : i + 1]) for name, array in inputs.items()}
            asker = Asker(self._run, target, left / (rows - i), _bytes(row), self._clock)
            found.append(self._explain(asker, target, row))
        return found

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that get Shapley values, in order; empty where other methods are used."""
        return () if len(self._signature.inputs) == 1 and self._texts else tuple(self._background)

    @property
    def finds_words(self) -> bool:
        """Whether the words of texts are looked at."""
        return bool(self._texts)

    def check(self, outputs: Mapping[str, Array]) -> None:
        """Raise CannotExplain when no answer such as the first one of these can be explained."""
        self._target(outputs, 0, Wanted(0))

    def _target(self, outputs: Mapping[str, Array], row: int, wanted: Wanted) -> Target:
        return choose_target(self._signature, self._forms, outputs, row, wanted.output, wanted.name)

    def _explain(self, asker: Asker, target: Target, row: Arrays) -> Explanation:
        if self._background:
            if len(row) == 1 and self._texts:
                return self._text(asker, target, row, self._texts[0].name)
            return self._table(asker, target, row)
        first = self._signature.inputs[0]
        if self._signature.kind == "image" and len(row) == 1 and row[first.name].ndim == 4:
            return self._image(asker, target, row, first.name)
        if len(row) == 1 and first.dtype == "string" and row[first.name].size == 1:
            return self._text(asker, target, row, first.name)
        return self._array(asker, target, row)

    def _table(self, asker: Asker, target: Target, row: Arrays) -> Explanation:
        budget = asker.seconds
        asker.seconds = budget * (1 - TEXT_SHARE) if self._texts else budget
        found = shapley_values(asker, row, self._background)
        less = f"{found.draws} of {ROWS} background rows" if found.draws < found.of else ""
        asker.seconds, parts = budget, []
        for name, value, error in zip(row, found.values.tolist(), found.errors.tolist(), strict=True):
            parts.append({"column": name, "value": value, "error": error})
        for spec in self._texts:
            place = list(row).index(spec.name)
            if levels := text_levels(spec.name, str(row[spec.name].reshape(-1)[0]), (0,)):
                inside = drops(asker, row, levels)
                parts[place]["words"] = _words(row[spec.name], levels[inside.level], inside)
                less = "; ".join(filter(None, (less, _coarser(levels, inside, f"groups of words in {spec.name}"))))
        return Explanation(
            target,
            found.output,
            f"shapley, {found.method}",
            tuple(parts),
            found.base,
            found.draws,
            asker.evaluations,
            asker.spent,
            less,
        )

    def _image(self, asker: Asker, target: Target, row: Arrays, name: str) -> Explanation:
        levels = image_levels(name, row[name][0])
        found = drops(asker, row, levels)
        side = int(len(found.values) ** 0.5)
        less = _coarser(levels, found, f"{side}x{side} patches")
        return _occluded(asker, target, found, (), less, found.values.reshape(side, side))

    def _array(self, asker: Asker, target: Target, row: Arrays) -> Explanation:
        levels = array_levels(self._signature.inputs, row)
        found, parts = drops(asker, row, levels), list[dict[str, Any]]()
        for cut, value in zip(levels[found.level].cuts(), found.values.tolist(), strict=True):
            where = cut.where[0]
            at = {} if where is ... else {"from": where.start, "to": where.stop}
            parts.append({"input": cut.input, **at, "value": value, "error": 0.0})
        return _occluded(asker, target, found, tuple(parts), _coarser(levels, found, f"{len(parts)} parts"))

    def _text(self, asker: Asker, target: Target, row: Arrays, name: str) -> Explanation:
        levels = text_levels(name, str(row[name].reshape(-1)[0]), (0,) * (row[name].ndim - 1))
        if not levels:
            raise CannotExplain(f"{name}: the text has no word")
        found = drops(asker, row, levels)
        words = _words(row[name], levels[found.level], found)
        return _occluded(asker, target, found, tuple(words), _coarser(levels, found, f"{len(words)} groups of words"))


def _words(array: Array, level: Level, found: Drops) -> list[dict[str, Any]]:
    text = str(array.reshape(-1)[0])
    return [
        {"text": text[start:stop][:200], "from": start, "to": stop, "value": value, "error": 0.0}
        for (start, stop), value in zip(spans(text, level.parts), found.values.tolist(), strict=True)
    ]


def _occluded(
    asker: Asker, target: Target, found: Drops, parts: tuple[dict[str, Any], ...], less: str, heat: Array | None = None
) -> Explanation:
    counts = {"evaluations": asker.evaluations, "seconds": asker.spent}
    return Explanation(target, found.output, "occlusion", parts, **counts, degraded=less, heat=heat)  # type: ignore[arg-type]


def _coarser(levels: list[Level], found: Drops, what: str) -> str:
    if found.level == len(levels) - 1:
        return ""
    return f"{what}, {levels[found.level].parts} where {levels[-1].parts} are possible"


def _own(array: Array) -> Array:
    """Texts as objects: a NumPy text is cut to the longest one that its array has had."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return array.astype(object) if array.dtype.kind == "U" else array


def _bytes(row: Arrays) -> int:
    texts = sum(len(each) for array in row.values() if array.dtype == object for each in array.reshape(-1))
    return texts + sum(array.nbytes for array in row.values())
