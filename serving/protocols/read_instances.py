"""From the body of a request to the inputs of the model: `{"instances": [...]}` or image files.

How one instance is written follows from the signature: `image`: nested lists, height x width (x channels), or a PNG or
JPEG file; `table`: an object with named columns; `array`: nested lists, or an object when there are several
inputs.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import orjson

from registry.records import Signature, TensorSpec
from registry.spelling import name_spelling
from serving.engines.base import Array
from serving.errors import Refused, bad_request, did_you_mean, show
from serving.protocols.fields import EXACT, Field, depth_of, field_of
from serving.protocols.read_numbers import numbers
from training.data.decode import JPEG, PNG, Unreadable, decode, scans
from training.data.spec import DataSpec

INSTANCES = b'"instances"'
FORM_JSON = "json"
"""The field of a form that holds JSON, for what is not a list of fields."""
UNSAFE = re.compile(r'["\\]|%(?:22|0[AaDd])|^\s|\s$|^$')
"""Names that a browser or a parser of forms changes, beside those with characters that are not printable."""
LARGE = 1 << 20
"""Bytes of JSON. Parsed, they can take 30 times the memory, so of larger bodies one is read at a time; the parser holds
the GIL, so nobody waits longer for that."""
MAX_PIXELS = 16 << 20
"""Of all images in one request, which compressed take next to nothing; as RGB in float32 they take 200 MB."""
MAX_WORK = 256 << 20
"""Pixels times scans of all images in one request: a JPEG may be decoded in many passes, and this takes half a second."""
LARGE_PIXELS = 1 << 20
"""Requests with more pixels, too, are read one at a time."""

_one_large = threading.RLock()


def one_at_a_time(large: bool) -> AbstractContextManager[Any]:  # noqa: FBT001  (reads like `if`)
    """Of all requests that are `large`, one is read at a time."""
    return _one_large if large else nullcontext()


class Reader:
    """Makes inputs from bodies, for one signature. All methods raise Refused, naming the error and its path."""

    def __init__(self, signature: Signature, data: DataSpec | None = None) -> None:
        """`data` describes the dataset of the model: the categories of its columns."""
        if signature.kind == "image":
            signature = replace(signature, inputs=tuple(_pixels(each) for each in signature.inputs))
        self.signature = signature
        # A column, and anything else with one value per sample, is written as that value.
        columns = data.columns if data and signature.kind == "table" else ()
        vocabulary = {each.name: each.vocabulary for each in columns if each.kind == "categorical"}
        self.fields = tuple(
            field_of(each, () if each.shape[1:] == (1,) else None, vocabulary.get(each.name, ()))
            for each in signature.inputs
        )
        self.named = signature.kind == "table" or len(self.fields) > 1
        self.form_names = _form_names([each.name for each in self.fields])
        """Input → what it is called in a form."""
        shape = self.fields[0].shape if self.fields else ()
        grey = signature.kind == "image" and shape[-1:] == (1,)
        self._shapes = (shape[:-1], shape) if grey else (shape,)
        """How one instance may be written, where there is one input."""
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
        field = self._lenient(self.fields[0], rows[0])
        array = field.read(rows, _row, plain=plain)
        return {field.name: array.reshape(len(rows), *self._shape(array))}, len(rows)

    def images(self, files: list[bytes], limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from PNG or JPEG files."""
        if self.signature.kind != "image" or self.named:
            raise Refused(415, "this model takes no images", hint='send JSON: {"instances": [...]}')
        _check_count(len(files), limit)
        prefixes = [f"image {i}: " if len(files) > 1 else "" for i in range(len(files))]
        sizes = [self._image_size(data, prefix) for data, prefix in zip(files, prefixes, strict=True)]
        if len(set(sizes)) > 1:
            raise bad_request("the images have different sizes; send them one by one")
        pixels = sum(height * width for height, width in sizes)
        if pixels > MAX_PIXELS:
            message = f"{len(files)} images of {pixels} pixels in all, {MAX_PIXELS} are allowed in one request"
            raise Refused(413, message, hint="send them in parts")
        work = sum(height * width * scans(data) for (height, width), data in zip(sizes, files, strict=True))
        if work > MAX_WORK:
            message = f"{work} pixels to decode, counted once per scan of a JPEG; {MAX_WORK} are allowed in one request"
            raise Refused(
                413, message, hint="save the images with fewer scans, e.g. as baseline JPEG, or send fewer at once"
            )
        field = self.fields[0]
        with one_at_a_time(pixels > LARGE_PIXELS):
            arrays = [self._image(data, *sizes[0], prefix) for data, prefix in zip(files, prefixes, strict=True)]
            return {field.name: field.bounded(np.stack(arrays), _row)}, len(files)

    def form(self, texts: dict[str, str]) -> tuple[dict[str, Array], int]:
        """Inputs by name, and 1: one row, with a field per input; or JSON in the field `json`."""
        if texts.keys() == {FORM_JSON} and FORM_JSON not in {each.name for each in self.fields}:
            return self.instances(texts[FORM_JSON].encode(), 1)
        if self.signature.kind == "image" and not self.named:
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

    def _named(self, rows: list[Any], *, plain: bool) -> dict[str, Array]:
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
            return Field(field.name, field.shape[:-1], field.dtype, field.low, field.high)
        if field.shape == () and isinstance(first, list) and self.signature.inputs[0].shape[1:] == (1,):
            return Field(field.name, (1,), field.dtype, field.low, field.high)
        return field

    def _shape(self, array: Array) -> tuple[int, ...]:
        """One sample's shape as the model has it: dimensions of 1 that were left out are back."""
        missing = len(self.signature.inputs[0].shape) - array.ndim
        return (*array.shape[1:], *(1,) * missing)

    def _image(self, data: bytes, height: int, width: int, prefix: str) -> Array:
        """One image in the model's mode, uint8, height x width x channels."""
        try:
            found_height, found_width, mode, _, pixels = decode(data)
        except Unreadable as error:
            raise bad_request(f"{prefix}the image {error}", hint=error.hint) from None
        wanted = self.image_mode()
        if (found_height, found_width) != (height, width):
            raise bad_request(f"{prefix}the image's header and data differ in size")
        if mode != wanted:
            from PIL import Image

            pixels = Image.frombytes(mode, (width, height), pixels).convert(wanted).tobytes()
        return np.frombuffer(pixels, np.uint8).reshape(height, width, -1)

    def _image_size(self, data: bytes, prefix: str) -> tuple[int, int]:
        """Height and width, which fit the model's. Only the file's header is read."""
        wanted = self.signature.inputs[0].shape[1:]
        if len(wanted) != 3:
            raise Refused(415, "this model takes no image files", hint='send JSON: {"instances": [...]}')
        if not data.startswith((PNG, JPEG)):
            raise bad_request(f"{prefix}the body is neither PNG nor JPEG", hint=f"send {self.image_text()}")
        from PIL import Image

        try:
            with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
                width, height = image.size
        except Exception as error:  # noqa: BLE001  (damaged bytes can make a decoder raise anything; the client gets its message)
            raise bad_request(f"{prefix}the image cannot be read: {str(error).partition(' <')[0]}") from None
        fits = all(want in {None, have} for want, have in zip(wanted, (height, width), strict=False))
        if not fits or width * height > MAX_PIXELS:
            raise bad_request(f"{prefix}the image is {width}x{height} pixels, not {self.image_text()}")
        return height, width

    def image_mode(self) -> str:
        """Pillow's mode of the images that the model was trained on: `L` or `RGB`."""
        return self.signature.image_mode or ("L" if self.signature.inputs[0].shape[-1] == 1 else "RGB")

    def image_text(self) -> str:
        """`a PNG or JPEG of 28x28 pixels (width x height), grey`."""
        height, width = self.signature.inputs[0].shape[1:3]
        size = f"{width or 'any'}x{height or 'any'} pixels (width x height)"
        return f"a PNG or JPEG of {size}, {'grey' if self.image_mode() == 'L' else 'RGB'}"


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
