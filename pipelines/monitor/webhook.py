"""Notices for `[monitoring] webhook`: they wait in `webhook/pending` until the server has taken them; what it will never take is
in `webhook/refused`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.exports.outbox import MOST, Outbox

TOOL = "notice"
WHOLE = 30.0
"""Seconds for all that waits."""
ANSWER = 10.0
"""Seconds for one answer."""


def put(folder: Path, name: str, document: dict[str, Any]) -> int:
    """Have it wait; gives how many older ones were dropped, as too many wait. Raises OSError."""
    return Outbox(folder / "webhook").put(TOOL, name, document)


def waiting(folder: Path) -> int:
    """How many wait."""
    return len(Outbox(folder / "webhook").waiting(TOOL))


def send(folder: Path, url: str, token: str) -> Iterator[str]:
    """Send what waits, the oldest first; yields what prevented it. What the server refuses for good is set aside."""
    outbox = Outbox(folder / "webhook")
    if not outbox.waiting(TOOL):
        return
    if not url:
        yield f"{waiting(folder)} notices wait for a webhook in {outbox.folder}, and [monitoring] webhook is empty"
        return
    from pipelines.exports.http import Bearer, Refused, Server, Unavailable

    server = Server(url, Bearer(token) if token else None, ANSWER, WHOLE)
    with outbox.delivering(TOOL) as mine:
        for path in outbox.waiting(TOOL) if mine else ():
            if (document := outbox.read(path)) is None:
                continue
            try:
                server.deliver(document)
            except Unavailable as why:
                yield f"webhook: {why}; the next call sends what waits ({len(outbox.waiting(TOOL))})"
                return
            except Refused as why:
                yield f"webhook: {why}: it will never take {_set_aside(path)}; move it back into pending/ to retry"
                continue
            path.unlink(missing_ok=True)


def _set_aside(path: Path) -> Path:
    """Where it is now; the oldest of more than MOST are removed."""
    folder = path.parent.parent / "refused"
    folder.mkdir(exist_ok=True)
    path.rename(folder / path.name)
    for each in sorted(folder.glob("*.json"))[:-MOST]:
        each.unlink(missing_ok=True)
    return folder / path.name
