"""`dataset.lock`: the files of a dataset commit that do not lie in git, one a line, sorted, so that git can show and merge it.

    trainyard dataset manifest 1
    folder images/
    5d41402abc4b2a76b9719d911017c592…  12345 images/cat/1.png

A line is the SHA-256, the size in bytes and the path. A line with `folder` says that `trainyard data add` was given that
folder, so that what is new in it belongs here, too. Rules without I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field

from pipelines.repositories.outside import paths
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError
from registry.files import sha256_bytes

NAME = "dataset.lock"
FIRST = "trainyard dataset manifest 1"
LINE = re.compile(r"([0-9a-f]{64}) +(\d{1,15}) (.+)")
FOLDER = re.compile(r"folder (.+)/")
CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
LARGEST = 256 << 20
"""Bytes of a manifest: about two million files."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class File:
    """What a file holds: its SHA-256, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Path → file, and the folders that are in it as a whole."""

    files: Mapping[str, File] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Bytes, of all files together."""
        return sum(each.size for each in self.files.values())

    def render(self) -> bytes:
        """The bytes of `dataset.lock`; the same files give the same bytes."""
        lines = [FIRST, *(f"folder {each}/" for each in sorted(self.folders))]
        lines += [f"{each.sha256} {each.size} {path}" for path, each in sorted(self.files.items())]
        return ("\n".join(lines) + "\n").encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of `render`: what a record says of the dataset."""
        return sha256_bytes(self.render())


def parse(data: bytes, where: str = NAME) -> Manifest:
    """The manifest in `data`; raises ConfigError, with every kind of problem, its lines and what to do."""
    if len(data) > LARGEST:
        raise ConfigError(f"{where}: larger than {LARGEST >> 20} MB", hint="split the dataset, or pack small files")
    try:
        lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{where}: line {line} is not UTF-8", hint=_remake(where)) from None
    if any(each.startswith(CONFLICT) for each in lines):
        at = next(number for number, each in enumerate(lines, 1) if each.startswith(CONFLICT))
        raise ConfigError(
            f"{where}: line {at} is the mark of an unresolved merge",
            hint="keep the lines that are right, in any order, remove the marks, and commit",
        )
    if lines[0] != FIRST:
        raise ConfigError(
            f"{where}: its first line is not {FIRST!r}",
            hint=f"{_remake(where)}; or it was written by another version of Trainyard",
        )
    files: dict[str, File] = {}
    folders: set[str] = set()
    problems = list(_read(lines, files, folders))
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ConfigError(f"{where}: {'; '.join(problems[:SHOWN])}{more}", hint=_remake(where))
    paths.refuse(files, where)
    paths.refuse(folders, where)
    return Manifest(files, frozenset(folders))


def _read(lines: list[str], files: dict[str, File], folders: set[str]) -> Iterator[str]:
    for number, line in enumerate(lines[1:], 2):
        if found := LINE.fullmatch(line):
            given = File(found[1], int(found[2]))
            if files.setdefault(found[3], given) != given:
                yield f"line {number}: another content of {clean(found[3], 100)} than an earlier line says"
        elif found := FOLDER.fullmatch(line):
            folders.add(found[1])
        elif line:
            yield f"line {number} is not `SHA-256 SIZE PATH`: {clean(line, 60)!r}"


def _remake(where: str) -> str:
    return f"restore {where.rpartition('/')[2]} from git, or correct the line, and commit"
