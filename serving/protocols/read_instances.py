"""From the body of a request to the inputs of the model: `{"instances": [...]}` or image files.

How one instance is written follows from the signature: `image`: nested lists, height x width (x channels), or an image
file, in JSON `{"b64": "…"}`; `table`: an object with named columns; `array`: nested lists, or an object when there are several
inputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from registry.records import Signature, TensorSpec
from registry.spelling import name_spelling
from serving.engines.base import Array, ColumnBlock, can_be_block
from serving.errors import Refused, bad_request, did_you_mean, show
from serving.protocols.fields import EXACT, Field, depth_of, field_of
from serving.protocols.large import LARGE, one_at_a_time
from serving.protocols.read_images import ImageReader, octets
from serving.protocols.read_numbers import numbers
from training.data.spec import DataSpec

INSTANCES = b'"instances"'
FORM_JSON = "json"
"""The field of a form that holds JSON, for what is not a list of fields."""
UNSAFE = re.compile(r'["\\]|%(?:22|0[AaDd])|^\s|\s$|^$')
"""Names that a browser or a parser of forms changes, beside those with characters that are not printable."""


class Reader:
    """Makes inputs from bodies, for one signature. All methods raise Refused, naming the error and its path."""

    def __init__(self, signature: Signature, data: DataSpec | None = None) -> None:
        """`data` describes the dataset of the model: the categories of its columns."""
        if signature.kind == "image":
            signature = replace(signature, inputs=tuple(_pixels(each) for each in signature.inputs))
        self.signature = signature
        # A column, and anything else with one value per sample, is written as that value.
        columns = data.columns if data and signature.kind == "table" else ()
        written = {each.name: each.written for each in signature.dates}
        vocabulary = {each.name: each.vocabulary for each in columns if each.kind == "categorical"}
        marks = frozenset((signature.text and signature.text.na) or ())
        self.fields = tuple(
            field_of(
                each,
                () if each.shape[1:] == (1,) else None,
                vocabulary.get(each.name, ()),
                written.get(each.name),
                marks,
            )
            for each in signature.inputs
        )
        self.named = signature.kind == "table" or len(self.fields) > 1
        self.image = None if self.named or signature.kind != "image" else ImageReader(signature)
        """Where image files can be sent."""
        self.form_names = _form_names([each.name for each in self.fields])
        """Input → what it is called in a form."""
        shape = self.fields[0].shape if self.fields else ()
        grey = signature.kind == "image" and shape[-1:] == (1,)
        self._shapes = (shape[:-1], shape) if grey else (shape,)
        """How one instance may be written, where there is one input."""
        self._values = itemgetter(*(each.name for each in self.fields)) if can_be_block(signature.inputs) else None
        self._lows, self._highs = (np.array([getattr(each, end) for each in self.fields]) for end in ("low", "high"))
        self._texts = any(each.dtype in {"string", "bool"} for each in self.fields)

    def instances(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from JSON."""
        with one_at_a_time(len(body) > LARGE):
            return self._instances(body, limit)

    def _instances(self, body: bytes, limit: int) -> tuple[dict[str, Array], int]:
        quick = None if self.named or self._texts else self._quick(body)
        if quick is not None and len(quick) <= limit:
            return {self.fields[0].name: quick}, len(quick)
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body is not JSON: {error}", hint='send {"instances": [...]}') from None
        rows = self._rows(found, limit)
        return self._read(rows, plain=not self._texts and self._plain(body, len(rows)))

    def _quick(self, body: bytes) -> Array | None:
        """The only input, when it can be read without a look at each number; None: it is unusual, or not to be taken."""
        field, given = self.fields[0], self.signature.inputs[0].shape[1:]
        array = numbers(body, self._shapes)
        if array is None or (field.dtype in {"int64", "uint64"} and np.abs(array).max() >= EXACT):
            return None
        try:
            return field.bounded(array, _row).reshape(
                len(array), *array.shape[1:], *(1,) * (len(given) + 1 - array.ndim)
            )
        except Refused:
            return None

    def rows(self, rows: list[Any], limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from `instances` that have been parsed."""
        _check_count(len(rows), limit)
        return self._read(rows, plain=False)

    def _read(self, rows: list[Any], *, plain: bool) -> tuple[dict[str, Array], int]:
        if self.named:
            return self._named(rows, plain=plain), len(rows)
        if self.image and isinstance(rows[0], dict):
            return self.images(octets(rows, "instances"), len(rows))
        field = self._lenient(self.fields[0], rows[0])
        array = field.read(rows, _row, plain=plain)
        return {field.name: array.reshape(len(rows), *self._shape(array))}, len(rows)

    def images(self, files: list[bytes], limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from image files."""
        if self.image is None:
            raise Refused(415, "this model takes no images", hint='send JSON: {"instances": [...]}')
        _check_count(len(files), limit)
        field = self.fields[0]
        return {field.name: field.bounded(self.image.read(files), _row)}, len(files)

    def form(self, texts: dict[str, str]) -> tuple[dict[str, Array], int]:
        """Inputs by name, and 1: one row, with a field per input; or JSON in the field `json`."""
        if texts.keys() == {FORM_JSON} and FORM_JSON not in {each.name for each in self.fields}:
            return self.instances(texts[FORM_JSON].encode(), 1)
        if self.image:
            raise bad_request("the form holds no file", hint="curl -F image=@digit.png …")
        if not self.named:
            hint = f'a form can hold JSON in the field {FORM_JSON}: {{"instances": [...]}}'
            raise bad_request("this model takes one input without a name, and no fields", hint=hint)
        if not texts:
            raise bad_request("the form holds no field", hint=f"fields: {', '.join(each.name for each in self.fields)}")
        by_form_name = {name: column for column, name in self.form_names.items()}
        names = {name: by_form_name.get(name, name) for name in texts}
        fields = {each.name: each for each in self.fields}
        row = {
            names[each]: fields[names[each]].from_text(text) if names[each] in fields else text
            for each, text in texts.items()
        }
        return self._named([row], plain=False), 1

    def _rows(self, found: Any, limit: int) -> list[Any]:
        if not isinstance(found, dict):
            raise bad_request(f"the body is {show(found)}", hint='send an object: {"instances": [...]}')
        if "instances" not in found:
            hint = 'send {"instances": [...]}, one entry per sample'
            raise bad_request('"instances" is missing', hint=hint)
        if len(found) > 1:
            name = next(each for each in found if each != "instances")
            raise bad_request(f"{name:.80}: not known", hint='the body has one key: "instances"')
        rows = found["instances"]
        if not isinstance(rows, list) or not rows:
            raise bad_request(f"instances: {'empty' if rows == [] else show(rows)}, a list of samples is expected")
        _check_count(len(rows), limit)
        return rows

    def _plain(self, body: bytes, rows: int) -> bool:
        """Whether the JSON holds numbers, null, lists and objects only: as many quotes as its keys need."""
        if b"true" in body or b"false" in body:
            return False
        if not self.named:
            return body.find(b'"', body.find(INSTANCES) + len(INSTANCES)) < 0
        return body.count(b'"') == 2 + 2 * rows * len(self.fields)

    def _block(self, rows: list[Any], *, plain: bool) -> ColumnBlock | None:
        """The inputs, when all are columns of numbers and nothing about them is unusual; None: they are to be looked at one by
        one, which also finds what is to be refused."""
        if self._values is None:
            return None
        try:
            values = [self._values(row) for row in rows if len(row) == len(self.fields)]
            if len(values) < len(rows) or not (plain or all(set(map(type, each)) <= {int, float} for each in values)):
                return None
            array = np.array(values, np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        if array.ndim != 2 or not ((array >= self._lows) & (array <= self._highs)).all():
            return None
        specs = self.signature.inputs
        return ColumnBlock(specs, np.ascontiguousarray(array.T, specs[0].dtype))

    def _named(self, rows: list[Any], *, plain: bool) -> dict[str, Array]:
        if (block := self._block(rows, plain=plain)) is not None:
            return block
        try:
            columns = [[row[field.name] for row in rows] for field in self.fields]
            fits = all(len(row) == len(self.fields) for row in rows)
        except (KeyError, TypeError):
            fits = False
        if not fits:
            rows = self._renamed(rows)
            columns = [[row[field.name] for row in rows] for field in self.fields]
        arrays = [
            field.read(values, _column(field.name), plain=plain)
            for field, values in zip(self.fields, columns, strict=True)
        ]
        return {
            spec.name: array.reshape(len(rows), 1) if spec.shape[1:] == (1,) else array
            for spec, array in zip(self.signature.inputs, arrays, strict=True)
        }

    def _renamed(self, rows: list[Any]) -> list[dict[str, Any]]:
        """Rows whose names are spelled otherwise (in Unicode's other form, with a blank), under the dataset's names; raises
        Refused for rows that have other names."""
        names = {field.name for field in self.fields}
        by_spelling = {name_spelling(each): each for each in names}
        renamed: list[dict[str, Any]] = []
        for row in rows:
            if not isinstance(row, dict) or len(row) != len(names):
                raise self._misnamed(rows)
            ours = {each: each if each in names else by_spelling.get(name_spelling(each), "") for each in map(str, row)}
            if set(ours.values()) != names:
                raise self._misnamed(rows)
            renamed.append({ours[each]: value for each, value in row.items()})
        return renamed

    def _misnamed(self, rows: list[Any]) -> Refused:
        """Which row has which wrong or missing name."""
        what, known = ("column" if self.signature.kind == "table" else "input"), [each.name for each in self.fields]
        for i, row in enumerate(rows):
            if not isinstance(row, dict):
                return bad_request(
                    f"instances[{i}]: {show(row)}", hint=f"send an object with the {what}s {', '.join(known)}"
                )
            for name in row:
                if name not in known:
                    message = f"instances[{i}].{name:.80}: no such {what}"
                    return bad_request(
                        message, hint=did_you_mean(name, [each for each in known if each not in row] or known)
                    )
            for name in known:
                if name not in row:
                    return bad_request(
                        f"instances[{i}].{name}: this {what} is missing", hint=f"{what}s: {', '.join(known)}"
                    )
        return bad_request(f"instances: a {what} is there twice, in two spellings", hint=f"{what}s: {', '.join(known)}")

    def _lenient(self, field: Field, first: Any) -> Field:
        """A grey image may be height x width, and [3] is accepted for 3."""
        if self.signature.kind == "image" and field.shape[-1:] == (1,) and depth_of(first) == len(field.shape) - 1:
            return replace(field, shape=field.shape[:-1])
        if field.shape == () and isinstance(first, list) and self.signature.inputs[0].shape[1:] == (1,):
            return replace(field, shape=(1,))
        return field

    def _shape(self, array: Array) -> tuple[int, ...]:
        """One sample's shape as the model has it: dimensions of 1 that were left out are back."""
        missing = len(self.signature.inputs[0].shape) - array.ndim
        return (*array.shape[1:], *(1,) * missing)


def _form_names(names: list[str]) -> dict[str, str]:
    """Name → itself, or where that does not come through a form as it is, `input 3` by its place, from 0."""
    safe = {each for each in names if each.isprintable() and not UNSAFE.search(each)}
    mark = "input"
    while any(each.startswith(f"{mark} ") for each in safe):
        mark += "_"
    return {each: each if each in safe else f"{mark} {i}" for i, each in enumerate(names)}


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise Refused(413, f"{count} instances, {limit} are allowed in one request", hint="send them in parts")


def _pixels(spec: TensorSpec) -> TensorSpec:
    """Pixels are 0 to 255 whatever their dtype, unless the signature says otherwise."""
    return replace(spec, low=0 if spec.low is None else spec.low, high=255 if spec.high is None else spec.high)


def _row(i: int) -> str:
    return f"instances[{i}]"


def _column(name: str) -> Callable[[int], str]:
    return lambda i: f"instances[{i}].{name}"
