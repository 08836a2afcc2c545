"""What a version's model saw and answered when it was good: the holdout in sketches, in one file beside the model."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retraining.monitoring.calibration import Calibration
from retraining.monitoring.sketches import KNOTS, Categories, Floats, Numbers

FORMAT = 1
MANY = 200
"""Columns. Of more, each has a coarser sketch, so that 2,000 of them take a few megabytes."""
COARSE = 201
Counts = NDArray[np.uint32]
NO_COUNTS: Counts = np.zeros(0, dtype=np.uint32)

DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, struct.error, SyntaxError),
)
"""What `numpy.load` and `zipfile` raise for bytes that are not theirs."""


class BadReference(Exception):
    """The bytes are not a reference of this format; the message says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Of the holdout, in the terms in which the prediction log keeps what comes later."""

    rows: int
    columns: Mapping[str, Numbers | Categories]
    """Inputs, outputs, `class` and `confidence`, by their names in the log (`inputs.mass`, `outputs.p[0]`)."""
    calibration: Calibration | None
    """Of classification whose outputs are probabilities."""
    marks: frozenset[int] = frozenset()
    """Of the holdout's samples (`marks.mark`); empty where none can be made, and in a reference of an earlier version of Trainyard."""


def knots_for(columns: int) -> int:
    """How many knots each sketch of numbers may have when there are so many columns."""
    return KNOTS if columns <= MANY else COARSE


def to_bytes(reference: Reference) -> bytes:
    """The file. The same reference always has the same bytes.

    The sketches of all columns of numbers lie behind each other in a few arrays: 2,000 small ones would take more. Shares
    are kept as counts of samples, each beside the one before it, so they come back exactly.
    """
    described, exact, short = list[dict[str, Any]](), list[Floats](), list[Floats]()
    rises, spikes = list[Counts](), list[Counts]()
    for name, sketch in sorted(reference.columns.items()):
        facts: dict[str, Any] = {"name": name, "missing": sketch.missing}
        if isinstance(sketch, Numbers):
            is_short = bool((sketch.knots.astype(np.float32) == sketch.knots).all())
            facts |= {"count": sketch.count, "knots": len(sketch.knots), "short": is_short}
            (short if is_short else exact).append(sketch.knots)
            below, upto = ((each * sketch.count).round().astype(np.uint32) for each in (sketch.below, sketch.upto))
            rises.append(np.diff(below, prepend=np.uint32(0)))
            spikes.append(upto - below)
        else:
            facts |= {"counts": dict(sorted(sketch.counts.items())), "rest": sketch.rest}
        described.append(facts)
    arrays: dict[str, NDArray[Any]] = {
        "exact": np.concatenate([np.zeros(0), *exact]),
        "short": np.concatenate([np.zeros(0), *short]).astype(np.float32),
        "rises": np.concatenate([NO_COUNTS, *rises]),
        "spikes": np.concatenate([NO_COUNTS, *spikes]),
    }
    if curve := reference.calibration:
        arrays |= {"confidence": curve.confidence, "right": curve.right, "samples": curve.samples}
    if reference.marks:
        arrays["marks"] = np.array(sorted(reference.marks), dtype=np.uint64)
    head = {"reference": FORMAT, "rows": reference.rows, "columns": described, "calibrated": curve is not None}
    arrays["head"] = np.frombuffer(json.dumps(head, allow_nan=False).encode(), dtype=np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def from_bytes(data: bytes) -> Reference:
    """Raises BadReference."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["reference"] != FORMAT:
                raise BadReference(
                    f"it has the format {head['reference']}, and this version of Trainyard reads {FORMAT}"
                )
            columns = dict(_columns(head["columns"], arrays))
            curve = (
                Calibration(*_of_one_length(arrays, ("confidence", "right", "samples"))) if head["calibrated"] else None
            )
            marks = frozenset(arrays["marks"].astype(np.uint64).tolist()) if "marks" in arrays else frozenset[int]()
            return Reference(int(head["rows"]), columns, curve, marks)
    except DAMAGED as error:
        raise BadReference(f"it is damaged: {type(error).__name__}: {error}") from error


def _columns(described: list[dict[str, Any]], arrays: Any) -> Iterator[tuple[str, Numbers | Categories]]:
    exact, short, rises, spikes = (_Reader(arrays[name]) for name in ("exact", "short", "rises", "spikes"))
    for facts in described:
        if "counts" in facts:
            counts = {str(value): int(count) for value, count in facts["counts"].items()}
            yield facts["name"], Categories(int(facts["missing"]), counts, int(facts["rest"]))
        else:
            size, count = int(facts["knots"]), int(facts["count"])
            knots = (short if facts["short"] else exact).take(size)
            below = np.cumsum(rises.take(size))
            upto = below + spikes.take(size)
            yield (
                facts["name"],
                Numbers(count, int(facts["missing"]), knots, below / max(count, 1), upto / max(count, 1)),
            )


class _Reader:
    """Takes one column after the other from an array; raises ValueError when it has not so much."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._at = array.astype(np.float64), 0

    def take(self, size: int) -> Floats:
        found = self._array[self._at : self._at + size]
        if size < 0 or len(found) != size:
            raise ValueError("a column of numbers is cut short")
        self._at += size
        return found


def _of_one_length(arrays: Any, names: tuple[str, ...]) -> list[Floats]:
    found = [np.asarray(arrays[name], dtype=np.float64) for name in names]
    if any(each.ndim != 1 or len(each) != len(found[0]) for each in found):
        raise ValueError(f"{', '.join(names)} do not have one shape")
    return found
