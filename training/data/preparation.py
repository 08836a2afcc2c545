"""From the bytes of an image file to the pixels that the model sees, as `[images]` of dataset.toml declares it: the same code
prepares a dataset, and answers requests and batches.

In this order: the first image of the file; turned as EXIF says; laid on the background; 8 bits per channel; the model's mode;
resized. Pillow does all of it, in integers: the same bytes give the same pixels on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.records import ImagePreparation
from training.data.decode import (
    CONVERT,
    GROUND,
    MAX_PIXELS,
    NAMES,
    TAKE,
    Unreadable,
    check_pixels,
    check_whole,
    damaged,
    format_of,
    has_transparent_colour,
    png_facts,
    refuse_mode,
)

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION, BITS, PHOTOMETRIC = 0x0112, 258, 262  # tags of EXIF and TIFF
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
"""EXIF's orientation → what Pillow calls the way back."""
SPECIAL = {"P": "palette", "PA": "palette", "CMYK": "cmyk", "1": "1-bit", "I;16": "16-bit", "I;16B": "16-bit"}
"""Pillow's mode → how `[images] convert` calls it."""
SAID = {
    "palette": "has a palette",
    "cmyk": "is CMYK",
    "16-bit": "has 16 bits per channel",
    "1-bit": "has 1 bit per pixel",
}
CUT = "cut out the part that counts"
GREY, COLOUR = {"L", "LA", "1", "I;16", "I;16B"}, {"RGB", "RGBA", "P", "PA", "CMYK"}
DEEP, SHALLOW = 16, {1, 2, 4, 8}
"""Bits per channel."""
DRAFT = 2
"""A JPEG is decoded at an 1/2, 1/4 or 1/8 of its size when that leaves so many times the larger side of `resize`, or more."""


class Prepared(NamedTuple):
    """One image as the model sees it."""

    height: int
    width: int
    mode: str
    pixels: bytes
    """uint8, rows, then columns, then channels."""
    was: tuple[int, int, str]
    """Height and width of the file, as a person sees it, and Pillow's mode."""
    rotated: bool
    """EXIF wants it turned, and it was not."""


def prepare_image(
    data: bytes, how: ImagePreparation, mode: str, *, lenient: bool = False, most: int = MAX_PIXELS
) -> Prepared:
    """The image in a file, for a model of this `mode` (`L`, `RGB`; empty: its own). Raises Unreadable.

    `lenient`: grey and RGB are converted into each other although `convert` does not say so. `most`: pixels that may be in
    memory at a time."""
    kind = check_whole(data, how.formats)
    with _opened(data, how) as (image, size):
        if image.width * image.height > most:
            raise Unreadable(
                f"has {image.width * image.height:,} pixels to decode, {most:,} are allowed", "send a smaller one"
            )
        if how.frames == "refuse" and _has_several(image, kind):
            raise Unreadable(
                f"is {NAMES[kind]} with several images", "save the one that counts", declare='frames = "first"'
            )
        pillow = image.mode
        _check_mode(image, data, kind, how)
        image.load()
        orientation = 1 if kind == "tiff" or "exif" not in image.info else image.getexif().get(ORIENTATION, 1)
        turned = how.exif == "turn" and orientation in TURNS
        made = _resized(
            _in_mode(_turned(image, orientation) if turned else image, how, mode, lenient=lenient), how, most
        )
        width, height = size[::-1] if turned and orientation > 4 else size
        rotated = not turned and orientation != 1
        return Prepared(made.height, made.width, made.mode, made.tobytes(), (height, width, pillow), rotated)


def measure(data: bytes, how: ImagePreparation) -> tuple[int, int, int]:
    """Height and width of the image, by the file's header, and how many pixels it takes to decode it. Raises Unreadable."""
    with _opened(data, how) as (image, (width, height)):
        return height, width, image.width * image.height


@contextmanager
def _opened(data: bytes, how: ImagePreparation) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The image, of which only the header was read, and its width and height."""
    from PIL import Image

    kind = format_of(data)
    if kind not in how.formats or kind == "webp":  # whose decoder wants all of it, and does not say what is missing
        check_whole(data, how.formats)
    Image.MAX_IMAGE_PIXELS = None  # a limit is checked below
    try:
        with Image.open(BytesIO(data), formats=(kind,)) as image:
            size = image.size
            check_pixels(*size)
            if kind == "jpeg" and how.resize:
                side = DRAFT * max(how.resize)
                image.draft(image.mode, (side, side))
            yield image, size
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (as in `decode`)
        raise damaged(error) from None


def _has_several(image: Any, kind: str) -> bool:
    if kind in {"jpeg", "bmp"}:  # what a camera adds to a JPEG is its own preview
        return False
    if kind != "tiff":
        return bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)  # to count them all would read them all
    except EOFError:
        return False
    return True


def _check_mode(image: Any, data: bytes, kind: str, how: ImagePreparation) -> None:
    """Raises Unreadable unless everything that is unusual in it was declared."""
    mode = image.mode
    if mode not in GREY | COLOUR:
        refuse_mode(mode)
    bits = {png_facts(data)[0]} if kind == "png" else set(_tag(image, BITS, (1,))) if kind == "tiff" else set()
    if bits - SHALLOW - {DEEP}:
        raise Unreadable(f"has {max(bits)} bits per channel", CONVERT, about="mode")
    found = {SPECIAL[mode]} if mode in SPECIAL else set()
    if DEEP in bits:
        found.add("16-bit")
    for each in sorted(found):
        if each not in how.convert:
            raise Unreadable(SAID[each], CONVERT, about="mode", declare=TAKE.format(each))
    if DEEP in bits and ((kind == "png" and has_transparent_colour(data)) or _tag(image, PHOTOMETRIC, 1) == 0):
        raise Unreadable("has 16 bits per channel, and a transparent colour or 0 for white", CONVERT, about="mode")
    if how.background is None and image.has_transparency_data:
        raise Unreadable("has transparency", CONVERT, about="mode", declare=GROUND)


def _tag(image: Any, number: int, default: Any) -> Any:
    return image.tag_v2.get(number, default) if hasattr(image, "tag_v2") else default


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    return image.transpose(Transpose[TURNS[orientation]])


def _in_mode(image: Image.Image, how: ImagePreparation, mode: str, *, lenient: bool) -> Image.Image:
    from PIL import Image

    own = "L" if image.mode in GREY else "RGB"
    special = image.mode in SPECIAL
    if image.mode.startswith("I;16"):
        upper = slice(0, None, 2) if image.mode == "I;16B" else slice(1, None, 2)
        image = Image.frombytes("L", image.size, image.tobytes()[upper])
    if image.has_transparency_data and how.background is not None:
        over = image.convert("RGBA")
        image = Image.new("RGB", image.size, how.background)
        image.paste(over, (0, 0), over)
    may = special or lenient or ("grey" if own == "L" else "rgb") in how.convert
    return image.convert(mode if mode and may else own)


def _resized(image: Image.Image, how: ImagePreparation, most: int) -> Image.Image:
    if how.resize is None:
        return image
    from PIL import Image, ImageOps

    height, width = how.resize
    method = Image.Resampling.BILINEAR  # over all pixels that become one: it does not alias
    if how.fit == "crop":
        return ImageOps.fit(image, (width, height), method)
    if how.fit == "stretch":
        if width * image.height > most:  # of which Pillow makes an image on the way
            raise Unreadable(f"is {image.height}×{image.width}, too long to be stretched to {height}×{width}", CUT)
        return image.resize((width, height), method)
    if not min(round(image.height / image.width * width), round(image.width / image.height * height)):
        raise Unreadable(f"is {image.height}×{image.width}: nothing of it would be left in {height}×{width}", CUT)
    ground = Image.new("RGB", (1, 1), how.background or (0, 0, 0)).convert(image.mode).getpixel((0, 0))
    return ImageOps.pad(image, (width, height), method, ground)  # type: ignore[arg-type]
