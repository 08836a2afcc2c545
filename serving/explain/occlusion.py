"""Occlusion: how much the answer falls when a part of the input is covered (Zeiler and Fergus 2014).

For images, series and texts, where there is no row of averages to compare with. The parts do not add up to the answer, and
nothing is drawn at random, so that there is no sampling error.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from registry.records import TensorSpec
from serving.engines.base import Array, Arrays
from serving.explain.asker import Asker

GRID = 16
"""Patches of an image per side, at most."""
POSITIONS = 64
"""Parts of a series or another array, at most."""
TOKENS = 256
"""Parts of a text, at most."""
TOKEN = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff]|[^\s\u2e80-\u9fff\uf900-\ufaff]+")
"""What blanks surround; of Chinese and Japanese, which have none, each character."""


class Cut(NamedTuple):
    """A part of one sample, covered: `fill` is what the input then has at `where`, an index into the sample."""

    input: str
    where: tuple[Any, ...]
    fill: Any


@dataclass(frozen=True, slots=True)
class Level:
    """One fineness of the parts: how many there are, and how to make them."""

    parts: int
    cuts: Callable[[], Sequence[Cut]]


@dataclass(frozen=True, slots=True)
class Drops:
    """How much each part of a level counts."""

    level: int
    """Which one, counted from the coarsest."""
    values: Array
    """The answer minus that without the part, float64, shape (parts,): positive speaks for the answer."""
    output: float


def drops(asker: Asker, row: Arrays, levels: Sequence[Level]) -> Drops:
    """Of the finest level that there is time for; `levels` come coarsest first, and that one is always measured.

    Raises CannotExplain when even this takes far longer than the budget.
    """
    output = float(asker.ask(lambda _start, _stop: row, 1, least=1)[0])
    asker.require(levels[0].parts)
    found = Drops(0, output - _covered(asker, row, levels[0], least=levels[0].parts), output)
    for place in range(len(levels) - 1, 0, -1):
        if asker.affords(levels[place].parts):
            answers = _covered(asker, row, levels[place])
            if len(answers) == levels[place].parts:
                return Drops(place, output - answers, output)
            break
    return found


def _covered(asker: Asker, row: Arrays, level: Level, least: int = 0) -> Array:
    cuts = level.cuts()

    def build(start: int, stop: int) -> Arrays:
        arrays = {name: np.repeat(array, stop - start, axis=0) for name, array in row.items()}
        for place, cut in enumerate(cuts[start:stop]):
            arrays[cut.input][(place, *cut.where)] = cut.fill
        return arrays

    return asker.ask(build, level.parts, least)


def image_levels(name: str, image: Array) -> list[Level]:
    """Grids of 2x2 to 16x16 patches of one image, shape (height, width, channels).

    A patch is covered with half a patch around it, in the image's mean colour: a change of colour alone is not a change of shape.
    """
    height, width = image.shape[:2]
    colour = _like(image.mean(axis=(0, 1)), image.dtype)
    sides = sorted({min(each, height, width) for each in (2, 4, 6, 8, 11, GRID)})
    return [Level(side * side, lambda side=side: list(_patches(name, height, width, side, colour))) for side in sides]  # type: ignore[misc]


def _patches(name: str, height: int, width: int, side: int, colour: Array) -> Iterator[Cut]:
    rows, columns = ((np.arange(side + 1) * each / side).round().astype(int) for each in (height, width))
    around = [size // side // 2 if side > 2 else 0 for size in (height, width)]
    for i in range(side):
        for j in range(side):
            y = slice(max(0, rows[i] - around[0]), rows[i + 1] + around[0])
            x = slice(max(0, columns[j] - around[1]), columns[j + 1] + around[1])
            yield Cut(name, (y, x), colour)


def array_levels(specs: Sequence[TensorSpec], row: Arrays) -> list[Level]:
    """The inputs as a whole, then up to 64 parts along the first axis of each: series, vectors, several inputs at once."""
    lengths = {each.name: row[each.name].shape[1] if row[each.name].ndim > 1 else 1 for each in specs}
    most = max(1, POSITIONS // len(specs))
    sizes = sorted({max(1, most >> shift) for shift in range(POSITIONS.bit_length())} | {1})
    found: list[Level] = []
    for size in sizes:
        parts = sum(min(size, each) for each in lengths.values())
        if not found or parts > found[-1].parts:
            found.append(Level(parts, lambda size=size: _pieces(specs, row, size)))  # type: ignore[misc]
    return found[1:] if len(specs) == 1 and len(found) > 1 else found  # covering all of the only input explains nothing


def _pieces(specs: Sequence[TensorSpec], row: Arrays, most: int) -> list[Cut]:
    found = []
    for spec in specs:
        sample = row[spec.name][0]
        fill = _neutral(spec, sample)
        if not sample.ndim or most == 1:
            found.append(Cut(spec.name, (...,), fill))
            continue
        for start, stop in pieces(len(sample), most):
            found.append(Cut(spec.name, (slice(start, stop),), fill))
    return found


def pieces(length: int, most: int) -> list[tuple[int, int]]:
    """Start and end of up to `most` parts of nearly the same length."""
    edges = [round(each) for each in np.linspace(0, length, min(most, length) + 1)]
    return list(itertools.pairwise(edges))


def _neutral(spec: TensorSpec, sample: Array) -> Any:
    """What covers a part: the sample's own mean along its first axis; 0 where numbers are names, as of words; no text."""
    if spec.dtype == "string":
        return ""
    if np.dtype(spec.dtype).kind == "f" and sample.size > 1:
        return _like(sample.mean(axis=0, dtype=np.float64), sample.dtype)
    low = 0.0 if spec.low is None else max(spec.low, 0.0)
    return np.asarray(low if spec.high is None else min(low, spec.high)).astype(spec.dtype)


def _like(values: Array, dtype: np.dtype[Any]) -> Array:
    return (np.round(values) if dtype.kind in "iu" else values).astype(dtype)


def text_levels(name: str, text: str, where: tuple[int, ...]) -> list[Level]:
    """Up to 4, 8 … 256 groups of neighbouring words of one text, at `where` in the sample."""
    words = [each.span() for each in TOKEN.finditer(text)]
    sizes = sorted({min(len(words), TOKENS >> shift) for shift in range(7)})
    return [Level(size, lambda size=size: _without(name, text, where, size)) for size in sizes if size]  # type: ignore[misc]


def spans(text: str, most: int) -> list[tuple[int, int]]:
    """Start and end in `text` of up to `most` groups of neighbouring words."""
    words = [each.span() for each in TOKEN.finditer(text)]
    return [(words[start][0], words[stop - 1][1]) for start, stop in pieces(len(words), most)] if words else []


def _without(name: str, text: str, where: tuple[int, ...], most: int) -> list[Cut]:
    return [Cut(name, where, f"{text[:start]}{text[stop:]}".strip()) for start, stop in spans(text, most)]
