"""What waits to be sent to other tools: `<home>/tracking/pending/<when>.<tool>.<name>.json`, the oldest first, at most MOST.

A document that is put again takes the place of the one that waits. Nothing here knows what is in it.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry.files import sweep, try_lock, write_whole

MOST = 200


class Outbox:
    """The folder, made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending = folder / "pending"

    def put(self, tool: str, name: str, document: dict[str, Any]) -> int:
        """Have it wait; gives how many older ones were dropped, as too many wait. Raises OSError."""
        self._pending.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock-put").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sweep(self._pending)
            before = list(self._pending.glob(f"*.{tool}.{name}.json"))
            write_whole(self._pending / f"{time.time_ns():020d}.{tool}.{name}.json", json.dumps(document).encode())
            for each in before:
                each.unlink(missing_ok=True)
            dropped = self.waiting()[:-MOST]
            for each in dropped:
                each.unlink(missing_ok=True)
        return len(dropped)

    def waiting(self, tool: str = "*") -> list[Path]:
        """The files that wait for a tool, the oldest first."""
        return sorted(self._pending.glob(f"*.{tool}.*.json"))

    def read(self, path: Path) -> dict[str, Any] | None:
        """What is in one of them; None when it is gone, or holds no document: then it is removed."""
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            path.unlink(missing_ok=True)
            return None
        return found

    @contextmanager
    def delivering(self, tool: str) -> Iterator[bool]:
        """Whether this process may deliver to a tool until the end of the block; nobody waits for one that does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".lock-{tool}").open("w", encoding="utf-8") as lock:
            yield try_lock(lock)
