"""What was right: the labels of answers that the API gave."""

from __future__ import annotations

from typing import Literal

from registry.dataclass import dataclass

LabelSource = Literal["feedback", "import", "queue"]
"""`POST /feedback`; `trainyard labels import`; the review queue."""


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody says of one answered instance. A later one of the same person overrules it; both stay."""

    request: str
    """The id of the request, as the answer's `X-Request-Id` had it."""
    row: int
    """The instance's place in the request, from 0."""
    value: str
    """A class by its name; a number as JSON writes it. Empty: only `correct` is known."""
    correct: bool | None
    """Whether the answer was right, where somebody said only that."""
    by: str
    """Who says so; the name of the caller's token where nobody is named."""
    at: str
    """When it was known, UTC, as in `utc_now`."""
    source: LabelSource
    sure: float | None = None
    """0 to 1, as the labeller says."""
