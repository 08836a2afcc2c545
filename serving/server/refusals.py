"""Answers to requests that never get to the app: not HTTP, too large a head, too slow, too many connections.

They look like the app's own errors (serving.responses): JSON with a request id. The connection is closed after each.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import orjson


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no further."""

    status: int
    reason: str
    """Under which it is counted; the pairs of status and reason are REFUSALS in serving.metrics.layout."""
    message: str
    hint: str = ""

    def answer(self, request_id: str) -> bytes:
        """The whole response."""
        body = {"error": self.message} | ({"hint": self.hint} if self.hint else {}) | {"request_id": request_id}
        content = orjson.dumps(body)
        headers = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
            f"X-Request-Id: {request_id}",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        if self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            headers.append("Retry-After: 1")
        return "\r\n".join([*headers, "", ""]).encode() + content


HEAD_TOO_LARGE = Refusal(
    431, "head_too_large", "the header section is too large", "send fewer or shorter header fields"
)
HEAD_TOO_SLOW = Refusal(408, "slow_head", "the header section did not come in time")
BODY_TOO_SLOW = Refusal(408, "slow_body", "the body did not come in time", "send it faster, or in several requests")
TOO_MANY = Refusal(503, "connections", "too many connections; this one had been incomplete for longest", "retry soon")
TOO_MANY_OF_ADDRESS = Refusal(
    429, "connections_of_address", "too many connections from this address", "use fewer, or keep them open"
)
TOO_MUCH = Refusal(503, "memory", "too many large requests are being received", "retry soon")
TOO_MANY_CHUNKS = Refusal(413, "chunks", "the body has too many chunks", "send larger ones, or Content-Length")
