"""Two lists beside a version's manifest: the files of its dataset, and the keys of its samples.

    dataset.files.gz    one line per file, sorted: SHA-256, size in bytes, path as a JSON string
    dataset.keys        one line of text, then 8 bytes per key, sorted within each split

The digest of a dataset is the SHA-256 of the unpacked list of files. A key is not kept, but 8 bytes of the SHA-256 of that
digest and the key: who can read the list can ask whether a key is in it, and cannot compare it with the list of other data.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from registry.errors import Corrupt
from registry.files import sha256_file

FILES, KEYS = "dataset.files.gz", "dataset.keys"
"""The names of the lists among the files of a version."""
KEY_BYTES = 8
HEAD = re.compile(rb"trainyard-keys 1((?: [a-z]+=\d+)*)\n")
HINT = "`trainyard registry verify` lists every problem; restore the file from a backup"
KeyKind = Literal["row", "group"]
KINDS: tuple[KeyKind, ...] = ("row", "group")
"""What names a sample: its own key (or file, or row), or that of the group which it belongs to."""


class DataFile(NamedTuple):
    """One file of a dataset."""

    sha256: str
    bytes: int
    path: str


def list_files(folder: Path, known: Mapping[str, tuple[str, int]]) -> list[DataFile]:
    """All regular files below `folder`, sorted by path; those in `known` (path → SHA-256, bytes) are not read again."""
    found, root = [], f"{folder}/"
    for above, folders, names in os.walk(folder):
        if above == str(folder) and ".git" in folders:
            folders.remove(".git")
        for name in names:
            path = f"{above}/{name}"
            relative = path.removeprefix(root)
            if relative in known:
                found.append(DataFile(*known[relative], relative))
            elif stat.S_ISREG((facts := os.lstat(path)).st_mode):
                found.append(DataFile(sha256_file(Path(path)), facts.st_size, relative))
    return sorted(found, key=lambda each: each.path)


def files_text(files: Iterable[DataFile]) -> bytes:
    """The list of files, unpacked."""
    return "".join(f"{each.sha256} {each.bytes} {json.dumps(each.path)}\n" for each in files).encode()


def pack(text: bytes) -> bytes:
    """What `dataset.files.gz` holds: the same bytes for the same text."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(text)
    return packed.getvalue()


def read_files(path: Path) -> Iterator[DataFile]:
    """The files in the list at `path`; raises Corrupt, FileNotFoundError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                sha256, size, name = line.split(" ", 2)
                yield DataFile(sha256, int(size), str(json.loads(name)))
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise Corrupt(f"{path}: not a list of files: {error}", hint=HINT) from None


def key_digest(dataset: str, kind: KeyKind, key: str) -> bytes:
    """The entry of a key in the list; `dataset` is the dataset's digest."""
    text = f"{dataset}\0{kind}\0{key}".encode(errors="surrogatepass")
    return hashlib.sha256(text).digest()[:KEY_BYTES]


def keys_bytes(dataset: str, keys: Mapping[str, Mapping[KeyKind, Iterable[str]]]) -> tuple[bytes, int]:
    """The list of keys (split → kind → keys), and its number of entries."""
    parts = {
        split: sorted({key_digest(dataset, kind, key) for kind, given in kinds.items() for key in given})
        for split, kinds in keys.items()
    }
    head = "".join(f" {split}={len(part)}" for split, part in parts.items())
    body = b"".join(each for part in parts.values() for each in part)
    return f"trainyard-keys 1{head}\n".encode() + body, len(body) // KEY_BYTES


def splits_with(path: Path, dataset: str, key: str) -> list[tuple[str, KeyKind]]:
    """In which splits the list at `path` has the key, and as what; raises Corrupt, FileNotFoundError."""
    data = path.read_bytes()
    head = HEAD.match(data)
    counts = [each.split("=") for each in head[1].decode().split()] if head else []
    if not head or len(data) - head.end() != KEY_BYTES * sum(int(count) for _, count in counts):
        raise Corrupt(f"{path}: not a list of keys", hint=HINT)
    found, start = list[tuple[str, KeyKind]](), head.end()
    for split, count in counts:
        part = range(start, start + KEY_BYTES * int(count), KEY_BYTES)
        found += [(split, kind) for kind in KINDS if _holds(data, part, key_digest(dataset, kind, key))]
        start += KEY_BYTES * int(count)
    return found


def _holds(data: bytes, places: range, digest: bytes) -> bool:
    """Whether one of the sorted digests at these places is `digest`."""
    at = bisect_left(places, digest, key=lambda place: data[place : place + KEY_BYTES])
    return at < len(places) and data[places[at] : places[at] + KEY_BYTES] == digest
