"""Drawings as SVG that a strict content security policy lets through: presentation attributes only, no style, no script."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence

from pipelines.text.clean import clean
from pipelines.text.markup import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
INK, SOFT, LINE, GRID = "#1f2933", "#5b6773", "#9aa5b1", "#e4e9ee"
BLUE, ORANGE, GREEN, RED = "#2f6fb0", "#c2621b", "#2e7d4f", "#b3372a"
HUGE = 1e30
"""Beyond that nothing is drawn: half the range of a double would be no range any more."""
WIDE = {"W", "F"}
EM = 0.58
"""The width of a letter by its height, a little more than the fonts above have on average."""


class Drawing:
    """Elements in the order in which they were drawn; lengths are pixels of a screen that shows it in full size."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, width: float = 1, dash: str = ""
    ) -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        (x1, y1), (x2, y2) = start, end
        self.parts.append(
            f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """A line through all points; a dot when there is but one."""
        if len(points) == 1:
            self.dot(points[0], colour, 3)
        elif points:
            path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
            self.parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'
            )

    def dot(self, at: tuple[float, float], colour: str, radius: float, *, hollow: bool = False) -> None:
        """A disk, or a ring."""
        paint = f'fill="#ffffff" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
        self.parts.append(f'<circle cx="{_n(at[0])}" cy="{_n(at[1])}" r="{radius:g}" {paint}/>')

    def box(self, at: tuple[float, float], size: tuple[float, float], colour: str) -> None:
        """A white rectangle in a frame; `at` is its upper left corner."""
        self.parts.append(
            f'<rect x="{_n(at[0])}" y="{_n(at[1])}" width="{_n(size[0])}" height="{_n(size[1])}" rx="6" fill="#ffffff" '
            f'stroke="{colour}" stroke-width="1.5"/>'
        )

    def bar(self, at: tuple[float, float], size: tuple[float, float], colour: str) -> None:
        """A filled rectangle; `at` is its upper left corner."""
        (x, y), (width, height) = at, size
        self.parts.append(f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" fill="{colour}"/>')

    def area(self, points: Sequence[tuple[float, float]], colour: str, opacity: float) -> None:
        """What lies within these points."""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self.parts.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def text(self, at: tuple[float, float], words: str, colour: str = SOFT, size: int = 12, **more: str) -> None:
        """One line of foreign or own words; `anchor` is `start`, `middle` or `end`, `weight` may be `bold`."""
        attributes = f' text-anchor="{more["anchor"]}"' if "anchor" in more else ""
        attributes += f' font-weight="{more["weight"]}"' if "weight" in more else ""
        self.parts.append(
            f'<text x="{_n(at[0])}" y="{_n(at[1])}" font-size="{size}" fill="{colour}"{attributes}>{escape(words, 200)}</text>'
        )

    def to_bytes(self) -> bytes:
        """The file, with a white ground of its own."""
        label = escape(self.title, 200)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{label}" font-family="{FONT}">'
        )
        ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
        return "\n".join((head, f"<title>{label}</title>", ground, *self.parts, "</svg>\n")).encode()


class Scale:
    """Numbers to pixels, in a straight line."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        """Where `value` lies; what is out of range lies on the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def drawable(values: Iterable[float]) -> list[float]:
    """The values that have a place on paper."""
    return [each for each in values if abs(each) <= HUGE]  # NaN is not


def width_of(words: str, size: int) -> float:
    """About how many pixels the words take; rather too many."""
    return sum(1.0 if unicodedata.east_asian_width(each) in WIDE else EM for each in words) * size


def fit(words: str, pixels: float, size: int) -> str:
    """The words, cut to what fits."""
    words = clean(words)
    if width_of(words, size) <= pixels:
        return words
    while words and width_of(f"{words}…", size) > pixels:
        words = words[:-1]
    return f"{words.rstrip()}…"


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 2.5, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [each * step for each in range(first, last + 1)]
    return [low]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
