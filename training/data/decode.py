"""Reads images, in this process or in many: hash, check and decode each file once, and put its pixels where they belong.

A reading process gets names and gives back facts; the pixels go from it to the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from training.data.arrays import link_or_copy
from training.data.files import POINTER

ARRAY = "x0.npy"  # a split's pixels
MAX_BYTES = 64 << 20  # of one file
MAX_PIXELS = 64 << 20  # of one image; more is a mistake, or an attack on the memory
MAX_SCANS = 100
"""Of a JPEG: each is a pass over all pixels, and costs an attacker a few bytes. A progressive one has about ten."""
PNG, PNG_END, JPEG, JPEG_END = b"\x89PNG\r\n\x1a\n", b"IEND", b"\xff\xd8\xff", b"\xff\xd9"
SCAN = b"\xff\xda"  # how a JPEG's scan begins; inside of one a byte 0xff is never followed by 0xda
PLAIN = {0: "L", 2: "RGB"}  # PNG's colour types
PLAIN_PNG = struct.Struct(">16sIIBBBBBII4s")  # its IHDR, and the head of its only IDAT
PLAIN_START, PLAIN_END = PNG + b"\0\0\0\rIHDR", b"\0\0\0\0IEND\xaeB`\x82"
CONVERT = "convert it to 8-bit grey or RGB, e.g. with Pillow: image.convert('L') or image.convert('RGB')"
REPLACE = "replace the file by a whole image, or delete it"
LINK = re.compile(rb"[^\0\n]*(/[^\0\n]*|\.(png|jpe?g))", re.IGNORECASE)
OTHER_FORMATS = {b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\x00": "TIFF", b"MM\x00*": "TIFF"}


class Unreadable(ValueError):
    """A file is not an image that can be used; `about` says which check it fails, `hint` what to do."""

    def __init__(self, message: str, hint: str = REPLACE, *, about: str = "file") -> None:
        super().__init__(message)
        self.hint = hint
        self.about = about


class ImageFile(NamedTuple):  # a tenth of what a dataclass costs on its way between two processes
    """What is known of one file. `error` is empty when its pixels are in the array."""

    digest: bytes = b""
    """SHA-256 of the file's bytes; empty when it could not be read."""
    height: int = 0
    width: int = 0
    mode: str = ""
    bytes: int = 0
    rotated: bool = False
    """A JPEG with an EXIF orientation, which nobody applies."""
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


def read_chunk(chunk: Chunk) -> list[ImageFile]:
    """Read all images of a chunk; the pixels of those of the wanted size and mode are written where they belong, and
    the files are kept beside them, if they are wanted there."""
    arrays: dict[str, int] = {}
    try:
        found = []
        for name, (split, offset) in zip(chunk.names, chunk.pixels_at, strict=True):
            path = f"{chunk.folder}/{name}"
            image, pixels = read_image(path)
            if pixels and (image.height, image.width, image.mode) == chunk.wanted:
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


def read_image(path: str) -> tuple[ImageFile, bytes]:
    """One file: what it is, and its pixels (uint8, rows, then columns, then channels); b"" when it cannot be used."""
    try:
        data = _read(path)
    except Unreadable as error:
        return ImageFile(error=str(error), hint=error.hint, about=error.about), b""
    digest = hashlib.sha256(data).digest()
    try:
        height, width, mode, rotated, pixels = decode(data)
    except Unreadable as error:
        return ImageFile(digest, bytes=len(data), error=str(error), hint=error.hint, about=error.about), b""
    return ImageFile(digest, height, width, mode, len(data), rotated), pixels


def peek(path: str) -> tuple[int, int, str] | None:
    """(height, width, mode) of an image that can be used, else None."""
    image, pixels = read_image(path)
    return (image.height, image.width, image.mode) if pixels else None


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


def decode(data: bytes) -> tuple[int, int, str, bool, bytes]:
    """Height, width, mode (`L` or `RGB`), whether EXIF wants it rotated, and the pixels; raises Unreadable."""
    if plain := _decode_plain(data):
        return plain
    if data.startswith(PNG):
        _check_png(data)
    elif not data.startswith(JPEG):
        raise _explain(data)
    elif data.rfind(JPEG_END) < 0:
        raise Unreadable("is truncated: the end of the JPEG is missing")
    elif (count := scans(data)) > MAX_SCANS:
        raise Unreadable(f"has {count} scans, {MAX_SCANS} are allowed", "save it again with another program")
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # a limit is checked below, before anything is decoded
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unreadable(f"has {width * height:,} pixels, {MAX_PIXELS:,} are allowed")
            if image.mode not in {"L", "RGB"}:
                raise Unreadable(f"has Pillow's mode {image.mode!r}", CONVERT, about="mode")
            image.load()
            rotated = "exif" in image.info and image.getexif().get(0x0112, 1) != 1
            return height, width, image.mode, rotated, image.tobytes()
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (damaged bytes can make a decoder raise anything; it is reported)
        said = str(error).partition("\n")[0]
        raise Unreadable(f"cannot be decoded, probably truncated or damaged: {said}") from None


def scans(data: bytes) -> int:
    """How many passes over the pixels a JPEG has, at most: a marker that a decoder finds is found here, too. 1 for a PNG."""
    return max(1, data.count(SCAN)) if data.startswith(JPEG) else 1


def _decode_plain(data: bytes) -> tuple[int, int, str, bool, bytes] | None:
    """What `decode` gives, for a small PNG of 8-bit grey or RGB that is whole and holds nothing beside its pixels; None
    for any other. By the same decoder of Pillow, without its reader of files, which takes twice as long."""
    if len(data) < PLAIN_PNG.size + 4 or not data.endswith(PLAIN_END):
        return None
    start, width, height, bits, colour, *others, crc, length, kind = PLAIN_PNG.unpack_from(data)
    if (start, kind, length, bits) != (PLAIN_START, b"IDAT", len(data) - PLAIN_PNG.size - 4 - len(PLAIN_END), 8):
        return None
    if colour not in PLAIN or any(others) or not 0 < width * height <= MAX_PIXELS:
        return None
    end = len(data) - len(PLAIN_END)
    if zlib.crc32(data[12:29]) != crc or zlib.crc32(data[37 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        return None
    from PIL import Image

    mode = PLAIN[colour]
    try:
        image = Image.frombytes(mode, (width, height), data[PLAIN_PNG.size : end - 4], "zip", mode)
        return height, width, mode, False, image.tobytes()
    except Exception:  # noqa: BLE001  (the reader of files finds out what is wrong)
        return None


def _check_png(data: bytes) -> None:
    """Walk over the chunks: Pillow lets a wrong checksum and a missing end pass."""
    at, kinds = len(PNG), set[bytes]()
    while at < len(data):
        if at + 12 > len(data):
            raise Unreadable("is truncated: it ends within a PNG chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise Unreadable(f"is truncated: {end - len(data)} bytes are missing")
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Unreadable(f"is damaged: wrong checksum in {kind.decode('ascii', 'replace')}")
        if kind == b"IHDR" and length == 13:
            _check_png_type(bits=data[at + 16], colour=data[at + 17])
        kinds.add(kind)
        at = end
        if kind == PNG_END:
            break
    if PNG_END not in kinds:
        raise Unreadable("is truncated: the end of the PNG is missing")
    if b"tRNS" in kinds:
        raise Unreadable("has transparency", CONVERT, about="mode")


def _check_png_type(bits: int, colour: int) -> None:
    if bits == 16:
        hint = "scale it to 8 bits, e.g. with NumPy: (pixels / 257).round().astype('uint8')"
        raise Unreadable("has 16 bits per channel", hint, about="mode")
    if colour == 3:
        raise Unreadable("has a palette", CONVERT, about="mode")
    if colour in {4, 6}:
        raise Unreadable("has an alpha channel", CONVERT, about="mode")
    if bits == 1:
        raise Unreadable("has 1 bit per pixel", CONVERT, about="mode")


def _explain(data: bytes) -> Unreadable:
    if data.startswith(POINTER):
        return Unreadable(
            "is a Git LFS pointer, not the image",
            "set [repositories] lfs = true and do not list it as unimportant, or keep the images in git itself",
        )
    for start, kind in OTHER_FORMATS.items():
        if data.startswith(start):
            return Unreadable(f"is {kind}, not PNG or JPEG", "save it as PNG")
    if len(data) < 4096 and LINK.fullmatch(data):  # a checkout writes symbolic links as text
        target = data.decode("utf-8", "replace")
        return Unreadable(f"is a symbolic link to {target!r}", "put the image itself into the repository")
    return Unreadable("is not PNG or JPEG, whatever its name says", REPLACE)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
