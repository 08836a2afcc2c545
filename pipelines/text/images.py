"""How image files are prepared, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from registry.records import ImagePreparation

NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "bmp": "BMP", "tiff": "TIFF"}
FITS = {
    "stretch": "stretched to",
    "pad": "shrunk or enlarged as a whole, with a border, to",
    "crop": "cut in the middle, then shrunk or enlarged to",
}


def in_words(how: ImagePreparation, mode: str) -> str:
    """What is done to each file, in this order, for a model of this `mode` (`L`, `RGB`)."""
    return "; ".join(_parts(how, mode))


def _parts(how: ImagePreparation, mode: str) -> Iterator[str]:
    yield f"files of {', '.join(NAMES[each] for each in how.formats)}"
    if how.frames == "first":
        yield "of several images in a file the first"
    yield "turned as EXIF says" if how.exif == "turn" else "not turned by EXIF"
    if how.background:
        yield f"transparent parts laid on the colour {list(how.background)}"
    if how.convert:
        yield f"{', '.join(how.convert)} converted to 8-bit {'grey' if mode == 'L' else 'RGB'}"
    if how.resize:
        height, width = how.resize
        border = f", the border {list(how.background or (0, 0, 0))}" if how.fit == "pad" else ""
        yield f"{FITS[how.fit]} {height}×{width} pixels (height × width), bilinear with antialiasing{border}"
