"""Lines of the prediction log as CloudEvents 1.0, in batches. Pure; standard library only.

One event per line, in structured form: its id is the request's with the row, so that a receiver knows what it has already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

CONTENT_TYPE = "application/cloudevents-batch+json"
TYPE = "org.trainyard.prediction.v1"
MOST_EVENTS = 500
MOST_BYTES = 512 << 10
"""Of the lines in one batch."""


def batches(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The lines in parts of at most MOST_EVENTS, and of about MOST_BYTES at most unless one has more."""
    first, size = 0, 0
    for i, line in enumerate(lines):
        if i > first and (i - first >= MOST_EVENTS or size + len(line) > MOST_BYTES):
            yield lines[first:i]
            first, size = i, 0
        size += len(line)
    if first < len(lines):
        yield lines[first:]


def as_batch(lines: Sequence[bytes]) -> bytes:
    """The body of one request; lines that are not JSON objects are left out."""
    return json.dumps([each for each in map(_event, lines) if each is not None], ensure_ascii=False).encode(
        errors="replace"
    )


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or "id" not in data:
        return None
    row = data.get("row")
    model = quote(str(data.get("model") or "none"), safe="")
    return {
        "specversion": "1.0",
        "id": f"{data['id']}/{0 if row is None else row}",
        "source": f"/trainyard/models/{model}/versions/{data.get('version') or 0}",
        "type": TYPE,
        "time": data.get("time"),
        "subject": str(data["id"]),
        "datacontenttype": "application/json",
        "data": data,
    }
