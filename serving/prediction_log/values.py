"""What a line says of inputs and outputs: JSON's values of arrays, by the rules; and the types of these fields, for the header.
Pure. A version's reference is made of the same values (pipelines.workers.reference)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from registry.records import Signature, TensorSpec
from serving.engines.base import Array, Arrays
from serving.prediction_log.features import HUES, of_arrays, of_images, rounded, shortened
from serving.prediction_log.rules import BIN_EDGES, MOST_OUTPUTS, MOST_TEXT, Kept, Plan, is_scalar, keyed_hash

TOP = 5
"""The largest numbers of a long output, which are kept with their places."""
DOUBLE_DIGITS = 15
MOST_NAME = 200
"""Characters of a caller's name and of a class."""
Type = str
"""Of a field, in a header: "int", "float" (of 7 digits), "double", "text", "bool", "time", or one with `[]` for a list."""


def field_types(signature: Signature, plan: Plan) -> dict[str, dict[str, Any]]:
    """`inputs` and `outputs` of a header: of each field that is kept, how, and as what type."""
    inputs, outputs = dict[str, Any](), dict[str, Any]()
    for spec, kept in zip(signature.inputs, plan.inputs, strict=True):
        if found := _input_type(spec, kept):
            inputs[spec.name] = {"kept": kept.how, "type": found}
    for spec, kept in zip(signature.outputs, plan.outputs, strict=True):
        if kept.how != "no":
            outputs[spec.name] = {"kept": kept.how, "type": _output_type(spec, kept)}
    return {"inputs": inputs, "outputs": outputs}


def input_columns(plan: Sequence[Kept], parts: Sequence[Arrays], key: bytes) -> list[tuple[str, list[Any]]]:
    """Name and values of each input that is kept; the values are JSON's, or objects of features."""
    found = []
    for kept in plan:
        if kept.how != "no":
            array = _joined([each[kept.name] for each in parts])
            found.append((kept.name, input_values(kept, array, key)))
    return found


def output_columns(plan: Sequence[Kept], parts: Sequence[Arrays], key: bytes) -> list[tuple[str, list[Any]]]:
    """Name and values of each output that is kept."""
    found = []
    for kept in plan:
        if kept.how == "no":
            continue
        array = _joined([each[kept.name] for each in parts])
        if kept.how == "hash":
            found.append((kept.name, [keyed_hash(key, kept.name, each) for each in _bytes(array)]))
        elif kept.how == "top":
            found.append((kept.name, _top(array)))
        else:
            found.append((kept.name, plain(array, 6)))
    return found


def input_values(kept: Kept, array: Array, key: bytes) -> list[Any]:
    """The values of one input that is kept, for each row of `array`."""
    if kept.how == "hash":
        return [keyed_hash(key, kept.name, each) for each in _bytes(array)]
    if kept.how in {"features", "file"}:
        return objects(of_images(array) if kept.is_image else of_arrays(array), len(array))
    if array.dtype.kind in "SUO":
        texts = [text(each[0] if isinstance(each, list) and len(each) == 1 else each) for each in array.tolist()]
        if kept.how == "bin":
            common = frozenset(kept.column.common if kept.column else ())
            if kept.column and kept.column.has_missing:
                common |= {""}  # as a missing value comes to the model; null is one that few share
            return [each if each in common else None for each in texts]
        return texts
    if kept.how == "bin":
        return _bins(kept, array)
    return plain(array)


def one_of(signature: Signature) -> tuple[str, ...]:
    """The classes of which an answer is one; none of numbers, nor of labels, of which it may be several."""
    return () if signature.task == "multi-label" else signature.classes


def best(
    shares: Sequence[Array | None], outputs: Sequence[Arrays | None], classes: tuple[str, ...]
) -> tuple[list[str], list[float]]:
    """Class and confidence of each row of all parts; empty lists where there are none. `shares`: rows × classes, where the
    `outputs` are a distribution."""
    if not classes:
        return [], []
    short = short_names(classes)
    if all(each is not None for each in shares):
        joined = _joined([each for each in shares if each is not None])
        sure = rounded(np.minimum(joined.max(axis=1), 1.0))
        return [short[each] for each in joined.argmax(axis=1).tolist()], sure
    only = [next(iter(each.values())) for each in outputs if each and len(each) == 1]
    if len(only) == len(outputs) and all(each.ndim == 2 and each.shape[1] == len(classes) for each in only):
        return [short[each] for each in _joined(only).argmax(axis=1).tolist()], []
    return [], []


def plain(array: Array, digits: int = 7) -> list[Any]:
    """JSON's values of an array's rows: bare ones where a row has one value, lists of them elsewhere; NaN becomes null.

    Lists are those of a size that is fixed or left open; one that happens to have a single value stays a list for readers
    who go by the header.
    """
    if array.dtype.kind in "SUO":
        rows = array.reshape(len(array), -1).tolist()
        return [text(each[0]) if len(each) == 1 else [text(value) for value in each[:MOST_OUTPUTS]] for each in rows]
    flat = array.reshape(len(array), -1)
    if array.dtype.kind == "f":
        flat = shortened(flat, DOUBLE_DIGITS if array.dtype.itemsize == 8 else digits)
    elif array.dtype.kind == "u" and array.dtype.itemsize == 8:
        flat = flat.astype(np.float64)
    rows = flat.tolist()
    return [each[0] for each in rows] if flat.shape[1] == 1 else rows


def text(value: Any, most: int = MOST_TEXT) -> str:
    """At most so many characters of a text, whatever TensorFlow or NumPy made of it; what is not Unicode becomes `?`."""
    found = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return found[:most].encode(errors="replace").decode()


def _bins(kept: Kept, array: Array) -> list[int | None]:
    assert kept.column is not None
    numbers = array.reshape(-1).astype(np.float64)
    scaled = (numbers - kept.column.mean) / max(kept.column.variance, 1e-300) ** 0.5
    found = np.searchsorted(BIN_EDGES, scaled, side="right").tolist()
    return [None if missing else each for each, missing in zip(found, np.isnan(numbers).tolist(), strict=True)]


def _top(array: Array) -> list[Any]:
    flat = array.reshape(len(array), -1)
    best = np.argsort(-flat.astype(np.float64), axis=1, kind="stable")[:, :TOP]
    short = shortened(np.take_along_axis(flat, best, axis=1), 6).tolist()
    return [{"top": places, "values": each} for places, each in zip(best.tolist(), short, strict=True)]


@functools.lru_cache(maxsize=4)
def short_names(classes: tuple[str, ...]) -> list[str]:
    """Classes as lines have them."""
    return [text(each, MOST_NAME) for each in classes]


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _bytes(array: Array) -> Iterator[bytes]:
    """Each row's content, the same for the same values."""
    if array.dtype.kind in "SUO":
        for each in array.reshape(len(array), -1).tolist():
            yield b"\0".join(
                value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass") for value in each
            )
    else:
        for row in np.ascontiguousarray(array):
            yield row.tobytes()


def objects(columns: Mapping[str, Sequence[Any]], rows: int) -> list[dict[str, Any]]:
    """One object per row, of each column's value for it."""
    names = tuple(columns)
    if not names:
        return [{}] * rows
    if len(names) == 1:
        return [{names[0]: value} for value in columns[names[0]]]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _input_type(spec: TensorSpec, kept: Kept) -> Any:
    """The type of a field in `inputs`; an object of types for features; None: it is not there."""
    if kept.how == "no":
        return None
    if kept.how == "hash":
        return "text"
    if kept.how in {"features", "file"}:
        if not kept.is_image:
            return {"mean": "float", "deviation": "float", "low": "float", "high": "float", "missing": "float"}
        types = {"width": "int", "height": "int", "brightness": "float", "contrast": "float", "sharpness": "float"}
        colours = {"hues": "float[]"} if (spec.shape[3] or HUES) >= 3 else {}
        return types | {"hash": "text"} | colours
    if kept.how == "bin":
        return "text" if spec.dtype == "string" else "int"
    return _type(spec.dtype) if is_scalar(spec) else f"{_type(spec.dtype)}[]"


def _output_type(spec: TensorSpec, kept: Kept) -> Any:
    if kept.how == "hash":
        return "text"
    if kept.how == "top":
        return {"top": "int[]", "values": "float[]"}
    one = all(size == 1 for size in spec.shape[1:])
    return _type(spec.dtype) if one else f"{_type(spec.dtype)}[]"


def _type(dtype: str) -> Type:
    if dtype == "string":
        return "text"
    if dtype == "bool":
        return "bool"
    if dtype.startswith(("int", "uint")) and dtype != "uint64":
        return "int"
    return "double" if dtype in {"float64", "uint64"} else "float"
