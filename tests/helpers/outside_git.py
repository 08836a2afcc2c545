"""Stores of files that do not lie in git, as `trainyard data push` and as DVC 2 and 3 leave them; written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

FIRST = "trainyard dataset manifest 1"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def manifest(files: Mapping[str, bytes], *more: str) -> bytes:
    """A `dataset.lock` with these files, and more lines."""
    lines = [f"{sha256(data)} {len(data)} {path}" for path, data in sorted(files.items())]
    return "\n".join([FIRST, *lines, *more, ""]).encode()


def object_path(store: Path, data: bytes) -> Path:
    return store / "sha256" / sha256(data)[:2] / sha256(data)


def keep(store: Path, *contents: bytes) -> None:
    for each in contents:
        put(object_path(store, each), each)


class DvcRemote:
    """A folder that is a remote of DVC; `legacy` as DVC 2 has it."""

    def __init__(self, folder: Path, *, legacy: bool = False) -> None:
        self.folder, self.legacy = folder, legacy

    def keep(self, digest: str, data: bytes) -> Path:
        root = self.folder if self.legacy else self.folder / "files" / "md5"
        return put(root / digest[:2] / digest[2:], data)

    def file(self, path: str, data: bytes, digest: str = "") -> bytes:
        """The text of the `.dvc` file of a file that is pushed."""
        digest = digest or md5(data)
        self.keep(digest, data)
        return self._pointer(digest, len(data), path)

    def directory(self, path: str, files: Mapping[str, bytes]) -> bytes:
        """The text of the `.dvc` file of a directory that is pushed."""
        for data in files.values():
            self.keep(md5(data), data)
        rows = [{"md5": md5(data), "relpath": name} for name, data in sorted(files.items())]
        listed = json.dumps(rows).encode()
        self.keep(md5(listed) + ".dir", listed)
        return self._pointer(f"{md5(listed)}.dir", sum(map(len, files.values())), path, len(files))

    def _pointer(self, digest: str, size: int, path: str, count: int | None = None) -> bytes:
        lines = [f"- md5: {digest}", f"  size: {size}"]
        lines += [f"  nfiles: {count}"] if count is not None else []
        lines += [] if self.legacy else ["  hash: md5"]
        return "\n".join(["outs:", *lines, f"  path: '{path}'" if path.isdigit() else f"  path: {path}", ""]).encode()

    @property
    def config(self) -> bytes:
        """A `.dvc/config` that names this remote."""
        return f"[core]\n    remote = store\n['remote \"store\"']\n    url = {self.folder}\n".encode()
