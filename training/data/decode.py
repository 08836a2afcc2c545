"""From the bytes of an image file to its pixels, as they are: PNG and JPEG, 8-bit grey and RGB; and what is wrong with others."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NoReturn

from training.data.files import POINTER

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

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
TAKE = 'mode = "L" or "RGB", and convert = ["{}"]'
GROUND = 'background = "white"'
LINK = re.compile(rb"[^\0\n]*(/[^\0\n]*|\.(png|jpe?g))", re.IGNORECASE)
STARTS = {PNG: "png", JPEG: "jpeg", b"GIF8": "gif", b"BM": "bmp", b"RIFF": "webp"} | dict.fromkeys(
    (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "tiff"
)
NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "bmp": "BMP", "tiff": "TIFF", "gif": "GIF"}
"""A format, as `[images] formats` and as people call it."""
SUFFIXES = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""The ending of a file's name, in small letters → the format that it promises."""
ONLY = ("png", "jpeg")


class Unreadable(ValueError):
    """A file is not an image that can be used; `about` says which check it fails, `hint` what to do, `declare` what in
    `[images]` of dataset.toml would take it."""

    def __init__(self, message: str, hint: str = REPLACE, *, about: str = "file", declare: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.about = about
        self.declare = declare


def open_header(data: bytes) -> tuple[int, int, ImageFile | None]:
    """Height and width, as the header of a PNG or JPEG says, and the open file, which `decode` takes; None: it needs none. Raises
    what a decoder raises."""
    if plain := _plain_head(data):
        return plain[1], plain[0], None
    image = _opened(data)
    return image.height, image.width, image


def decode(data: bytes, header: ImageFile | None = None) -> tuple[int, int, str, bool, bytes]:
    """Height, width, mode (`L` or `RGB`), whether EXIF wants it rotated, and the pixels; raises Unreadable. `header`: the open file, of
    which the header was read already; it is closed."""
    if header is None and (plain := _decode_plain(data)):
        return plain
    if check_whole(data, ONLY) == "png":
        _check_png_type(data)
    try:
        with header or _opened(data) as image:
            width, height = image.size
            check_pixels(width, height)
            if image.mode not in {"L", "RGB"}:
                refuse_mode(image.mode)
            image.load()
            rotated = "exif" in image.info and image.getexif().get(0x0112, 1) != 1
            return height, width, image.mode, rotated, image.tobytes()
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (damaged bytes can make a decoder raise anything; it is reported)
        raise damaged(error) from None


def _opened(data: bytes) -> ImageFile:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # a limit is checked before anything is decoded
    return Image.open(BytesIO(data), formats=("PNG", "JPEG"))


def format_of(data: bytes) -> str:
    """By how the file begins; empty for what is not an image of a known format."""
    if data.startswith(JPEG):  # most are
        return "jpeg"
    found = next((name for start, name in STARTS.items() if data.startswith(start)), "")
    return "" if found == "webp" and data[8:12] != b"WEBP" else found


def check_whole(data: bytes, formats: Sequence[str]) -> str:
    """The format, which is one of `formats`; raises Unreadable for another, and for a file that is damaged or cut off, as far
    as that shows before it is decoded."""
    found = format_of(data)
    if found not in formats:
        refuse_format(data, formats)
    if found == "png":
        check_png(data)
    elif found == "jpeg" and data.rfind(JPEG_END) < 0:
        raise Unreadable("is truncated: the end of the JPEG is missing")
    elif found == "jpeg" and (count := scans(data)) > MAX_SCANS:
        raise Unreadable(f"has {count} scans, {MAX_SCANS} are allowed", "save it again with another program")
    elif found == "webp" and (missing := 8 + int.from_bytes(data[4:8], "little") - len(data)) > 0:
        raise Unreadable(f"is truncated: {missing} bytes are missing")
    return found


def check_pixels(width: int, height: int) -> None:
    """Raises Unreadable for more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise Unreadable(f"has {width * height:,} pixels, {MAX_PIXELS:,} are allowed")


def refuse_mode(mode: str) -> NoReturn:
    """Raises Unreadable for a mode of Pillow's that is neither grey nor RGB."""
    declare = 'mode = "RGB" and convert = ["cmyk"]' if mode == "CMYK" else ""
    raise Unreadable(f"has Pillow's mode {mode!r}", CONVERT, about="mode", declare=declare)


def damaged(error: Exception) -> Unreadable:
    """What a decoder has raised, as Unreadable."""
    said = str(error).partition("\n")[0]
    return Unreadable(f"cannot be decoded, probably truncated or damaged: {said}")


def scans(data: bytes) -> int:
    """How many passes over the pixels a JPEG has, at most: a marker that a decoder finds is found here, too. 1 for a PNG."""
    return max(1, data.count(SCAN)) if data.startswith(JPEG) else 1


def _decode_plain(data: bytes) -> tuple[int, int, str, bool, bytes] | None:
    """What `decode` gives, for a small PNG of 8-bit grey or RGB that is whole and holds nothing beside its pixels; None
    for any other. By the same decoder of Pillow, without its reader of files, which takes twice as long."""
    if not (head := _plain_head(data)):
        return None
    width, height, colour, crc = head
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


def _plain_head(data: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, colour type and checksum in the header of such a PNG."""
    if len(data) < PLAIN_PNG.size + 4 or not data.endswith(PLAIN_END):
        return None
    start, width, height, bits, colour, *others, crc, length, kind = PLAIN_PNG.unpack_from(data)
    if (start, kind, length, bits) != (PLAIN_START, b"IDAT", len(data) - PLAIN_PNG.size - 4 - len(PLAIN_END), 8):
        return None
    if colour not in PLAIN or any(others) or not 0 < width * height <= MAX_PIXELS:
        return None
    return width, height, colour, crc


def png_facts(data: bytes) -> tuple[int, int]:
    """Bits per channel and colour type of a whole PNG."""
    return data[24], data[25]


def has_transparent_colour(data: bytes) -> bool:
    """Of a whole PNG."""
    return b"tRNS" in data and any(kind == b"tRNS" for kind, _, _ in _chunks(data))


def check_png(data: bytes) -> None:
    """Walk over the chunks: Pillow lets a wrong checksum and a missing end pass. Raises Unreadable."""
    kind = b""
    for kind, at, end in _chunks(data):
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Unreadable(f"is damaged: wrong checksum in {kind.decode('ascii', 'replace')}")
        if at == len(PNG) and (kind, end - at) != (b"IHDR", 25):
            raise Unreadable("is damaged: it does not begin with its IHDR")
    if kind != PNG_END:
        raise Unreadable("is truncated: the end of the PNG is missing")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each chunk of a PNG, up to its last; raises Unreadable for one that is cut off."""
    at = len(PNG)
    while at < len(data):
        if at + 12 > len(data):
            raise Unreadable("is truncated: it ends within a PNG chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise Unreadable(f"is truncated: {end - len(data)} bytes are missing")
        yield kind, at, end
        if kind == PNG_END:
            return
        at = end


def _check_png_type(data: bytes) -> None:
    bits, colour = png_facts(data)
    if bits == 16:
        hint = "scale it to 8 bits, e.g. with NumPy: (pixels / 257).round().astype('uint8')"
        raise Unreadable("has 16 bits per channel", hint, about="mode", declare=TAKE.format("16-bit"))
    if colour == 3:
        raise Unreadable("has a palette", CONVERT, about="mode", declare=TAKE.format("palette"))
    if colour in {4, 6}:
        raise Unreadable("has an alpha channel", CONVERT, about="mode", declare=GROUND)
    if bits == 1:
        raise Unreadable("has 1 bit per pixel", CONVERT, about="mode", declare=TAKE.format("1-bit"))
    if has_transparent_colour(data):
        raise Unreadable("has transparency", CONVERT, about="mode", declare=GROUND)


def refuse_format(data: bytes, formats: Sequence[str]) -> NoReturn:
    """Raises Unreadable, for a file that has another format than these."""
    found = format_of(data)
    wanted = " or ".join(filter(None, (", ".join(NAMES[each] for each in formats[:-1]), NAMES[formats[-1]])))
    if data.startswith(POINTER):
        raise Unreadable(
            "is a Git LFS pointer, not the image",
            "set [repositories] lfs = true and do not list it as unimportant, or keep the images in git itself",
        )
    if found:
        declare = "" if found == "gif" else f"formats = {json.dumps([*formats, found])}"
        raise Unreadable(f"is {NAMES[found]}, not {wanted}", "save it as PNG", declare=declare)
    if len(data) < 4096 and LINK.fullmatch(data):  # a checkout writes symbolic links as text
        target = data.decode("utf-8", "replace")
        raise Unreadable(f"is a symbolic link to {target!r}", "put the image itself into the repository")
    raise Unreadable(f"is not {wanted}, whatever its name says", REPLACE)
