"""What a client reports, from the JSON that it sends. Pure: no files, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.dataclass import dataclass
from serving.errors import bad_request, did_you_mean, show
from serving.request_ids import VALID

MOST_ITEMS = 500
"""Of one request: each is looked for in the whole prediction log."""
MOST_TEXT = 200
AHEAD = timedelta(minutes=1)
"""So far clocks of clients may be ahead."""
FIRST_YEAR = 1971
"""Of `at`: nothing older can be about an answer of the API."""
FIELDS = ("request_id", "row", "label", "correct", "at", "by", "sure")
SEND = 'send {"request_id": "…", "row": 0, "label": "…"}, with "correct": true or false instead of a label, or {"feedback": [...]}'


class Invalid(Exception):
    """Something is wrong with one report: 400 when it could be so of no answer, else 422."""

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.hint = status, hint


@dataclass(frozen=True, slots=True)
class Item:
    """One report."""

    request: str
    row: int | None
    """None: the request had one instance."""
    label: str | int | float | None
    """None: only `correct` is known."""
    correct: bool | None
    by: str
    at: str
    """UTC, as in `utc_now`; empty: from now on."""
    sure: float | None


def entries(body: Any) -> tuple[list[Any], bool]:
    """The reports in a body, as they came, and whether it is one alone; raises Refused."""
    if isinstance(body, dict) and "feedback" not in body:
        return [body], True
    found = body
    if isinstance(body, dict):
        if more := [each for each in body if each != "feedback"]:
            raise bad_request(f"{more[0][:80]!r}: not known beside feedback", hint=SEND)
        found = body["feedback"]
    if not isinstance(found, list):
        raise bad_request(f"feedback: {show(found)} is not a list", hint=SEND)
    if not found:
        raise bad_request("feedback: the list is empty", hint=SEND)
    return found, False


def read_item(found: Any, caller: str, now: datetime) -> Item:
    """A report; `caller` is whose it is when it names nobody. Raises Invalid."""
    if not isinstance(found, dict):
        raise Invalid(400, f"{show(found)} is not an object", hint=SEND)
    for name in found:
        if name not in FIELDS:
            raise Invalid(400, f"{name[:80]!r}: not known", hint=did_you_mean(name, FIELDS))
    request, row, correct = found.get("request_id"), found.get("row"), found.get("correct")
    if not isinstance(request, str) or not VALID.fullmatch(request):
        hint = "the X-Request-Id, or request_id, of the answer"
        raise Invalid(400, f"request_id: {show(request)} is not the id of a request", hint=hint)
    if row is not None and (not _is_whole(row) or row < 0):
        raise Invalid(400, f"row: {show(row)} is not a place", hint="which instance of the request, from 0")
    if (found.get("label") is None) == (correct is None):
        raise Invalid(400, "label or correct: one of the two is needed, and not both", hint=SEND)
    if correct is not None and not isinstance(correct, bool):
        raise Invalid(400, f"correct: {show(correct)} is not true or false")
    by = _by(found.get("by"), caller)
    return Item(
        request, row, _label(found.get("label")), correct, by, _at(found.get("at"), now), _sure(found.get("sure"))
    )


def _label(found: Any) -> str | int | float | None:
    if found is None:
        return None
    if isinstance(found, str):
        if found and len(found) <= MOST_TEXT and found.isprintable():
            return found
        raise Invalid(400, f"label: {show(found)}", hint=f"1 to {MOST_TEXT} characters that can be printed")
    if isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found):
        return found
    raise Invalid(400, f"label: {show(found)} is neither a text nor a number")


def _by(found: Any, caller: str) -> str:
    if found is None:
        return caller or ANONYMOUS
    if isinstance(found, str) and found.strip() and len(found) <= MOST_TEXT and found.isprintable():
        return found
    raise Invalid(400, f"by: {show(found)} is not a name", hint=f"a text of at most {MOST_TEXT} characters")


def _at(found: Any, now: datetime) -> str:
    if found is None:
        return ""
    try:
        at = datetime.fromisoformat(found)
    except (ValueError, TypeError):
        at = None
    if at is None or at.tzinfo is None:
        raise Invalid(400, f"at: {show(found)} is not a time with its zone", hint="e.g. 2026-11-30T12:00:00Z")
    if at.year < FIRST_YEAR:
        raise Invalid(
            400, f"at: {found} is before {FIRST_YEAR}", hint="since when the label is known, e.g. 2026-11-30T12:00:00Z"
        )
    if at > now + AHEAD:
        raise Invalid(422, f"at: {found} is in the future", hint=f"here it is {now:%Y-%m-%dT%H:%M:%SZ}")
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _sure(found: Any) -> float | None:
    if found is None:
        return None
    if isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found <= 1:
        return float(found)
    raise Invalid(400, f"sure: {show(found)} is not a number between 0 and 1")


def _is_whole(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def texts(classes: Sequence[str], most: int = 5) -> str:
    """Some names for a hint."""
    return ", ".join(classes[:most]) + (", …" if len(classes) > most else "")


ANONYMOUS = "anonymous"
"""Whose label it is when nobody is named, and no token was needed."""
