"""One input of the model: how values from JSON become its array, and what is said when they do not fit.

NumPy is quick but lenient (it takes "1" and true for numbers, cuts fractions off, lets infinity in), so its result is
bounded afterwards, and JSON that could hold such a thing is walked in Python first. That walk also finds where the
error is; good requests do not pay for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import Any

import numpy as np
import orjson

from registry.errors import Corrupt
from registry.records import TensorSpec
from registry.spelling import by_spelling, spelling
from serving.engines.base import Array, shape_text
from serving.errors import bad_request, show
from training.data import dates

MAX_TEXT = 10_000
"""Characters of one string, unless the input says another number."""
EXACT = 2**53
DECIMAL = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")
"""Whole numbers beyond this are not exact in float64."""
Where = Callable[[int], str]
"""The path of row i, for messages: `instances[3].age`."""


@dataclass(frozen=True, slots=True)
class Field:
    """An input of one sample: `shape` without the batch, bounds that every number must keep."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    low: float
    high: float
    known: frozenset[str] = field(default=frozenset(), repr=False)
    """Of a column with categories: the values that the model knows."""
    spelled: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What all spellings of a value have in common → the value, unless two values share it."""
    may_miss: bool = False
    """Whether null is taken: for NaN, or for the empty text."""
    written: str | None = None
    """Of a date: how its text is written, see `registry.records.DateColumn`. None: it is not a date."""
    longest: int = MAX_TEXT
    """Characters of a text."""
    marks: frozenset[str] = frozenset()
    """Of texts: those that mean missing in the files of the dataset, which has them nowhere as values."""

    def read(self, values: list[Any], where: Where, *, plain: bool) -> Array:
        """The array (len(values), *shape) of the field's dtype; raises Refused, naming the path.

        `plain` promises that there are only numbers, null, lists and objects in `values`.
        """
        if self.dtype == "string":
            return self._texts(values, where)
        if self.dtype == "bool":
            self._walk_all(values, where)
            return self._shaped(np.asarray(values, dtype=object), values, where).astype(bool)
        if not plain:
            self._walk_all(values, where)
        return self.bounded(self._numbers(values, where), where)

    def from_text(self, text: str) -> Any:
        """What a person has written into a form, as JSON would have it: a number where one is wanted and can be read."""
        if self.dtype == "string":
            return text
        if self.may_miss and text.strip().lower() in {"", "nan"}:
            return None
        try:
            return orjson.loads(text.strip())
        except orjson.JSONDecodeError:
            return text

    def bounded(self, array: Array, where: Where, missing: str = "null") -> Array:
        """The float64 `array` in the field's dtype, when every number is within bounds and, for integers, whole."""
        if array.size and not (self.low <= _least(array) and _most(array) <= self.high):  # `not`: NaN too
            outside = ~((array >= self.low) & (array <= self.high))
            outside &= ~(np.isnan(array) & self.may_miss)
            if outside.any():
                index = np.argwhere(outside)[0]
                value = array[tuple(index)].item()
                problem = f"{missing} is not a number" if value != value else self._out_of_range(value)  # noqa: PLR0124  (JSON has no NaN)
                raise bad_request(f"{self._path(index, where)}: {problem}")
        if self.dtype.startswith(("int", "uint")) and array.dtype.kind == "f":
            self._whole(array, where)
        return array.astype(self.dtype, copy=False)

    def _numbers(self, values: list[Any], where: Where) -> Array:
        if self.shape and self.low >= 0 and self.high <= 255 and (octets := _octets(values, self.shape)) is not None:
            return octets
        try:
            array = np.asarray(values, dtype=np.float64)
            if self.dtype in {"int64", "uint64"} and array.size and np.abs(array).max() >= EXACT:
                self._whole(array, where)  # astype would cut fractions off
                array = np.asarray(values, dtype=object).astype(self.dtype)
        except (ValueError, TypeError, OverflowError, RecursionError):
            self._walk_all(values, where)
            raise bad_request(f"{where(0)}: lists of different lengths") from None
        return self._shaped(array, values, where)

    def _whole(self, array: Array, where: Where) -> None:
        """Refuse fractions."""
        if not (array == np.floor(array)).all():
            index = np.argwhere(array != np.floor(array))[0]
            raise bad_request(f"{self._path(index, where)}: {array[tuple(index)].item()!r} is not a whole number")

    def _texts(self, values: list[Any], where: Where) -> Array:
        if self.is_read:
            values = [self.as_known(each) for each in values]
        if (
            self.shape
            or self.marks
            or self.written is not None
            or not all(type(each) is str and len(each) <= self.longest for each in values)
        ):
            self._walk_all(values, where)
        return self._shaped(np.asarray(values, dtype=object), values, where)

    @property
    def is_read(self) -> bool:
        """Whether `as_known` may make something else of a value."""
        return bool(self.known or self.may_miss or self.marks or self.written is not None)

    def as_known(self, value: Any) -> Any:
        """A category as the file has it, for what JSON makes of it: true for `True`, 1 for `1.0`, `yes ` for `yes`; the
        empty text for null, where a value may be missing."""
        if self.may_miss and (value is None or self._is_mark(value)):
            return ""
        if self.written is not None:  # a DataFrame, Parquet and Arrow have dates of their own
            return dates.as_text(value, self.written) if isinstance(value, date) else value
        if type(value) is str and (value in self.known or len(value) > self.longest):
            return value
        return self.spelled.get(spelling(value), value) if type(value) in {str, bool, int, float} else value

    def _is_mark(self, value: Any) -> bool:
        return type(value) is str and value.strip() in self.marks

    def _shaped(self, array: Array, values: list[Any], where: Where) -> Array:
        """The array, if it has the field's shape."""
        if (
            not array.size
            or array.ndim != len(self.shape) + 1
            or not all(want is None or want == have for want, have in zip(self.shape, array.shape[1:], strict=True))
        ):
            self._walk_all(values, where)
            raise bad_request(f"{where(0)}: shape {shape_text(array.shape[1:])}, {shape_text(self.shape)} is expected")
        return array

    def _walk_all(self, values: list[Any], where: Where) -> None:
        for i, each in enumerate(values):
            if error := self._walk(each, self.shape):
                path, message = error
                raise bad_request(f"{where(i)}{path}: {message}", hint=self._way_out(each))

    def _way_out(self, value: Any) -> str:
        """What to send instead of a refused value, where that can be known."""
        if (value is None or self._is_mark(value)) and not self.shape:
            return "the model takes no missing values here: send one"
        if type(value) is not str or self.shape or self.dtype in {"string", "bool"}:
            return ""
        written = value.strip().replace(",", ".")
        if DECIMAL.fullmatch(written):
            return f"send {written}: a number has a point, and no quotes in JSON"
        return "what is missing is null in JSON, and an empty field in CSV" if self.may_miss else ""

    def _walk(self, value: Any, shape: tuple[int | None, ...]) -> tuple[str, str] | None:
        """The path inside `value` and the message of the first error."""
        if not shape:
            message = self.refusal(value)
            return ("", message) if message else None
        if not isinstance(value, list):
            return "", f"{show(value)}, a list of shape {shape_text(shape)} is expected"
        if shape[0] is not None and len(value) != shape[0]:
            return "", f"{len(value)} values, {shape[0]} are expected (shape {shape_text(shape)})"
        for i, each in enumerate(value):
            if error := self._walk(each, shape[1:]):
                path, message = error
                return f"[{i}]{path}", message
        return None

    def refusal(self, value: Any) -> str:
        """What is wrong with one value; empty: nothing."""
        if value is None and self.may_miss:
            return ""
        if self.dtype == "string":
            if self._is_mark(value):
                return f"{show(value)} means a missing value in the dataset"
            if type(value) is not str:
                known = ", nor a value that the model knows in this column" if self.known else ""
                return f"{show(value)} is not a string{known}"
            if (
                self.written is not None
                and not (self.may_miss and not value)
                and not dates.is_date(value, self.written)
            ):
                return f"{show(value)} is not a date {dates.in_words(self.written)}"
            return "" if len(value) <= self.longest else f"{len(value)} characters, {self.longest} are allowed"
        if self.dtype == "bool":
            return "" if type(value) is bool else f"{show(value)} is not true or false"
        if type(value) is bool and (self.low, self.high) == (0, 1):  # the dataset has truth values there
            return ""
        if type(value) not in {int, float}:
            return f"{show(value)} is not a number"
        if value != value:  # noqa: PLR0124  (JSON has no NaN, but Python's clients write it)
            return "" if self.may_miss else "NaN is not a number"
        return "" if self.low <= value <= self.high else self._out_of_range(value)

    def _out_of_range(self, value: float) -> str:
        whole = abs(value) < EXACT and float(value).is_integer()
        shown = int(value) if whole else value
        low, high = self.bounds() if self.dtype.startswith("float") else (self.low, self.high)
        said = range_text(low, high)
        return (
            f"{shown!r} is out of range, {said} is allowed" if said else f"{shown!r} is more than {self.dtype} can hold"
        )

    def bounds(self) -> tuple[float | None, float | None]:
        """The bounds that mean something; None where there is only what the dtype can hold."""
        if self.dtype in {"string", "bool"}:
            return None, None
        lowest, highest = _holds(np.dtype(self.dtype))
        if self.dtype in {"int8", "uint8"}:  # pixels and the like
            return self.low, self.high
        return None if self.low == lowest else self.low, None if self.high == highest else self.high

    def _path(self, index: Array, where: Where) -> str:
        return where(int(index[0])) + "".join(f"[{i}]" for i in index[1:])


def _least(array: Array) -> float:
    """The smallest number, by the shortest way: NumPy takes half as long again over several dimensions."""
    return np.minimum.reduce(array.reshape(-1)).item()  # type: ignore[no-any-return]


def _most(array: Array) -> float:
    return np.maximum.reduce(array.reshape(-1)).item()  # type: ignore[no-any-return]


def _octets(values: list[Any], shape: tuple[int | None, ...]) -> Array | None:
    """Nested lists of whole numbers from 0 to 255 as uint8, twice as quick as NumPy; None: they are something else."""
    flat, found = values, [len(values)]
    try:
        for wanted in shape:
            length, *others = set(map(len, flat))
            if others or not length or wanted not in {None, length}:
                return None
            found.append(length)
            flat = list(chain.from_iterable(flat))
        return np.frombuffer(bytes(flat), np.uint8).reshape(found)
    except (TypeError, ValueError):
        return None


def field_of(
    spec: TensorSpec,
    shape: tuple[int | None, ...] | None = None,
    vocabulary: Sequence[str] = (),
    written: str | None = None,
    marks: frozenset[str] = frozenset(),
) -> Field:
    """The field of an input, its bounds filled in: those of the dtype where the signature has none.

    `shape`: how one sample is written, when not as the model has it; `vocabulary`: the categories that it knows; `written` and
    `marks`: see Field. Raises Corrupt for a dtype that requests cannot carry.
    """
    shape = spec.shape[1:] if shape is None else shape
    if spec.dtype in {"string", "bool"}:
        known, spelled = frozenset(vocabulary), by_spelling(vocabulary)
        return Field(
            spec.name,
            shape,
            spec.dtype,
            -math.inf,
            math.inf,
            known,
            spelled,
            spec.may_miss,
            written,
            spec.longest or MAX_TEXT,
            marks - known,
        )
    try:
        lowest, highest = _holds(np.dtype(spec.dtype))
    except (TypeError, ValueError):
        raise Corrupt(f"input {spec.name}: dtype {spec.dtype!r} cannot be sent in a request") from None
    low = lowest if spec.low is None else max(lowest, spec.low)
    high = highest if spec.high is None else min(highest, spec.high)
    return Field(spec.name, shape, spec.dtype, low, high, may_miss=spec.may_miss)


def _holds(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and the largest number of a dtype."""
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return (float(limits.min), float(limits.max)) if dtype.kind == "f" else (limits.min, limits.max)


def range_text(low: float | None, high: float | None) -> str:
    """`0 to 255`, `at least 0`; empty without a bound."""
    if low is not None and high is not None:
        return f"{number_text(low)} to {number_text(high)}"
    if low is not None:
        return f"at least {number_text(low)}"
    return f"at most {number_text(high)}" if high is not None else ""


def number_text(number: float) -> str:
    """`255`, not `255.0`."""
    return str(int(number)) if abs(number) < EXACT and float(number).is_integer() else f"{number:.4g}"


def depth_of(value: Any) -> int:
    """How deep lists are nested, looking at the first entries only."""
    depth = 0
    while isinstance(value, list) and value and depth < 8:
        value, depth = value[0], depth + 1
    return depth
