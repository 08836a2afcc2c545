"""How the gate's criteria are written down."""

from __future__ import annotations

from registry.records import Outcome, TestCase

ROUNDING = 1e-9
"""0.95 - 0.94 is a little more than 0.01 to a computer; no model should be rejected for that."""


def case(name: str, message: str = "") -> TestCase:
    """One criterion; with a message it has failed."""
    outcome: Outcome = "failed" if message else "passed"
    return TestCase(name, outcome, message=message)


def pair(one: float, other: float) -> tuple[str, str]:
    """Both numbers with as few digits as distinguish them: never `0.9000 is under 0.9000`."""
    for digits in (4, 6, 9):
        shown = f"{one:.{digits}f}", f"{other:.{digits}f}"
        if shown[0] != shown[1]:
            return shown
    return repr(one), repr(other)
