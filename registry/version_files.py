"""The files of versions: stored and compared, many at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Mapping
from pathlib import Path

from registry.errors import ConfigError, Corrupt, PipelineError
from registry.files import sha256_file
from registry.stores import Store, copy_or_same, create_or_same, far_away


def store_all(store: Store, folder: str, files: Mapping[str, tuple[Path | str, str]]) -> list[str]:
    """Store `files` (name → path, or name in the store, and SHA-256) in `folder`; gives the names under which there are
    other bytes already.

    All cores hash and copy, and one file that waits for the disk does not delay the others. Equal files follow each
    other, so that the first is stored and the others are links. After an error no further file is begun.
    """
    equal: dict[str, list[str]] = {}
    for name, (_, sha256) in sorted(files.items()):
        equal.setdefault(sha256, []).append(name)
    failed = threading.Event()

    def keep(sha256: str) -> list[str]:
        try:
            return [
                name
                for name in equal[sha256]
                if not failed.is_set() and not _store_one(store, files[name][0], f"{folder}/{name}", sha256)
            ]
        except BaseException:
            failed.set()
            raise

    from concurrent.futures import ThreadPoolExecutor  # who only reads manifests does without

    with ThreadPoolExecutor(_at_once(len(equal))) as pool:
        return sorted(name for names in pool.map(keep, equal) for name in names)


def _store_one(store: Store, source: Path | str, target: str, sha256: str) -> bool:
    if isinstance(source, str):
        return copy_or_same(store, source, target, sha256)
    return create_or_same(store, target, source, sha256)


def _at_once(files: int) -> int:
    return max(1, min(files, 3 * (os.cpu_count() or 1)))


def altered_there(store: Store, wanted: Mapping[str, str], own: Mapping[str, tuple[Path | None, str]]) -> list[str]:
    """As `altered`, of the bytes as they are in the store now: local copies do not count."""
    if (far := far_away(store)) is None:
        return altered(store, wanted, own)
    digests = {**wanted, **{name: sha256 for name, (_, sha256) in own.items()}}
    problems = []
    for name, found in far.digests(digests).items():
        if isinstance(found, PipelineError):
            problems.append(str(found))
        elif found != digests[name]:
            problems.append(_mismatch(name, found, digests[name], own))
    return problems


def altered(
    store: Store, wanted: Mapping[str, str], own: Mapping[str, tuple[Path | None, str]] | None = None
) -> list[str]:
    """What is wrong with the files in `wanted` (name → SHA-256), and with the store's `own` (name → path, SHA-256).

    All cores hash; a file with many names is read once.
    """
    inodes: dict[str, tuple[int, int]] = {}
    paths: dict[tuple[int, int], Path] = {}
    problems = []
    kept = own or {}
    digests = {**wanted, **{name: sha256 for name, (_, sha256) in kept.items()}}
    for name in digests:
        try:
            path = (kept[name][0] if name in kept else None) or store.path(name)
            status = path.stat()
        except FileNotFoundError:
            problems.append(f"{name}: is missing")
        except (ConfigError, Corrupt) as error:
            problems.append(str(error))
        else:
            inodes[name] = (status.st_dev, status.st_ino)
            paths.setdefault(inodes[name], path)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(paths, pool.map(_hash, paths.values()), strict=True))
    for name, inode in inodes.items():
        if found[inode] != digests[name]:
            problems.append(_mismatch(name, found[inode], digests[name], kept))
    return problems


def _mismatch(name: str, found: str, wanted: str, own: Container[str]) -> str:
    says = "its name" if name in own else "the manifest"
    return f"{name}: checksum mismatch: SHA-256 is {found}, {says} says {wanted}"


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        return f"unknown ({error.strerror})"
