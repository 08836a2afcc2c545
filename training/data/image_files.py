"""Reads image files, in this process or in many: hash, check and decode each file once, and put its pixels where they belong.

A reading process gets names and gives back facts; the pixels go from it to the disk.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import NamedTuple

from registry.records import ImagePreparation
from training.data.arrays import link_or_copy
from training.data.decode import MAX_BYTES, Unreadable, decode
from training.data.preparation import prepare_image

ARRAY = "x0.npy"  # a split's pixels


class ImageFile(NamedTuple):  # a tenth of what a dataclass costs on its way between two processes
    """What is known of one file. `error` is empty when its pixels are in the array."""

    digest: bytes = b""
    """SHA-256 of the file's bytes; empty when it could not be read."""
    height: int = 0
    width: int = 0
    mode: str = ""
    """Pillow's; as height and width, of the file, before it is prepared."""
    bytes: int = 0
    rotated: bool = False
    """It has an EXIF orientation, which nobody applies."""
    made: tuple[int, int, str] = (0, 0, "")
    """Height, width and mode of its pixels in the array."""
    error: str = ""
    hint: str = ""
    about: str = ""
    """Which check `error` belongs to: `file` or `mode`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some files, and where they belong: the split's folder, and the offset of the pixels in its array, in bytes."""

    folder: str
    source: str | None
    """Where `folder` is in the dataset; the splits keep the files under the same path. None: they are not kept."""
    names: tuple[str, ...]
    pixels_at: tuple[tuple[str, int], ...]
    """For each name the split's folder and the offset of its pixels in the array, in bytes."""
    wanted: tuple[int, int, str]
    """Height, width, mode."""
    how: ImagePreparation | None = None


def read_chunk(chunk: Chunk) -> list[ImageFile]:
    """Read all images of a chunk; the pixels of those of the wanted size and mode are written where they belong, and
    the files are kept beside them, if they are wanted there."""
    arrays: dict[str, int] = {}
    try:
        found = []
        for name, (split, offset) in zip(chunk.names, chunk.pixels_at, strict=True):
            path = f"{chunk.folder}/{name}"
            image, pixels = read_image(path, chunk.how, chunk.wanted[2])
            if pixels and image.made == chunk.wanted:
                if split not in arrays:
                    arrays[split] = os.open(f"{split}/{ARRAY}", os.O_WRONLY)
                _write_at(arrays[split], pixels, offset)
                if chunk.source is not None:
                    link_or_copy(path, f"{split}/files/{chunk.source}/{name}")
            found.append(image)
        return found
    finally:
        for fd in arrays.values():
            os.close(fd)


def read_image(path: str, how: ImagePreparation | None, mode: str) -> tuple[ImageFile, bytes]:
    """One file: what it is, and its pixels (uint8, rows, then columns, then channels), prepared as `how` says for a model of
    this mode; b"" when it cannot be used. An empty mode: its own."""
    digest, data = b"", b""
    try:
        data = _read(path)
        digest = hashlib.sha256(data).digest()
        if how:
            found = prepare_image(data, how, mode)
            height, width, own = found.was
            made = (found.height, found.width, found.mode)
            return ImageFile(digest, height, width, own, len(data), found.rotated, made), found.pixels
        height, width, own, rotated, pixels = decode(data)
    except Unreadable as error:
        hint = f"{error.hint}, or declare it in dataset.toml: [images] {error.declare}" if error.declare else error.hint
        return ImageFile(digest, bytes=len(data), error=str(error), hint=hint, about=error.about), b""
    return ImageFile(digest, height, width, own, len(data), rotated, (height, width, own)), pixels


def peek(path: str, how: ImagePreparation | None, mode: str) -> tuple[int, int, str] | None:
    """(height, width, mode) of the pixels of an image that can be used, else None."""
    image, pixels = read_image(path, how, mode)
    return image.made if pixels else None


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if os.path.islink(path):
            where = os.readlink(path)
            raise Unreadable(f"is a symbolic link to {where!r}", "put the image itself into the repository") from None
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    try:
        size = os.fstat(fd).st_size
        data = b"" if size > MAX_BYTES else os.read(fd, size)  # no buffer of MAX_BYTES for each of many small files
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(fd)
    if not size:
        raise Unreadable("is empty (0 bytes)")
    if size > MAX_BYTES:
        raise Unreadable(f"is larger than {MAX_BYTES >> 20} MB", "store it at the size that the model sees")
    return data


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
