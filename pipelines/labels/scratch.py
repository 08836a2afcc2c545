"""A folder for one command about labels, which is the only one of its kind at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.config.schema import Config
from registry.errors import TryAgain
from registry.files import TMP, try_lock

RANDOM = 8
"""Characters that `tempfile` adds to a name."""


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold the lock; raises TryAgain when another process does `what`."""
    with path.open("w", encoding="utf-8") as lock:
        if not try_lock(lock):
            raise TryAgain(f"another process {what} ({path})", hint="retry when it is done")
        yield


@contextmanager
def scratch(config: Config, what: str) -> Iterator[Path]:
    """A folder beside the labels, on the disk of the clones; what killed processes have left goes as well: who asks has the lock."""
    root = Path(config.home) / "labels"
    for left in root.glob(f"{TMP}{config.model}-{what}-{'?' * RANDOM}"):  # no more: another model's name may begin so
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f"{TMP}{config.model}-{what}-") as folder:
        yield Path(folder)
