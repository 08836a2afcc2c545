"""What a row is known by when it has no key of its own: the SHA-256 of its inputs.

The text of a row is `name=value` for each input, by the names of columns, with U+001F between them: a number as Python writes
the float that its float32 is, a category as `canonical` has it, nothing where a value is missing. The hash is the same when
columns are moved, or a column's type or width changes. It decides the row's split, and is recorded: it never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import compute

from registry.spelling import canonical
from training.data.split import hashes
from training.data.table.columns import Feature
from training.data.table.parallel import in_threads
from training.data.table.suspect import texts
from training.data.table.typed import of_numpy

ROWS, BYTES = 1 << 14, 1 << 25
"""Whose text is made at a time, by each thread: so many rows, and about so many bytes."""
END = "\x1f"
LONGEST_NUMBER = 32
LEAST, MOST = 1e-4, 1e15
"""Numbers that Python writes without an exponent, as orjson does; others are few."""


def row_digests(features: Sequence[Feature], rows: Any) -> tuple[list[bytes], list[bytes]]:
    """One hash for each of `rows` (NumPy array of indices), and the hash of that, as `split.hashes` has it."""
    ordered = sorted(features, key=lambda each: each.name)
    writers = [_numbers(each) if each.kind == "numeric" else _categories(each) for each in ordered]
    step = max(1, min(ROWS, BYTES // sum(map(_longest, features))))
    chosen = (rows[start : start + step] for start in range(0, len(rows), step))
    parts = ([part for writer in writers for part in writer(each)] for each in chosen)
    digests: list[bytes] = []
    again: list[bytes] = []
    for written in in_threads(_join, parts):  # one long call without the lock, which all the rest needs
        digests += (found := _hashed(written))
        again += hashes(found)
    return digests, again


def _join(parts: Sequence[Any]) -> Any:
    return compute.binary_join_element_wise(*parts, texts("")[0])


def order_of(hashes: Sequence[bytes]) -> Any:
    """As `split.shuffled`, as a NumPy array of int64."""
    first = _first(hashes)
    order = np.argsort(first)
    if (first[order[1:]] == first[order[:-1]]).any():  # the rest decides, and then the place
        return np.lexsort(np.frombuffer(b"".join(hashes), ">u8").reshape(-1, 4).T[::-1])
    return order


def all_differ(hashes: Sequence[bytes]) -> bool:
    """Whether no two are equal; False, too, where they have the first 8 bytes in common."""
    ordered = np.sort(_first(hashes))
    return not (ordered[1:] == ordered[:-1]).any()


def _first(hashes: Sequence[bytes]) -> Any:
    """The first 8 bytes of each as a number."""
    return np.frombuffer(b"".join(hashes), ">u8")[::4].astype(np.uint64)


def _hashed(written: Any) -> list[bytes]:
    """SHA-256 of each text of a pyarrow array without its last character, which is END."""
    _, offsets, data = written.buffers()
    text, ends = memoryview(data), np.frombuffer(offsets, np.int32)[: len(written) + 1].tolist()
    return [sha256(text[start : end - 1]).digest() for start, end in pairwise(ends)]


def _numbers(feature: Feature) -> Callable[[Any], tuple[Any, Any]]:
    name = texts(f"{feature.name}=")[0]
    return lambda rows: (name, numbers_as_text(feature.values[rows].astype(np.float32)))


def _categories(feature: Feature) -> Callable[[Any], tuple[Any]]:
    written = texts(*(f"{feature.name}={canonical(each)}{END}" for each in feature.texts))
    return lambda rows: (written.take(of_numpy(feature.values[rows])),)


def _longest(feature: Feature) -> int:
    """Bytes that it takes of a row's text, at most."""
    value = LONGEST_NUMBER if feature.kind == "numeric" else max(len(each.encode()) for each in feature.texts)
    return len(feature.name.encode()) + len("=") + value + len(END)


def numbers_as_text(values: Any) -> Any:
    """Numbers (float32) as Python writes the floats that they are, nothing for NaN, and END behind each, as a pyarrow array."""
    missing = np.isnan(values)
    wide = np.where(missing, 0.0, values.astype(np.float64)) + 0.0  # no negative zero
    listed = np.array(np.frombuffer(orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY), np.uint8))  # [1.5,2.0]
    ends = np.append(np.flatnonzero(listed == ord(",")), len(listed) - 1)
    listed[ends] = ord(END)
    offsets = np.concatenate([[1], ends + 1]).astype(np.int32)
    found = pa.Array.from_buffers(pa.string(), len(wide), [None, pa.py_buffer(offsets), pa.py_buffer(listed)])
    size = np.abs(wide)
    if (odd := (size >= MOST) | ((size < LEAST) & (wide != 0))).any():
        found = compute.replace_with_mask(found, _bits(odd), texts(*(f"{each!r}{END}" for each in wide[odd].tolist())))
    return compute.if_else(_bits(missing), texts(END)[0], found) if missing.any() else found


def _bits(values: Any) -> Any:
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])
