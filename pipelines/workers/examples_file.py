"""Some answers of a candidate beside those of the live release, as the evaluation leaves them in `examples.json` for people.

Light: the controller reads it. The evaluation may have run code of the team's, so what is in there is foreign.
"""

from __future__ import annotations

from registry import codec
from registry.dataclass import dataclass
from registry.errors import Corrupt

FILE = "examples.json"
MOST = 10
"""Answers of each kind."""
CELLS = 8
"""Columns of a row that are kept."""
LONGEST = 60
"""Characters of a text."""
SIDE = 96
"""Pixels: larger images are kept smaller."""
MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model says of a sample."""

    said: str
    """The class, the labels, or the number."""
    right: bool | None
    """None: of numbers, which are more or less near."""
    sure: float | None = None
    """The largest probability."""
    off: float | None = None
    """Of numbers: the absolute error."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sample of the holdout, its truth, and what was answered."""

    sample: str
    """Its name in the dataset; empty when there is none."""
    truth: str
    candidate: Answer
    live: Answer | None = None
    cells: tuple[tuple[str, str], ...] = ()
    """Column and value, of a row."""
    image: str = ""
    """A PNG in base64, of an image."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What people look at."""

    samples: int
    live_version: int | None
    """None: there are no answers of a live release."""
    worst: tuple[Example, ...]
    """The candidate's, the worst first; of classes and labels only wrong ones."""
    changed: tuple[Example, ...]
    """Where candidate and live release differ most, first."""
    differ: int = 0
    """How many answers differ."""
    fixed: int = 0
    """Wrong by the live release, right by the candidate; of numbers: nearer."""
    broken: int = 0
    """The other way round."""


def read_examples(data: bytes) -> Examples:
    """The examples in a file's bytes; raises Corrupt for what the evaluation does not write."""
    if len(data) > MOST_BYTES:
        raise Corrupt(f"{FILE}: {len(data):,} bytes; {MOST_BYTES:,} are allowed")
    found = codec.from_json(Examples, data, FILE)
    if max(len(found.worst), len(found.changed)) > MOST or any(
        len(each.cells) > CELLS for each in (*found.worst, *found.changed)
    ):
        raise Corrupt(f"{FILE}: more than is kept there")
    return found
