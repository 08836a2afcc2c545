"""Which form the registry's records have. Readers refuse fields that they do not know (`registry.codec`), so a process that
another version of Trainyard has started may not be able to read what this one writes."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from registry.records import Acceptance, Approval, Attestation, Candidate, Head, KeyRecord, Release

RECORDS = (Acceptance, Approval, Attestation, Candidate, Head, KeyRecord, Release)


@functools.cache
def formats(records: tuple[type[Any], ...] = RECORDS) -> str:
    """16 hexadecimal digits that change with the fields of these records, and of the records in them."""
    lines = sorted(set(_fields(records)))
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _fields(records: Iterable[type[Any]]) -> Iterator[str]:
    waiting, seen = list(records), set[type[Any]]()
    while waiting:
        record = waiting.pop()
        if record in seen:
            continue
        seen.add(record)
        for name, kind in typing.get_type_hints(record).items():
            yield f"{record.__name__}.{name}: {kind}"
            waiting += _records_in(kind)


def _records_in(kind: Any) -> Iterator[type[Any]]:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
    for each in typing.get_args(kind):
        yield from _records_in(each)
