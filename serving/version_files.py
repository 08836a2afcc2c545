"""The files of a version: checked against its manifest, and copied when they are mapped into memory.

A mapped file that another process truncates or overwrites kills the process that reads it. So the served file is mapped
from a copy in the API's own folder, named by its SHA-256 and shared by all workers, as are its packed weights beside it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry import codec
from registry.errors import Corrupt
from registry.files import sha256_file
from registry.records import Candidate, Served
from serving.engines.packed_weights import SUFFIX

log = logging.getLogger(__name__)


def check_folder(folder: Path) -> None:
    """Raise Corrupt unless every file of the version in `folder` is what its manifest says."""
    path = folder / "card.json"
    manifest = codec.from_json(Candidate, path.read_bytes(), str(path), checksum_required=True)
    for name, sha256 in manifest.files.items():
        if not (folder / name).is_file():
            raise Corrupt(f"{folder / name}: is missing, though the manifest names it")
        if sha256_file(folder / name) != sha256:
            raise Corrupt(f"{folder / name}: was altered: the manifest has another SHA-256")


@contextmanager
def mapped_copy(folder: Path, manifest: Candidate, copies: Path) -> Iterator[tuple[Path, Served]]:
    """Folder and served file to load the engine from; while it is held, `remove_copies` deletes nothing.

    Raises Corrupt when the served file is not the one that the manifest names.
    """
    with _lock(copies, fcntl.LOCK_SH):
        yield _copy(folder, manifest, copies)


def _copy(folder: Path, manifest: Candidate, copies: Path) -> tuple[Path, Served]:
    source = folder / manifest.served.path
    if not source.is_file():  # a SavedModel is a folder, and not mapped: it is read whole while it is loaded
        return folder, manifest.served
    wanted = manifest.files.get(manifest.served.path, "")
    target = copies / (wanted or "unnamed")
    if not target.is_file() or sha256_file(target) != wanted:
        unfinished = copies / f".tmp-{os.getpid()}"
        shutil.copyfile(source, unfinished)
        if sha256_file(unfinished) != wanted:
            unfinished.unlink()
            raise Corrupt(f"{source}: was altered: the manifest has another SHA-256")
        unfinished.replace(target)
    return copies, replace(manifest.served, path=target.name)


def remove_copies(copies: Path, keep: Candidate | None) -> None:
    """Delete the copies that version `keep` does not use. A process that still has one mapped keeps it.

    Not while another worker is loading, which may be about to map one of them; the last one to load cleans up.
    """
    used = keep.files.get(keep.served.path) if keep else None
    wanted = {".lock", used, f"{used}{SUFFIX}"}
    try:
        with _lock(copies, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in copies.glob("*"):
                if path.name not in wanted:
                    path.unlink(missing_ok=True)
    except BlockingIOError:
        log.debug("%s: another server process is loading, it cleans up", copies)


@contextmanager
def _lock(copies: Path, kind: int) -> Iterator[None]:
    """Lock the folder of copies: shared to load from it, exclusive to delete in it."""
    copies.mkdir(parents=True, exist_ok=True)
    with (copies / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, kind)
        yield
