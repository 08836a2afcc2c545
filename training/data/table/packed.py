"""Text files that are compressed by gzip, bzip2 or xz: read within bounds, and written again in the same way."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from training.data.table.suspect import Unreadable

PROGRAMS: dict[str, Any] = {".gz": gzip, ".bz2": bz2, ".xz": lzma}
"""Ending → what reads it."""
MAGIC = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ"}
DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error, ValueError)
PIECE = 1 << 20
SMALL, TIMES, MOST = 64 << 20, 200, 4 << 30
"""Bytes that any file may have when it is unpacked; more, up to MOST, only as TIMES its size: tables seldom shrink to a tenth."""


def ending(name: str) -> str:
    """The ending of a file's name in small letters; of a text file that is compressed, the one before: `.csv` of `a.csv.gz`."""
    *_, before, last = ["", "", *(each.lower() for each in PurePosixPath(name).suffixes[-2:])]
    return before if last in PROGRAMS and before else last


def is_packed(name: str) -> bool:
    """Whether the name says that the file is compressed."""
    return PurePosixPath(name).suffix.lower() in PROGRAMS


def read(path: Path) -> Any:
    """The bytes of a file as a pyarrow.Buffer, unpacked where its name says that it is compressed; raises Unreadable."""
    if not is_packed(path.name):
        return pa.memory_map(str(path)).read_buffer()
    program = PROGRAMS[path.suffix.lower()]
    most = min(MOST, max(SMALL, TIMES * path.stat().st_size))
    found = bytearray()
    try:
        with program.open(path, "rb") as file:
            while piece := file.read(PIECE):
                found += piece
                if len(found) > most:
                    raise Unreadable(
                        f"is more than {most >> 20:,} MB when it is unpacked, from {path.stat().st_size:,} bytes",
                        "store it as several files, or uncompressed",
                    )
    except Unreadable:
        raise
    except DAMAGED as error:
        raise unreadable(path.name, error) from None
    return pa.py_buffer(bytes(found))


def opened(path: Path, name: str) -> tuple[IO[bytes], IO[bytes]]:
    """The file as it is, and unpacked as `name` says, to be read from its beginning; both the same where it is not compressed."""
    raw = path.open("rb", buffering=PIECE)
    return raw, PROGRAMS[PurePosixPath(name).suffix.lower()].open(raw, "rb") if is_packed(name) else raw


def unreadable(name: str, error: Exception) -> Unreadable:
    """Why a compressed file cannot be read any further."""
    said = str(error).partition("\n")[0]
    return Unreadable(
        f"cannot be unpacked as {PurePosixPath(name).suffix.lower()}, which its name says: {said:.200}",
        "replace the file by a whole one, or correct its ending",
    )


def rename(start: bytes) -> str:
    """What more to do about a text file that begins like this, and is compressed without its name saying so; empty: it is not."""
    found = next((ending for ending, magic in MAGIC.items() if start.startswith(magic)), "")
    return f", or give it the ending .csv{found}" if found else ""


def pack(name: str, data: bytes) -> bytes:
    """The bytes of a file with this name: the same for the same data."""
    kind = PurePosixPath(name).suffix.lower()
    if kind == ".gz":
        return gzip.compress(data, mtime=0)
    return bytes(PROGRAMS[kind].compress(data)) if kind in PROGRAMS else data
