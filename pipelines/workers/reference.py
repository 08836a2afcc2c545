"""The reference of a candidate: its inputs and answers on the holdout, in the terms of the prediction log.

Every value is what the log would hold of the sample, as serving.prediction_log.tables reads it: with as many digits, as a
float32 where the header says "float". An input has columns for each rule by which the log may keep it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from pipelines.workers.compatibility import Array
from registry.dataclass import dataclass
from registry.records import Signature, TensorSpec
from retraining.monitoring.calibration import calibrate
from retraining.monitoring.marks import MOST_CELLS, mark
from retraining.monitoring.names import CLASS_FIELD, CONFIDENCE, CONFIDENCE_FIELD, LogField, category, fields_of
from retraining.monitoring.reference import Reference, knots_for
from retraining.monitoring.sketches import Categories, Numbers, counted, numbers, only_shared
from serving.engines.base import Arrays, cast_inputs
from serving.prediction_log.rules import COLUMN_RULES, Kept, is_scalar, make_plan, numbers_of
from serving.prediction_log.values import best, field_types, input_values, one_of, output_columns, text
from serving.probabilities import Probabilities
from training.data.checks import HANDFUL
from training.data.spec import DataSpec

PLACES = 64
"""Numbers of one instance's array up to which each is a column of its own, beside the features of the array."""
NO_KEY = b""
"""What is kept as a keyed hash is not among the columns."""
Values = Array | Counter[str | None]
"""Of one column: numbers, shape (rows,), NaN where one is missing; or how often it has which value, None for a missing one."""
Key = tuple[str, LogField]
"""A column's name, and the field that it is of."""


@dataclass(frozen=True, slots=True)
class Source:
    """An input by one of the rules by which the log may keep it."""

    spec: TensorSpec
    kept: Kept
    fields: tuple[LogField, ...]

    def columns(self, array: Array) -> Iterator[tuple[Key, Values]]:
        """`array` has a row per sample, in the dtype of the signature."""
        yield from _columns(self.fields, input_values(self.kept, array, NO_KEY))


@dataclass(frozen=True, slots=True)
class Part:
    """What one batch adds: which of its samples have an answer, and of those the columns."""

    answered: Array
    columns: dict[Key, Values]
    marks: frozenset[int]


@dataclass(frozen=True, slots=True)
class ReferenceMaker:
    """Takes the batches of the holdout as they are predicted, from several threads, and makes the reference at the end.

    Inputs that have one value per sample are read once more then, one by one: there may be thousands of them.
    """

    signature: Signature
    data: DataSpec
    probabilities: Probabilities
    sources: tuple[Source, ...]
    outputs: tuple[Kept, ...]
    types: Mapping[str, Any]
    """Of the outputs, as a header has them."""
    marked: tuple[Kept, ...]
    """The inputs by the rules that say which sample it is; empty: none can be marked."""
    _parts: dict[int, Part] = field(default_factory=dict)

    def add(self, start: int, inputs: Arrays, outputs: Arrays) -> None:
        """The samples from `start` on, in the signature's dtypes. Those without an answer do not count: the API refuses them."""
        answered = np.ones(len(next(iter(outputs.values()))), dtype=bool)
        for each in outputs.values():
            if each.dtype.kind == "f":
                answered &= np.isfinite(each).reshape(len(each), -1).all(axis=1)
        columns, rows = dict[Key, Values](), dict[tuple[str, str], list[Any]]()
        if answered.any():
            for source in self.sources:
                if not is_scalar(source.spec):
                    kept = source.kept
                    rows[kept.name, kept.how] = found = input_values(kept, inputs[kept.name][answered], NO_KEY)
                    columns |= _columns(source.fields, found)
            columns |= self._answers({name: each[answered] for name, each in outputs.items()})
        self._parts[start] = Part(answered, columns, frozenset(self._marks(start, inputs, answered, rows)))

    def _marks(
        self, start: int, inputs: Arrays, answered: Array, known: Mapping[tuple[str, str], list[Any]]
    ) -> Iterator[int]:
        """Of the answered samples of a batch; `known`: the values of inputs that were made already."""
        if not self.marked or not answered.any() or start * len(self.marked) >= MOST_CELLS:
            return
        values = [
            known.get((kept.name, kept.how)) or input_values(kept, inputs[kept.name][answered], NO_KEY)
            for kept in self.marked
        ]
        names = [kept.name for kept in self.marked]
        for row in zip(*values, strict=True):
            yield mark(dict(zip(names, row, strict=True)))

    def make(self, x: Mapping[str, Array], right: Array | None) -> Reference:
        """Of all inputs `x` as the dataset has them, and whether each answer was `right`: bool, shape (samples,), as `x`
        in the order of the holdout; None for regression."""
        parts = [self._parts[start] for start in sorted(self._parts)]
        answered = np.concatenate([each.answered for each in parts])
        kinds = dict.fromkeys(key for each in parts for key in each.columns)
        joined = {key: _joined([each.columns[key] for each in parts if key in each.columns]) for key in kinds}
        scalars = [each for each in self.sources if is_scalar(each.spec)]
        count = sum(fields.kind == "numbers" for _, fields in kinds) + sum(each.kept.how == "value" for each in scalars)
        knots = knots_for(count)
        found = {key: _sketch(values, knots) for key, values in joined.items()}
        for source in scalars:
            if answered.any():
                array = cast_inputs(_only(self.signature, source.spec), x)[source.spec.name][answered]
                found |= {key: _sketch(values, knots) for key, values in source.columns(array)}
        found = {key: self._shown(key[1], sketch) for key, sketch in found.items()}
        curve = None
        if right is not None and (CONFIDENCE, CONFIDENCE_FIELD) in joined:
            curve = calibrate(np.asarray(joined[CONFIDENCE, CONFIDENCE_FIELD], dtype=np.float64), right[answered])
        marks = frozenset[int]().union(*(each.marks for each in parts))
        return Reference(int(answered.sum()), _unambiguous(found), curve, marks)

    def _answers(self, outputs: Arrays) -> Iterator[tuple[Key, Values]]:
        for name, rows in output_columns(self.outputs, [outputs], NO_KEY):
            yield from _columns(_fields(("outputs", name), self.types), rows)
        names, sure = best([self.probabilities.of(outputs)], [outputs], one_of(self.signature))
        if names:
            yield from _columns((CLASS_FIELD,), names)
        if sure:
            yield from _columns((CONFIDENCE_FIELD,), sure)

    def _shown(self, of: LogField, sketch: Numbers | Categories) -> Numbers | Categories:
        """Without the texts that only a few samples share."""
        if isinstance(sketch, Numbers) or of.type != "text" or of == CLASS_FIELD:
            return sketch
        columns = {each.name: each for each in self.data.columns} if of.path[0] == "inputs" else {}
        column = columns.get(of.path[1])
        known = (*column.common, *([""] if column.has_missing else [])) if column else ()
        return only_shared(sketch, HANDFUL, frozenset(map(text, known)))


def maker(signature: Signature, data: DataSpec, warm: Arrays) -> ReferenceMaker:
    """For the model with `signature`, trained on `data`, whose outputs for good rows are `warm`."""
    plan = make_plan(signature, data, {}, "features")
    probabilities, types = Probabilities(signature, warm), field_types(signature, plan)["outputs"]
    marked = tuple(_marked(signature, data))
    return ReferenceMaker(signature, data, probabilities, tuple(sources(signature, data)), plan.outputs, types, marked)


def _marked(signature: Signature, data: DataSpec) -> Iterator[Kept]:
    """Each input by `value`, or an image by its features; none at all where one of them is a long array."""
    rules = {} if signature.kind == "image" else {each.name: "value" for each in signature.inputs}
    found = make_plan(signature, data, rules, "features").inputs
    for spec, kept in zip(signature.inputs, found, strict=True):
        if not (kept.is_image or (kept.how == "value" and numbers_of(spec) <= PLACES)):
            return
    yield from found


def sources(signature: Signature, data: DataSpec) -> Iterator[Source]:
    """Every input by every rule that leaves something to compare."""
    seen = set[tuple[str, str]]()
    for rule in ("", *COLUMN_RULES):
        rules = {each.name: rule for each in signature.inputs} if rule else {}
        plan = make_plan(signature, data, rules, "features")
        types = field_types(signature, plan)["inputs"]
        for spec, kept in zip(signature.inputs, plan.inputs, strict=True):
            if kept.how in {"no", "hash"} or (kept.name, kept.how) in seen or not _comparable(spec, kept):
                continue
            seen.add((kept.name, kept.how))
            yield Source(spec, kept, _fields(("inputs", kept.name), types))


def _comparable(spec: TensorSpec, kept: Kept) -> bool:
    if spec.dtype == "string":
        return kept.column is not None  # of other texts each may be somebody's own
    return kept.how != "value" or is_scalar(spec) or numbers_of(spec) <= PLACES


def _fields(path: tuple[str, str], types: Mapping[str, Any]) -> tuple[LogField, ...]:
    facts = types[path[1]]
    return tuple(fields_of(path, facts["kept"], facts["type"]))


def _columns(fields: Sequence[LogField], rows: Sequence[Any]) -> Iterator[tuple[Key, Values]]:
    """Of one input or output, of which `rows` has what a line says: a value, a list, or an object of them."""
    for each in fields:
        values = [row.get(each.path[-1]) for row in rows] if isinstance(rows[0], dict) else rows
        if not each.is_list:
            yield (each.name, each), _typed(each, values)
            continue
        listed = [value if isinstance(value, list) else [value] for value in values]
        for place, column in enumerate(zip(*listed, strict=True)):
            yield (each.at(place), each), _typed(each, column)
            if each.kind == "categories":  # where the largest number is; where the next ones are says little more
                break


def _typed(of: LogField, values: Sequence[Any]) -> Values:
    if of.kind == "categories":
        counts = Counter(values)
        return Counter({None if each is None else category(each): count for each, count in counts.items()})
    found = np.array(values, dtype=np.float64)  # None becomes NaN
    return found.astype(np.float32) if of.type.startswith("float") else found


def _joined(parts: Sequence[Values]) -> Values:
    arrays = [each for each in parts if not isinstance(each, Counter)]
    if arrays:
        return np.concatenate(arrays)
    total = Counter[str | None]()
    for each in parts:
        total.update(each)
    return total


def _sketch(values: Values, knots: int) -> Numbers | Categories:
    return counted(values) if isinstance(values, Counter) else numbers(values, knots)


def _unambiguous(found: Mapping[Key, Numbers | Categories]) -> dict[str, Numbers | Categories]:
    """By name, without those that two fields have: `a.mean` may be a feature of `a`, or an input."""
    often = Counter(name for name, _ in found)
    return {name: sketch for (name, _), sketch in found.items() if often[name] == 1}


def _only(signature: Signature, spec: TensorSpec) -> Signature:
    return replace(signature, inputs=(spec,))
