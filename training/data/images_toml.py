"""The section `[images]` of `dataset.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from registry.records import Convertible, ImageFormat, ImagePreparation
from training.data.toml_values import Check, Wrong, one_of, path, regex, some_of

LONGEST = 4096
"""Pixels of a side of an image that others are resized to."""
COLOURS = {"black": (0, 0, 0), "white": (255, 255, 255), "grey": (128, 128, 128)}


@dataclass(frozen=True, slots=True)
class Images:
    """Images in one folder per class."""

    folder: str = "."
    size: tuple[int, int] | None = None
    """(height, width) in pixels; null: that of the images, which must agree."""
    mode: Literal["", "L", "RGB"] = ""
    """Empty: that of the images, which must agree."""
    group: str = ""
    """A regular expression with one group, applied to the file name: what it finds stays in one split."""
    how: ImagePreparation = field(default_factory=ImagePreparation)
    """The other settings of the section."""

    @property
    def preparation(self) -> ImagePreparation | None:
        """What is done to the files; None: they are taken as they are."""
        return None if self.how == ImagePreparation() else self.how


def image_settings(found: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """Those of `Images`, with those that are about the preparation together."""
    if "resize" in found and "size" in found:
        errors.append("[images] size: is that of images that are not resized; leave it out")
    if "fit" in found and "resize" not in found:
        errors.append("[images] fit: says how to resize, and there is no resize = [height, width]")
    if found.get("convert") and "mode" not in found:
        errors.append('[images] convert: into what? Write mode = "L" (grey) or mode = "RGB"')
    how = {each.name: found[each.name] for each in fields(ImagePreparation) if each.name in found}
    return {name: value for name, value in found.items() if name not in how} | {"how": ImagePreparation(**how)}


def _size(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(each) is int and each > 0 for each in value)):
        raise Wrong("[height, width] in pixels")
    return value[0], value[1]


def _resize(value: Any) -> tuple[int, int]:
    size = _size(value)
    if max(size) > LONGEST:
        raise Wrong(f"[height, width] of at most {LONGEST} pixels each")
    return size


def _formats(value: Any) -> tuple[str, ...]:
    formats = some_of(*get_args(ImageFormat))(value)
    if "png" not in formats:
        raise Wrong('a list with "png", which is what labelled answers and examples are kept as')
    return formats


def _colour(value: Any) -> tuple[int, int, int]:
    if isinstance(value, str) and value in COLOURS:
        return COLOURS[value]
    if isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each <= 255 for each in value):
        return value[0], value[1], value[2]
    raise Wrong(f"[red, green, blue] with 0 to 255 each, or one of {', '.join(map(repr, COLOURS))}")


IMAGES: dict[str, Check] = {
    "folder": path,
    "size": _size,
    "mode": one_of("L", "RGB"),
    "group": regex,
    "formats": _formats,
    "convert": some_of(*get_args(Convertible)),
    "background": _colour,
    "exif": one_of("ignore", "turn"),
    "frames": one_of("refuse", "first"),
    "resize": _resize,
    "fit": one_of("stretch", "pad", "crop"),
}
