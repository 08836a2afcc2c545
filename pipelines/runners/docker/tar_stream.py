"""Files through the engine's API: a tar stream in, a tar stream back. Never whole in memory, and nothing that comes back
is trusted.

Only files and folders come back, below one folder that is made for them: no links, devices or paths that lead out, no
owners, no more bytes than allowed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from pipelines.runners.job_folder import remove
from registry.errors import TryAgain, WorkerFailed

CHUNK = 1 << 20
ENTRY = 4096  # bytes that a file costs at least, as in `supervisor.py`
MIB = 1 << 20
END = b"\0" * 1024
DEEPEST = 100  # folders in one another


def pack(root: Path, name: str, owner: tuple[int, int], leave_out: frozenset[str] = frozenset()) -> Iterator[bytes]:
    """The file or folder `root` as a part of a tar stream, called `name` in it; without an end.

    Everything belongs to `owner` and can be read by all. `leave_out` are names right below `root`. Links stay links.
    """
    root_stat = root.stat()
    if not stat.S_ISDIR(root_stat.st_mode):
        yield from _file(str(root), name, owner)
        return
    yield _entry(name, root_stat, owner).tobuf(tarfile.PAX_FORMAT)
    todo = [(str(root), name)]
    while todo:
        folder, inside = todo.pop()
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if folder == str(root) and entry.name in leave_out:
                    continue
                path, facts = f"{inside}/{entry.name}", entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    yield _entry(path, facts, owner).tobuf(tarfile.PAX_FORMAT)
                    todo.append((entry.path, path))
                elif stat.S_ISREG(facts.st_mode):
                    yield from _file(entry.path, path, owner)
                elif stat.S_ISLNK(facts.st_mode):
                    link = _entry(path, facts, owner)
                    link.linkname = os.readlink(entry.path)
                    yield link.tobuf(tarfile.PAX_FORMAT)


def empty(name: str, owner: tuple[int, int]) -> bytes:
    """An empty folder, as a part of a tar stream."""
    made = tarfile.TarInfo(name)
    made.type, made.mode, (made.uid, made.gid) = tarfile.DIRTYPE, 0o755, owner
    return made.tobuf(tarfile.PAX_FORMAT)


def _entry(name: str, facts: os.stat_result, owner: tuple[int, int]) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mtime, (entry.uid, entry.gid) = facts.st_mtime, owner
    if stat.S_ISDIR(facts.st_mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISLNK(facts.st_mode):
        entry.type, entry.mode = tarfile.SYMTYPE, 0o777
    else:
        entry.mode, entry.size = 0o755 if facts.st_mode & 0o100 else 0o644, facts.st_size
    return entry


def _file(path: str, name: str, owner: tuple[int, int]) -> Iterator[bytes]:
    with open(path, "rb") as file:
        entry = _entry(name, os.fstat(file.fileno()), owner)
        yield entry.tobuf(tarfile.PAX_FORMAT)
        left = entry.size
        while left:
            data = file.read(min(CHUNK, left))
            if not data:
                raise TryAgain(
                    f"{path} became shorter while it was read", hint="another process writes there; run it again"
                )
            left -= len(data)
            yield data
    yield b"\0" * (-entry.size % tarfile.BLOCKSIZE)


class _Stream:
    """What `tarfile` reads from, made of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts, wanted = [], size
        while wanted:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    break
            parts.append(self._rest[:wanted])
            self._rest = self._rest[wanted:]
            wanted -= len(parts[-1])
        return b"".join(parts)


def unpack(
    chunks: Iterable[bytes], into: Path, most_mb: int, leave: frozenset[str], refused: Callable[[str], None]
) -> None:
    """Write what a tar stream holds to the empty folder `into`, save what lies below a first name of `leave`.

    What is neither file nor folder, or leads out, goes to `refused`. Raises WorkerFailed when it is more than `most_mb`
    (0: no limit), TryAgain when it is not a tar stream, or the disk does not take it.
    """
    room = most_mb * MIB if most_mb else float("inf")
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _Stream(chunks)), mode="r|", errorlevel=2) as tar:
            for member in tar:
                parts = [part for part in PurePosixPath(member.name).parts if part != "."]
                if not parts or parts[0] in leave:
                    continue
                room -= max(member.size, ENTRY)
                if room < 0:
                    raise WorkerFailed(f"the worker wrote more than {most_mb} MiB", hint="raise [runner] disk_mb")
                leads_out = parts[0] == "/" or ".." in parts or len(parts) > DEEPEST
                if leads_out or not _write(tar, member, into, parts):
                    refused(f"not taken over: {member.name[:200]!r} is neither a file nor a folder of the job")
    except tarfile.TarError as error:
        raise TryAgain(f"what the engine sent is not a tar stream: {error}", hint="run it again") from error
    except OSError as error:
        if error.errno is None:  # the engine's, not the disk's
            raise
        raise TryAgain(f"{into}: {error.strerror}", hint="free some disk space, and run it again") from error


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path, parts: list[str]) -> bool:
    """Nothing that was written before is a link, so no path below `into` leads out."""
    path = into.joinpath(*parts)
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return True
    if member.islnk():
        target = PurePosixPath(member.linkname).parts
        known = into.joinpath(*target)
        if ".." in target or "/" in target or not known.is_file():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(known, path)
        return True
    if not member.isreg():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    data = tar.extractfile(member)
    assert data
    with open(path, "xb") as file:
        shutil.copyfileobj(data, file, CHUNK)
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    return True


def replace(new: Path, folder: Path, leave: frozenset[str], last: str) -> None:
    """Replace all that is right below `folder` by what is in `new`, save names in `leave`; `last` comes last."""
    for path in list(folder.iterdir()):
        if path == new or path.name in leave:
            continue
        remove(path)
    for path in sorted(new.iterdir(), key=lambda each: each.name == last):
        os.rename(path, folder / path.name)
    new.rmdir()
