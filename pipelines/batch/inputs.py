"""The files of the input: which there are, of which kind, and what will show that one has changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import ConfigError
from registry.store_options import StoreOptions
from serving.batch.job import BatchFile, Kind
from training.data.decode import SUFFIXES

if TYPE_CHECKING:
    from registry.s3_objects import Objects

KINDS: dict[str, Kind] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".npz": "npz", ".zip": "zip", ".tar": "tar", ".tar.gz": "tar", ".tgz": "tar",
    ".tar.bz2": "tar", ".tar.xz": "tar",
}  # fmt: skip
PACKED = (".gz", ".bz2", ".xz")
"""Behind the ending of a text file that is compressed."""
IMAGES = tuple(SUFFIXES)
"""Endings; which of them a model takes, its worker knows."""
KNOWN = "known endings: .csv .tsv .txt .jsonl .ndjson, also with .gz .bz2 .xz behind, .parquet .pq .npz, of archives with images .zip .tar .tar.gz .tgz"
SAMPLE = 1 << 16
MOST_FILES = 99_999
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Found:
    """The input: its files, and where each is on this machine once it was fetched."""

    files: tuple[BatchFile, ...]
    paths: tuple[str, ...]
    """Of each file: a path, or its name in the bucket."""
    bucket: Objects | None = None

    def local(self, number: int, spool: Path) -> Path:
        """Where a file is; one in a bucket is fetched to `spool`, unless it was already. Raises TryAgain, Corrupt."""
        if self.bucket is None:
            return Path(self.paths[number])
        file = self.files[number]
        target = spool / hashlib.sha256(f"{file.name} {file.mark}".encode()).hexdigest()[:24]
        if file.kind == "folder":
            return self._images(target)
        if not target.exists():
            _fetch(self.bucket, self.paths[number], file.bytes, target)
        return target

    def _images(self, target: Path) -> Path:
        assert self.bucket is not None
        bucket = self.bucket

        def fetch(each: tuple[str, int]) -> None:
            path = target / each[0]
            if not path.exists():
                _fetch(bucket, each[0], each[1], path)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(fetch, _images_of(bucket)):
                pass
        return target


def kind_of(name: str) -> Kind | None:
    """By the ending of a file's name."""
    lower = name.lower()
    if kind := next((kind for ending, kind in KINDS.items() if lower.endswith(ending)), None):
        return kind
    stem, _, last = lower.rpartition(".")
    kind = kind_of(stem) if f".{last}" in PACKED else None
    return kind if kind in {"csv", "jsonl"} else None


def find_local(given: str, *, alone: bool) -> Found:
    """A file, or the files of a folder. `alone`: there is one shard, on one machine, so that a file's time counts, too.

    Raises ConfigError.
    """
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise ConfigError(f"--input {given}: is not there", hint="name a file or a folder")
    if path.is_dir():
        return _folder(path.resolve(), alone=alone)
    kind = kind_of(path.name)
    if kind is None or not path.is_file():
        raise ConfigError(f"--input {given}: {'is not a file' if kind else 'of an unknown format'}", hint=KNOWN)
    path = path.resolve()
    return Found((_file(path, given_name(given), kind, alone=alone),), (str(path),))


def given_name(given: str) -> str:
    """The last part of what a person has given."""
    return Path(given).name


def _folder(root: Path, *, alone: bool) -> Found:
    tables: list[tuple[str, Kind]] = []
    digest, images, size = hashlib.sha256(), 0, 0
    for name, facts in _walk(str(root), ""):
        if name.lower().endswith(IMAGES):
            images, size = images + 1, size + facts.st_size
            digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns if alone else ''}\n".encode("utf-8", "replace"))
        elif kind := kind_of(name):
            if not stat.S_ISREG(facts.st_mode):
                what = "a symbolic link" if stat.S_ISLNK(facts.st_mode) else "not a file"
                raise ConfigError(
                    f"--input: {root / name} is {what}", hint="name what it points to as --input of its own"
                )
            tables.append((name, kind))
    if images and tables:
        raise ConfigError(
            f"--input {root}: holds images and other files, e.g. {tables[0][0]}", hint="give each kind its own folder"
        )
    if images:
        mark = digest.hexdigest()
        return Found((BatchFile(root.name, "folder", size, mark),), (str(root),))
    _check_count(len(tables), str(root))
    files = [_file(root / name, name, kind, alone=alone) for name, kind in tables]
    return Found(tuple(files), tuple(str(root / name) for name, _ in tables))


def _walk(root: str, below: str) -> Iterator[tuple[str, os.stat_result]]:
    """Names and facts of all that is not a folder, in order; what begins with a dot or `_` is somebody's note."""
    with os.scandir(os.path.join(root, below)) as entries:
        found = sorted(
            (each.name, each.is_dir(follow_symlinks=False), each.stat(follow_symlinks=False)) for each in entries
        )
    for name, folder, facts in found:
        if name.startswith((".", "_")):
            continue
        path = f"{below}/{name}" if below else name
        if folder:
            yield from _walk(root, path)
        else:
            yield path, facts


def _file(path: Path, name: str, kind: Kind, *, alone: bool) -> BatchFile:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        digest.update(f"{facts.st_size} {facts.st_mtime_ns if alone else ''}".encode())
        digest.update(file.read(SAMPLE))
        file.seek(max(0, facts.st_size - SAMPLE))
        digest.update(file.read(SAMPLE))
    return BatchFile(name, kind, facts.st_size, digest.hexdigest())


def find_bucket(url: str, options: StoreOptions) -> Found:
    """An object, or all below a prefix. Raises ConfigError, TryAgain."""
    from registry.s3_client import Place, parse_url
    from registry.s3_objects import Objects

    place = parse_url(url, "--input")
    above, _, name = place.prefix.rpartition("/")
    if kind := kind_of(name):
        objects = Objects(Place(place.bucket, above, "--input"), options)
        if facts := objects.head(name):
            return Found((BatchFile(name, kind, facts.size, facts.etag),), (name,), objects)
    objects = Objects(place, options)
    listed = sorted((each, facts) for each, facts in objects.listing("", deep=True) if facts and not each.endswith("/"))
    names = [each for each, _ in listed if not any(part.startswith((".", "_")) for part in each.split("/"))]
    images = [each for each in names if each.lower().endswith(IMAGES)]
    if images:
        mark, size = hashlib.sha256(), 0
        for each, length in _images_of(objects):
            mark.update(f"{each}\0{length}\n".encode())
            size += length
        return Found((BatchFile(name or place.bucket, "folder", size, mark.hexdigest()),), ("",), objects)
    tables = [(each, facts, kind) for each, facts in listed if each in set(names) and facts and (kind := kind_of(each))]
    _check_count(len(tables), url)
    files = tuple(BatchFile(each, kind, facts.size, facts.etag) for each, facts, kind in tables)
    return Found(files, tuple(each for each, _, _ in tables), objects)


def _images_of(objects: Objects) -> Iterator[tuple[str, int]]:
    """Names and sizes; raises ConfigError for a name that could not be a file's below a folder."""
    for name, facts in sorted((each, facts) for each, facts in objects.listing("", deep=True) if facts):
        if not name.lower().endswith(IMAGES) or facts is None:
            continue
        parts = name.split("/")
        if any(part in {"", ".", ".."} or len(part.encode()) > 255 or "\0" in part for part in parts):
            raise ConfigError(f"--input: {name!r} in the bucket is not a file's name", hint="rename it")
        yield name, facts.size


def _check_count(count: int, where: str) -> None:
    if not count:
        raise ConfigError(f"--input {where}: there is nothing of a known format", hint=KNOWN)
    if count > MOST_FILES:
        raise ConfigError(f"--input {where}: {count} files, {MOST_FILES} are allowed", hint="join them")


def _fetch(objects: Objects, name: str, size: int, target: Path) -> None:
    """Whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.tmp")
    with unfinished.open("wb") as file:
        file.truncate(size)
    if size:
        objects.fetch(name, size, unfinished)
    os.replace(unfinished, target)
