"""Inputs that a request sends by name, a whole column or tensor each: one reader for all dialects that do so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from registry.records import TensorSpec
from registry.spelling import name_spelling
from serving.engines.base import Array, shape_text
from serving.errors import Refused, bad_request, did_you_mean, show
from serving.protocols.fields import depth_of
from serving.protocols.read_instances import Reader

Shape = tuple[int | None, ...]


class NamedInputs:
    """For one model. All methods raise Refused; `path` is how the dialect names the place, e.g. `inputs[0]`."""

    def __init__(self, reader: Reader) -> None:
        specs = reader.signature.inputs
        self._known = {each.name: (each, field) for each, field in zip(specs, reader.fields, strict=True)}
        self._spellings = {name_spelling(each): each for each in self._known}
        self._what = "column" if reader.signature.kind == "table" else "input"

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the signature."""
        return tuple(self._known)

    def spec(self, name: Any, path: str) -> TensorSpec:
        """The input called `name`, also in Unicode's other form or with a blank at an end."""
        if not isinstance(name, str):
            raise bad_request(f"{path}: {show(name)} is not the name of an input")
        found = name if name in self._known else self._spellings.get(name_spelling(name), "")
        if not found:
            raise bad_request(f"{path}: {name[:80]!r}: no such {self._what}", hint=did_you_mean(name, self._known))
        return self._known[found][0]

    def from_array(self, spec: TensorSpec, array: Array, path: str) -> Array:
        """A numeric or boolean array as the model takes it: its shape, its dtype, every number within the bounds."""
        field = self._known[spec.name][1]
        shaped = array.reshape(len(array), *self._model_shape(spec, array.shape[1:], path))
        if spec.dtype == "bool":
            if array.dtype != np.bool_:
                raise bad_request(f"{path}: {array.dtype.name} is not bool")
            return shaped
        if array.dtype == np.bool_ and (field.low, field.high) != (0, 1):
            raise bad_request(f"{path}: bool is not {spec.dtype}")
        return field.bounded(shaped, _rows_of(path), "NaN")

    def from_texts(self, spec: TensorSpec, texts: list[Any], shape: tuple[int, ...], path: str) -> Array:
        """Texts in row-major order for an input of texts; categories in any of their spellings."""
        field = self._known[spec.name][1]
        dims = self._model_shape(spec, shape[1:], path)
        checked = field.written is not None or field.marks
        values = [field.as_known(each) for each in texts] if field.is_read else texts
        for i, each in enumerate(values):
            if type(each) is not str or len(each) > field.longest or (checked and field.refusal(each)):
                raise bad_request(f"{path}[{i}]: {field.refusal(each)}")
        return np.asarray(values, dtype=object).reshape(shape[0], *dims)

    def from_flat(self, spec: TensorSpec, values: list[Any], shape: tuple[int, ...], path: str) -> Array:
        """Numbers or truth values in row-major order."""
        self._model_shape(spec, shape[1:], path)
        if not values:
            return np.empty(shape, spec.dtype).reshape(shape[0], *self._model_shape(spec, shape[1:], path))
        flat = replace(self._known[spec.name][1], shape=())
        array = flat.read(values, _rows_of(path), plain=set(map(type, values)) <= {int, float})
        return array.reshape(shape[0], *self._model_shape(spec, shape[1:], path))

    def from_list(self, spec: TensorSpec, values: Any, path: str) -> Array:
        """Nested lists, one entry per row."""
        if not isinstance(values, list) or not values:
            raise bad_request(f"{path}: {'empty' if values == [] else show(values)}, a list of rows is expected")
        field, dims = self._known[spec.name][1], spec.shape[1:]
        depth = depth_of(values[0])
        shape = dims[:depth] if all(each == 1 for each in dims[depth:]) else dims
        array = replace(field, shape=shape).read(values, _rows_of(path), plain=False)
        return array.reshape(len(values), *self._model_shape(spec, array.shape[1:], path))

    def joined(self, arrays: Mapping[str, Array], limit: int, where: str = "inputs") -> tuple[dict[str, Array], int]:
        """The inputs in the model's order and the number of rows, 0 included; refuses missing ones and unequal lengths."""
        for name in self._known:
            if name not in arrays:
                raise bad_request(f"{where}: {name!r} is missing", hint=f"{self._what}s: {', '.join(self._known)}")
        lengths = {name: len(arrays[name]) for name in self._known}
        rows = next(iter(lengths.values()))
        for name, length in lengths.items():
            if length != rows:
                raise bad_request(f"{where}: {name!r} has {length} rows, {next(iter(lengths))!r} has {rows}")
        if rows > limit:
            raise Refused(413, f"{rows} instances, {limit} are allowed in one request", hint="send them in parts")
        return {name: arrays[name] for name in self._known}, rows

    def _model_shape(self, spec: TensorSpec, shape: tuple[int, ...], path: str) -> tuple[int, ...]:
        """One row's shape as the model has it: dimensions of 1 at the end may be left out."""
        wanted = spec.shape[1:]
        full = (*shape, *(1,) * (len(wanted) - len(shape)))
        rest_is_one = all(each == 1 for each in wanted[len(shape) :])
        fits = len(full) == len(wanted) and rest_is_one
        if not fits or any(want not in {None, have} for want, have in zip(wanted, full, strict=True)):
            raise bad_request(f"{path}: shape {shape_text(shape)} per row, {shape_text(wanted)} is expected")
        return full


def _rows_of(path: str) -> Callable[[int], str]:
    return lambda i: f"{path}[{i}]"
