"""W3C Trace Context: whose request led to this one, and the ids under which its answer, its log line and its spans are found."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


class Trace(NamedTuple):
    """The place of one request in a trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 of them: the one of this request."""
    sampled: bool
    """Whoever has begun the trace keeps it."""

    @property
    def header(self) -> str:
        """`traceparent` of the answer."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def trace_of(traceparent: str) -> Trace:
    """The client's trace; a new one where it has sent none, or one that is not valid, e.g. of zeros only."""
    span_id = f"{random.getrandbits(64) or 1:016x}"  # Python seeds it again after a fork
    found = TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found:
        version, trace_id, parent_id, flags, more = found.groups()
        if version != "ff" and not (version == "00" and more) and trace_id.strip("0") and parent_id.strip("0"):
            return Trace(trace_id, span_id, bool(int(flags, 16) & SAMPLED))
    return Trace(f"{random.getrandbits(128) or 1:032x}", span_id, sampled=False)
