"""The tensors of the Open Inference Protocol: its names for types, and their bytes. Without HTTP: gRPC has the same."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from serving.engines.base import Array
from serving.errors import bad_request, show

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
"""NumPy's name, or `string` → the protocol's. BF16 is missing: NumPy has none, and no engine here asks for it."""
DTYPES = {name: dtype for dtype, name in DATATYPES.items()}
_BY_DTYPE = {np.dtype(dtype): name for dtype, name in DATATYPES.items() if dtype != "string"}
"""NumPy takes longer to make the name of a dtype than all else here."""
MAX_ELEMENTS = 1 << 31
LENGTH = struct.Struct("<I")
MOST_BYTES = 4_000_000
"""Of a text, whatever the input says."""


def datatype_of(array: Array) -> str:
    """The protocol's name for what `array` holds."""
    return _BY_DTYPE.get(array.dtype) or ("BYTES" if array.dtype.kind in "SUO" else DATATYPES[array.dtype.name])


def element_count(shape: Sequence[Any], path: str) -> int:
    """The number of elements of a tensor of `shape`; raises Refused for what is not a shape."""
    if not all(type(each) is int and each >= 0 for each in shape):
        raise bad_request(f"{path}.shape: {str(list(shape))[:80]} is not a list of whole numbers from 0 on")
    count: int = math.prod(shape)
    if count >= MAX_ELEMENTS:
        raise bad_request(f"{path}.shape: {str(list(shape))[:80]} is more than a request can hold")
    return count


def from_raw(datatype: str, raw: memoryview, count: int, path: str) -> Array | list[str]:
    """The `count` elements in `raw`, in order: an array, or for BYTES the texts. Raises Refused."""
    if datatype == "BYTES":
        return _texts(raw, count, path)
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(raw) != count * dtype.itemsize:
        raise bad_request(
            f"{path}: {len(raw)} bytes for {count} elements of {datatype}",
            hint=f"{count * dtype.itemsize} are expected",
        )
    array = np.frombuffer(raw, dtype)
    if datatype == "BOOL":
        if array.size and array.view(np.uint8).max() > 1:
            raise bad_request(f"{path}: a BOOL is one byte, 0 or 1")
        return array
    return array.astype(dtype.newbyteorder("="), copy=False)


def _texts(raw: memoryview, count: int, path: str) -> list[str]:
    """Each element is its length in four bytes, little endian, and the bytes."""
    found: list[str] = []
    at = 0
    while at < len(raw):
        if len(found) == count:
            raise bad_request(f"{path}: more than {count} elements", hint="the shape says how many there are")
        if len(raw) - at < LENGTH.size:
            raise bad_request(f"{path}: the last element's length is cut off")
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        if length > len(raw) - at:
            raise bad_request(f"{path}: element {len(found)} has {length} bytes, {len(raw) - at} are left")
        found.append(_text(bytes(raw[at : at + length]), f"{path}[{len(found)}]"))
        at += length
    if len(found) < count:
        raise bad_request(f"{path}: {len(found)} elements, {count} are expected")
    return found


def _text(data: bytes, path: str) -> str:
    if len(data) > MOST_BYTES:
        raise bad_request(f"{path}: {len(data)} bytes, {MOST_BYTES} are allowed")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise bad_request(f"{path}: the bytes are not UTF-8, and the model takes texts") from None


def to_raw(array: Array) -> bytes:
    """The elements in row-major order, little endian."""
    if array.dtype.kind in "SUO":
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel().tolist()]
        return b"".join(chain.from_iterable((LENGTH.pack(len(each)), each) for each in texts))
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def from_json(datatype: str, data: Any, count: int, path: str) -> list[Any]:
    """The `count` elements of a tensor's `data`, flat or nested, in order; nothing but their number is checked, and for
    BYTES that they can be texts."""
    if datatype == "BYTES" and count == 1 and not isinstance(data, list):
        data = [data]
    if not isinstance(data, list):
        raise bad_request(f"{path}.data: {show(data)}, a list is expected")
    flat = data
    while list in (kinds := set(map(type, flat))):
        if len(kinds) > 1:
            raise bad_request(f"{path}.data: lists and values beside each other")
        flat = list(chain.from_iterable(flat))
    if len(flat) != count:
        raise bad_request(f"{path}.data: {len(flat)} elements, {count} are expected by the shape")
    return [_from_json_text(each, f"{path}.data[{i}]") for i, each in enumerate(flat)] if datatype == "BYTES" else flat


def _from_json_text(value: Any, path: str) -> Any:
    """A text as it is; `{"b64": …}`: its bytes, as a text."""
    if not isinstance(value, dict):
        return value
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        raise bad_request(f"{path}: {show(value)}", hint='send a string, or {"b64": "…"}')
    try:
        return _text(base64.b64decode(value["b64"], validate=True), path)
    except (binascii.Error, ValueError):
        raise bad_request(f"{path}.b64: is not base64") from None
