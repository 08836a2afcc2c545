"""The folder of a training that is only made to be compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runs import RunFolder

FOLDER = "reproductions"
"""Below the home."""


@contextmanager
def scratch(root: Path) -> Iterator[RunFolder]:
    """An empty folder at `root`, for this process alone, removed at the end. What killed processes have left goes as well.

    Raises TryAgain when another process has it."""
    for left in abandoned(root.parents[1]):
        if left != root:
            shutil.rmtree(left, ignore_errors=True)
    folder = RunFolder(root)
    with folder.locked():
        try:
            for left in root.iterdir():
                if left.name != ".lock":
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield folder
        finally:
            shutil.rmtree(root, ignore_errors=True)


def abandoned(home: Path) -> list[Path]:
    """The folders that killed processes have left."""
    return [each for each in sorted((home / FOLDER).glob("*/")) if not RunFolder(each).at_work]
