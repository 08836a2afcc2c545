"""Where an export goes: written whole or not at all, and nothing that is there is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from registry.errors import ConfigError, Corrupt
from registry.files import TMP, sha256_file, sync_folder


def write_folder(target: Path, made: Mapping[str, bytes], copied: Mapping[str, tuple[Path, str]]) -> None:
    """Make the folder `target` with these files: name → bytes, and name → file, SHA-256, which is checked on the way.

    Raises ConfigError when there is something at `target`, Corrupt when a file changes meanwhile, OSError.
    """
    target = target.absolute()
    _must_be_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{TMP}{target.name}-{os.getpid()}")
    new.mkdir()
    try:
        for name in sorted({str(Path(each).parent) for each in (*made, *copied)}):
            (new / name).mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (new / name).write_bytes(data)
        for name, (source, sha256) in copied.items():
            shutil.copyfile(source, new / name)
            if sha256_file(new / name) != sha256:
                raise Corrupt(f"{source}: changed while it was copied", hint="`trainyard registry verify` says more")
        for root, _, files in os.walk(new, topdown=False):
            for name in files:
                _sync(Path(root, name))
            sync_folder(Path(root))
        _must_be_free(target)
        os.rename(new, target)  # takes the place of an empty folder, and of nothing else
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _must_be_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise ConfigError(f"{target}: there is something already", hint="name a folder that is empty, or not there yet")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
