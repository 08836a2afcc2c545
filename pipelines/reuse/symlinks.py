"""Symbolic links that change their target in one step."""

from __future__ import annotations

import shutil
from pathlib import Path


def replace_with_symlink(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to `target`, in place of a link or of a folder that a killed process has left there."""
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".new-{link.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target.resolve())
    new.rename(link)
