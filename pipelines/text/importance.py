"""What a model looks at, as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipelines.text.clean import clean
from pipelines.text.markup import Block, Paragraph, Table
from pipelines.text.metrics import MAX_NAME, number
from registry.records import Importance, InputImportance
from registry.text import shortened

LOST = {
    "accuracy": "accuracy lost",
    "mae": "mean absolute error added",
    "hamming_loss": "wrong labels added",
    "mean_score": "score added",
}
CAUTION = (
    "Inputs that say the same share their importance, so one that seems to matter little may still be used. It is what the "
    "model relies on, not what causes the target."
)
TOP = 3
"""So many are enough for a mail."""


def blocks(found: Importance, most: int) -> Iterator[Block]:
    """A sentence, and the `most` most important inputs with their intervals."""
    times = {1: "once", 2: "twice"}.get(found.repeats, f"{found.repeats} times")
    how = f"Each was shuffled {times} among {found.samples:,} samples of the holdout; what the answers lose by that:"
    yield Paragraph(f"{in_words(found)} {how}")
    rows = tuple((_name(each), number(each.loss), interval(each)) for each in found.inputs[:most])
    yield Table(("shuffled", LOST[found.metric], "95 % interval"), rows, numbers=True)
    if more := remainder(found, most):
        yield Paragraph(more)


def in_words(found: Importance) -> str:
    """`The model relies most on a, b and c.`; only of those that matter more than chance explains."""
    names = [f"`{_name(each)}`" for each in found.inputs[:TOP] if each.low > 0]
    if not names:
        return "The model relies on no single input more than chance explains."
    return f"The model relies most on {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}."


def remainder(found: Importance, most: int) -> str:
    """What is not in a list of the first `most`; empty when nothing is missing."""
    hidden, unknown = len(found.inputs[most:]), found.total - len(found.inputs)
    said = [f"{hidden} more are less important"] if hidden else []
    said += [f"{unknown} more were not measured, or are less important than all these"] if unknown else []
    return f"... and {', '.join(said)}." if said else ""


def interval(each: InputImportance) -> str:
    """`0.27 to 0.35`."""
    return f"{number(each.low)} to {number(each.high)}" if math.isfinite(each.low) else "n/a"


def _name(each: InputImportance) -> str:
    return shortened(clean(each.name), MAX_NAME).replace("`", "'")
