"""Labelled answers with what the prediction log has kept of them. Loads pyarrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.workers.label_files.sample import GONE, TWICE, Labelled
from serving.prediction_log.images import member_name, stored_images
from serving.prediction_log.segments import IMAGES
from serving.prediction_log.tables import Wanted, as_written, header_of, read

Key = tuple[str, int]

AT_ONCE = 2048
"""Lines that are Python objects at a time."""


def answers(log: Path, wanted: Mapping[Key, str], *, with_images: bool) -> tuple[list[Labelled], dict[Key, str]]:
    """The lines of these instances, with their labels; and which are not to be had, and why. Raises Corrupt for the log.

    An empty label: what was answered was right.
    """
    found: dict[Key, Labelled] = {}
    twice: set[Key] = set()
    for each in _lines(log, wanted):
        key = (each.request, each.row)
        if key in found and found[key].inputs != each.inputs:
            twice.add(key)
        found[key] = each
    gone = dict.fromkeys(wanted.keys() - found.keys(), GONE)
    gone |= dict.fromkeys(twice, TWICE)
    rows = [each for key, each in found.items() if key not in twice]
    if with_images:
        kept = dict(kept_images(log, {member_name(each.request, each.row) for each in rows}))
        rows = [dataclasses.replace(each, image=kept.get(member_name(each.request, each.row))) for each in rows]
    return sorted(rows, key=lambda each: (each.request, each.row)), gone


def _lines(log: Path, wanted: Mapping[Key, str]) -> Iterator[Labelled]:
    ids = pa.array(sorted({request for request, _ in wanted}), pa.string())
    for lines in read(log, Wanted(columns=("time", "id", "row", "class", "inputs"), live=True)):
        chosen = lines.filter(pc.is_in(lines["id"], value_set=ids))
        if not chosen.num_rows or "inputs" not in chosen.column_names:
            continue
        kept = rules_of(chosen)
        for line in lines_of(chosen):
            key = (line["id"], line["row"])
            if key in wanted:
                label = wanted[key] or line.get("class") or ""  # without one, the answer was right
                yield Labelled(line["id"], line["row"], label, inputs_of(line, chosen), kept, at=line["time"])


def rules_of(lines: pa.Table) -> dict[str, str]:
    """Input → by which rule these lines keep it."""
    return {name: each["kept"] for name, each in header_of(lines.schema)["inputs"].items()}


def inputs_of(line: Mapping[str, Any], lines: pa.Table) -> dict[str, Any]:
    """Input → value, as one of these lines has it."""
    kinds = {name: each["type"] for name, each in header_of(lines.schema)["inputs"].items()}
    return {name: as_written(value, kinds.get(name)) for name, value in (line.get("inputs") or {}).items()}


def lines_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The lines of a table as dicts, some at a time: all at once would take some kilobytes for each."""
    for batch in table.to_batches(max_chunksize=AT_ONCE):
        yield from batch.to_pylist()


def answered(lines: pa.Table) -> pa.Table:
    """Those of instances that were answered."""
    return lines.filter(pc.and_(pc.is_valid(lines["row"]), pc.equal(lines["status"], 200)))


def kept_images(log: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of those of the images that the log has; one at a time is in memory."""
    for path in sorted((log / IMAGES).glob("*.tar")):
        yield from ((name, data) for name, data in stored_images(path) if name in names)
