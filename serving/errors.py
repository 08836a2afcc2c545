"""The only way to refuse a request: a status, a message that names what is wrong and where, and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

Headers = tuple[tuple[str, str], ...]


class Refused(Exception):
    """A request that gets no prediction; the client receives `{"error": …, "hint": …, "request_id": …}`."""

    def __init__(self, status: int, message: str, *, hint: str = "", reason: str = "", headers: Headers = ()) -> None:
        """`reason` is for the log: paths, process numbers and the like are not the client's business."""
        super().__init__(message)
        self.status = status
        self.hint = hint
        self.reason = reason
        self.headers = headers


def bad_request(message: str, *, hint: str = "") -> Refused:
    """400: the body is not what the model takes."""
    return Refused(400, message, hint=hint)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'age'?`, or the known names."""
    known = list(known)
    close = difflib.get_close_matches(name[:80], known, 1)  # a name of megabytes would take seconds
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def show(value: Any) -> str:
    """A value as the client sent it, short: `"abc"`, `null`, `a list`, `an object`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return repr(value if len(repr(value)) <= 60 else f"{str(value)[:57]}…")
