"""The file of a dataset repository that lists which answers became samples of it; `pipelines.labels.documents` writes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from registry.records.data import DatasetLabels

MANIFEST = "trainyard-labels.jsonl"
"""At the root of the dataset repository: a line for each answer that became a sample."""
TWIN = ("the dataset has it already", "the dataset has it as")
"""How the reasons begin why an answer is not a new sample: with the same label, and with another one."""


MOST_BYTES = 256 << 20
"""About a million answers; of a larger file nothing is said."""
MOST_PEOPLE = 50


def answers_in(listed: bytes, model: str) -> Iterator[tuple[str, int]]:
    """Request and row of each answer of a model that is listed; lines that are not of this kind are left alone."""
    yield from ((str(each["request"]), int(each["row"])) for each in _lines(listed) if each["model"] == model)


def labels_in(listed: bytes) -> DatasetLabels | None:
    """How many answers of any model are listed, and who labelled them; None: none."""
    samples, people = 0, Counter[str]()
    for each in _lines(listed):
        samples += 1
        people.update(map(str, each["by"]))
    ranked = sorted(people.items(), key=lambda pair: (-pair[1], pair[0]))
    return DatasetLabels(samples, dict(ranked[:MOST_PEOPLE])) if samples else None


def _lines(listed: bytes) -> Iterator[dict[str, Any]]:
    for line in listed.splitlines():
        try:
            found = json.loads(line)
            str(found["request"]), int(found["row"]), str(found["model"]), list(found["by"])
        except (ValueError, KeyError, TypeError):
            continue
        yield found
