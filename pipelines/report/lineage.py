"""The lineage of a version: from what it was made, on the left, and what became of it, on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.approvals.policy import who
from pipelines.lineage import Lineage
from pipelines.report.svg import BLUE, GREEN, INK, LINE, RED, Drawing, fit
from pipelines.text.sizes import bytes_text

WIDTH, EDGE, TOP = 560, 16, 16
WIDE, HEIGHT, GAP = 152, 50, 12
"""Width and height of a frame, and what is between two, in a column."""
COLUMNS = (EDGE, (WIDTH - WIDE) / 2, WIDTH - EDGE - WIDE)
MOST = 5
"""Frames in a column; of more, the last ones."""

Frame = tuple[str, str, str]
"""A title, a line under it, and the colour of the frame."""


def draw_lineage(known: Lineage) -> bytes:
    """The SVG file."""
    sources, version, became = list(_sources(known)), list(_version(known)), list(_became(known))
    columns = [sources, _shortened(version), _shortened(became)]
    tallest = max(map(len, columns))
    height = round(2 * TOP + tallest * HEIGHT + (tallest - 1) * GAP)
    drawing = Drawing(WIDTH, height, f"Lineage of {known.card.model} version {known.card.version}")
    places = [_places(len(frames), height) for frames in columns]
    own = places[1][-1]  # the version is the last of its column: what it began with is above it
    for y in places[0]:
        _connect(drawing, (COLUMNS[0] + WIDE, y), (COLUMNS[1], own))
    for y in places[2]:
        _connect(drawing, (COLUMNS[1] + WIDE, own), (COLUMNS[2], y))
    for above, below in zip(places[1], places[1][1:], strict=False):
        middle = COLUMNS[1] + WIDE / 2
        drawing.line((middle, above + HEIGHT / 2), (middle, below - HEIGHT / 2), LINE, 1.5)
    for left, frames, column in zip(COLUMNS, columns, places, strict=True):
        for frame, y in zip(frames, column, strict=True):
            _draw(drawing, (left, y - HEIGHT / 2), frame)
    return drawing.to_bytes()


def _sources(known: Lineage) -> Iterator[Frame]:
    card, tree = known.card, known.card.dataset
    where = {name: url.rstrip("/").rpartition("/")[2] for name, url in known.repositories.items()}
    files = f"{tree.files:,} files, {bytes_text(tree.bytes)}" if tree else where.get("dataset", "")
    yield f"code {card.sources.code[:7]}", where.get("code", ""), LINE
    yield f"dataset {card.sources.dataset[:7]}", files, LINE
    yield f"tests {card.sources.tests[:7]}", where.get("tests", ""), LINE
    library = "onnxruntime" if card.served.engine == "onnx" else "keras"
    yield "container" if card.image else "process", f"{library} {card.packages.get(library, 'unknown')}", LINE


def _version(known: Lineage) -> Iterator[Frame]:
    for each in reversed(known.ancestors):
        yield f"version {each}", "its weights were the start", LINE
    yield f"version {known.card.version}", f"{known.card.how}, seed {known.card.seed}", BLUE


def _became(known: Lineage) -> Iterator[Frame]:
    for test in known.acceptances[-1:]:
        yield "acceptance test", "accepted" if test.accepted else "rejected", GREEN if test.accepted else RED
    for approval in known.approvals:
        yield f"approval {approval.number}", who(approval), LINE
    for release in known.releases:
        yield f"release {release.number}", f"{release.kind}, {release.at[:10]}", GREEN
    for child in known.children:
        yield f"version {child}", "began with its weights", LINE


def _shortened(frames: list[Frame]) -> list[Frame]:
    more = len(frames) - MOST
    return frames if more <= 0 else [(f"{more + 1} more", "see trainyard lineage", LINE), *frames[-MOST + 1 :]]


def _places(count: int, height: float) -> Sequence[float]:
    """The middles of so many frames, around the middle of the drawing."""
    first = height / 2 - (count - 1) * (HEIGHT + GAP) / 2
    return [first + number * (HEIGHT + GAP) for number in range(count)]


def _connect(drawing: Drawing, start: tuple[float, float], end: tuple[float, float]) -> None:
    drawing.line(start, end, LINE, 1.5)
    drawing.dot(end, LINE, 3)


def _draw(drawing: Drawing, at: tuple[float, float], frame: Frame) -> None:
    title, words, colour = frame
    drawing.box(at, (WIDE, HEIGHT), colour)
    drawing.text((at[0] + 10, at[1] + 21), fit(title, WIDE - 20, 13), INK, 13, weight="bold")
    if words:
        drawing.text((at[0] + 10, at[1] + 39), fit(words, WIDE - 20, 11), size=11)
