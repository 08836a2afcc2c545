"""From image files to the input of a model: prepared by the code that has prepared the dataset."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.records import ImagePreparation, Signature
from serving.engines.base import Array
from serving.errors import Refused, bad_request, show
from serving.protocols.large import LARGE_PIXELS, one_at_a_time
from training.data.decode import JPEG, NAMES, ONLY, PNG, REPLACE, Unreadable, decode, open_header, scans
from training.data.preparation import measure, prepare_image

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 16 << 20
"""Of all images in one request, as the model sees them, which compressed take next to nothing; as RGB in float32 they take
200 MB."""
MAX_DECODED = 24 << 20
"""Of one image that is resized afterwards, and that is in memory alone; of a JPEG, at the size at which it is decoded."""
MAX_WORK = 256 << 20
"""Pixels times scans of all images in one request: a JPEG may be decoded in many passes, and this takes half a second."""
WHOLE = "send the bytes of a whole image file; where the body is the file, `curl -d` leaves out some of them, and `--data-binary` none"
JSON = 'send JSON: {"instances": [...]}'


class ImageReader:
    """For a model whose only input is an image. All methods raise Refused."""

    def __init__(self, signature: Signature) -> None:
        self._shape = signature.inputs[0].shape[1:]
        self._how = signature.preparation
        self.formats = self._how.formats if self._how else ONLY
        self.mode = signature.image_mode or ("L" if self._shape[-1] == 1 else "RGB")
        """Pillow's, of the images that the model was trained on: `L` or `RGB`."""

    @property
    def names(self) -> str:
        """`PNG or JPEG`."""
        *most, last = [NAMES[each] for each in self.formats]
        return f"{', '.join(most)} or {last}" if most else last

    @property
    def text(self) -> str:
        """`a PNG or JPEG of 28x28 pixels (width x height), grey`."""
        height, width = self._shape[:2]
        colour = "grey" if self.mode == "L" else "RGB"
        if self._how and self._how.resize:
            return f"a {self.names} of any size; the model sees {width}x{height} pixels (width x height), {colour}"
        return f"a {self.names} of {width or 'any'}x{height or 'any'} pixels (width x height), {colour}"

    def read(self, files: list[bytes]) -> Array:
        """The pixels of all files, uint8, shape (files, height, width, channels)."""
        if len(self._shape) != 3:
            raise Refused(415, "this model takes no image files", hint=JSON)
        prefixes = [f"image {i}: " if len(files) > 1 else "" for i in range(len(files))]
        if self._how:
            return self._prepared(self._how, files, prefixes)
        heads = [self._head(data, prefix) for data, prefix in zip(files, prefixes, strict=True)]
        sizes = [(height, width) for height, width, _ in heads]
        _check_same(sizes)
        pixels = sum(height * width for height, width in sizes)
        _check_pixels(len(files), pixels)
        _check_work(sum(height * width * scans(data) for (height, width), data in zip(sizes, files, strict=True)))
        with one_at_a_time(pixels > LARGE_PIXELS):
            return np.stack(
                [self._image(data, head, prefix) for data, head, prefix in zip(files, heads, prefixes, strict=True)]
            )

    def _prepared(self, how: ImagePreparation, files: list[bytes], prefixes: list[str]) -> Array:
        decoded = work = 0
        for data, prefix in zip(files, prefixes, strict=True):
            try:
                height, width, pixels = measure(data, how)
            except Unreadable as error:
                raise self._refused(error, prefix) from None
            decoded += pixels
            work += height * width * scans(data)
        made = len(files) * how.resize[0] * how.resize[1] if how.resize else decoded
        _check_pixels(len(files), made)
        _check_work(work)
        arrays = []
        with one_at_a_time(max(decoded, made) > LARGE_PIXELS):
            for data, prefix in zip(files, prefixes, strict=True):
                try:
                    found = prepare_image(data, how, self.mode, lenient=True, most=MAX_DECODED)
                except Unreadable as error:
                    raise self._refused(error, prefix) from None
                self._check_size(found.height, found.width, prefix)
                arrays.append(np.frombuffer(found.pixels, np.uint8).reshape(found.height, found.width, -1))
        _check_same([each.shape for each in arrays])
        return np.stack(arrays)

    def _refused(self, error: Unreadable, prefix: str) -> Refused:
        return bad_request(f"{prefix}the image {error}", hint=WHOLE if error.hint == REPLACE else error.hint)

    def _check_size(self, height: int, width: int, prefix: str) -> None:
        if any(want not in {None, have} for want, have in zip(self._shape, (height, width), strict=False)):
            raise bad_request(f"{prefix}the image is {width}x{height} pixels, not {self.text}")

    def _image(self, data: bytes, head: tuple[int, int, ImageFile | None], prefix: str) -> Array:
        """One image in the model's mode, uint8, height x width x channels."""
        height, width, opened = head
        try:
            found_height, found_width, mode, _, pixels = decode(data, opened)
        except Unreadable as error:
            raise self._refused(error, prefix) from None
        if (found_height, found_width) != (height, width):
            raise bad_request(f"{prefix}the image's header and data differ in size")
        if mode != self.mode:
            from PIL import Image

            pixels = Image.frombytes(mode, (width, height), pixels).convert(self.mode).tobytes()
        return np.frombuffer(pixels, np.uint8).reshape(height, width, -1)

    def _head(self, data: bytes, prefix: str) -> tuple[int, int, ImageFile | None]:
        """Height and width, which fit the model's, and the file as `open_header` gives it. Only the header is read."""
        if not data.startswith((PNG, JPEG)):
            raise bad_request(f"{prefix}the body is neither PNG nor JPEG", hint=f"send {self.text}")
        try:
            height, width, opened = open_header(data)
        except Exception as error:  # noqa: BLE001  (damaged bytes can make a decoder raise anything; the client gets its message)
            raise bad_request(f"{prefix}the image cannot be read: {str(error).partition(' <')[0]}") from None
        self._check_size(height, width, prefix)
        if width * height > MAX_PIXELS:
            raise bad_request(f"{prefix}the image is {width}x{height} pixels, not {self.text}")
        return height, width, opened


def _check_same(sizes: Sequence[tuple[int, ...]]) -> None:
    if len(set(sizes)) > 1:
        raise bad_request("the images have different sizes; send them one by one")


def _check_pixels(count: int, pixels: int) -> None:
    if pixels > MAX_PIXELS:
        message = f"{count} images of {pixels} pixels in all, {MAX_PIXELS} are allowed in one request"
        raise Refused(413, message, hint="send them in parts")


def _check_work(work: int) -> None:
    if work > MAX_WORK:
        message = f"{work} pixels to decode, counted once per scan of a JPEG; {MAX_WORK} are allowed in one request"
        hint = "save the images with fewer scans, e.g. as baseline JPEG, or send fewer at once"
        raise Refused(413, message, hint=hint)


def octets(rows: list[Any], where: str) -> list[bytes]:
    """The files in `{"b64": "…"}`, one per row. Raises Refused."""
    return [octets_of(each, f"{where}[{i}]") for i, each in enumerate(rows)]


def octets_of(value: Any, path: str) -> bytes:
    """The bytes in `{"b64": "…"}`; raises Refused."""
    if not isinstance(value, dict) or value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise bad_request(f"{path}: {show(value)}", hint='send {"b64": "…"}, the bytes of an image file')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"{path}.b64: is not base64") from None
