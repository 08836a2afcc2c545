"""Where predictions go: a folder, or a bucket. Everything appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry.errors import ConfigError, Corrupt
from registry.files import sha256_file, write_new, write_whole
from registry.store_options import StoreOptions

if TYPE_CHECKING:
    from registry.s3_objects import Objects

WORK = ".work-"
"""How the names of folders begin in which workers write, inside a folder of predictions."""
PIECE = 4 << 20


class Output(Protocol):
    """Files under names with slashes."""

    where: str

    def is_empty(self) -> bool:
        """Whether nothing is there that is not a worker's."""

    def read(self, name: str) -> bytes | None:
        """The bytes; None when there is no such file."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a new file; False when there is one."""

    def save(self, name: str, data: bytes) -> None:
        """Create or replace a file."""

    def take(self, path: Path, name: str, sha256: str) -> None:
        """Move a file here. One that was moved before is left alone. Raises Corrupt for what is not a file."""

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Whether a file is there as it was written; a bucket is only asked for the size."""

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, sorted."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def join(self, names: list[str], target: str, work: Path) -> None:
        """Write files one behind the other as a new one; `work` is a folder for it meanwhile."""


class FolderOutput:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root, self.where = root, str(root)

    def is_empty(self) -> bool:
        """See Output."""
        return not self._root.exists() or not any(not each.startswith(WORK) for each in os.listdir(self._root))

    def read(self, name: str) -> bytes | None:
        """See Output."""
        with contextlib.suppress(FileNotFoundError):
            return (self._root / name).read_bytes()
        return None

    def create(self, name: str, data: bytes) -> bool:
        """See Output."""
        try:
            write_new(self._root / name, data)
        except FileExistsError:
            return False
        return True

    def save(self, name: str, data: bytes) -> None:
        """See Output."""
        write_whole(self._root / name, data)

    def take(self, path: Path, name: str, sha256: str) -> None:
        """See Output."""
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(path, target)
        except FileNotFoundError:
            if not target.is_file() or sha256_file(target) != sha256:
                raise Corrupt(f"{path}: is missing", hint="run it again with --resume") from None
            return
        if not stat.S_ISREG(os.lstat(target).st_mode):
            target.unlink()
            raise Corrupt(f"{path}: is not a regular file", hint="what ran in the worker has put it there")
        with contextlib.suppress(OSError):  # written by a container's user
            os.chown(target, os.geteuid(), os.getegid(), follow_symlinks=False)
            os.chmod(target, 0o644)

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """See Output."""
        path = self._root / name
        return path.is_file() and path.stat().st_size == size and sha256_file(path) == sha256

    def names(self, folder: str) -> list[str]:
        """See Output."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(each for each in os.listdir(self._root / folder) if not each.startswith("."))
        return []

    def remove(self, name: str) -> None:
        """See Output."""
        (self._root / name).unlink(missing_ok=True)

    def join(self, names: list[str], target: str, work: Path) -> None:
        """See Output."""
        unfinished = work / "joined"
        with unfinished.open("wb") as out:
            for name in names:
                with (self._root / name).open("rb") as file:
                    shutil.copyfileobj(file, out, PIECE)
            out.flush()
            os.fsync(out.fileno())
        os.replace(unfinished, self._root / target)


class BucketOutput:
    """Objects below a prefix."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self.where = objects, objects.place.url

    def is_empty(self) -> bool:
        """See Output."""
        return next(iter(self._objects.listing("", deep=True)), None) is None

    def read(self, name: str) -> bytes | None:
        """See Output."""
        with contextlib.suppress(FileNotFoundError):
            return self._objects.get(name)
        return None

    def create(self, name: str, data: bytes) -> bool:
        """See Output."""
        try:
            self._objects.create(name, data)
        except FileExistsError:
            return False
        return True

    def save(self, name: str, data: bytes) -> None:
        """See Output."""
        if not self.create(name, data) and self.read(name) != data:
            self._objects.remove(name)
            self._objects.create(name, data)

    def take(self, path: Path, name: str, sha256: str) -> None:
        """See Output."""
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise Corrupt(f"{path}: is not a regular file", hint="what ran in the worker has put it there")
            self._objects.create_file(name, path, sha256)
        except FileExistsError:
            pass  # named by its content
        except FileNotFoundError:
            if self._objects.head(name) is None:
                raise Corrupt(f"{path}: is missing", hint="run it again with --resume") from None
        path.unlink(missing_ok=True)

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """See Output."""
        facts = self._objects.head(name)
        return facts is not None and facts.size == size and facts.sha256 in {"", sha256}

    def names(self, folder: str) -> list[str]:
        """See Output."""
        return sorted(name for name, facts in self._objects.listing(folder) if facts)

    def remove(self, name: str) -> None:
        """See Output."""
        self._objects.remove(name)

    def join(self, names: list[str], target: str, work: Path) -> None:
        """See Output."""
        joined, part = work / "joined", work / "piece"
        with joined.open("wb") as out:
            for name in names:
                facts = self._objects.head(name)
                if facts is None:
                    raise Corrupt(f"{self.where}/{name}: is missing", hint="run it again with --resume")
                with part.open("wb") as file:
                    file.truncate(facts.size)
                self._objects.fetch(name, facts.size, part)
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, PIECE)
        part.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            self._objects.create_file(target, joined, sha256_file(joined))
        joined.unlink()


def open_output(given: str, options: StoreOptions) -> Output:
    """A folder, or `s3://bucket/prefix`; raises ConfigError. Nothing is written yet."""
    if given.startswith("s3://"):
        from registry.s3_client import parse_url
        from registry.s3_objects import Objects

        return BucketOutput(Objects(parse_url(given, "--output"), options))
    if "://" in given or given.startswith("s3:"):
        raise ConfigError(f"--output {given}: is neither a folder nor s3://bucket/prefix")
    path = Path(given).expanduser().absolute()
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ConfigError(
            f"--output {given}: there is something already, and it is not a folder", hint="name a new folder"
        )
    return FolderOutput(path)
