"""A copy of the code repository that its code may write to: sources are read-only, and belong to the run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


def copy_code(code: Path, to: Path | None = None) -> Path:
    """Copy the tree `code` to `to`, whatever was there before; without `to`, into a folder of the worker's scratch,
    which is gone with the worker. Gives the copy's path. Links stay links."""
    to = to or Path(tempfile.mkdtemp(prefix="code-"))
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(code, to, symlinks=True, ignore_dangling_symlinks=True)
    make_writable(to)
    return to.resolve()


def make_writable(folder: Path) -> None:
    """Let the owner write to the folder and everything below it."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
