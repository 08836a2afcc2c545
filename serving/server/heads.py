"""How much of a request has come: rules about bytes, without I/O.

A thread gets a request only when all of it is there. Whether it is, is decided here, by as little of HTTP as that needs;
what the request says is decided by gunicorn's parser alone. Where the two do not agree about the end of a request, the
connection ends (serving.server.connection).
"""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_HEAD = 64 << 10
MAX_LINE = 8190
"""Of the request line and of a chunk's first line. gunicorn refuses longer ones, and need not wait for their ends."""
FIELDS = re.compile(
    rb"\r\n(content-length|content-type|content-encoding|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
FREE_CHUNKS, CHUNK = 16384, 256
"""Chunks that a body may have whatever their size, and the bytes for each of which it may have one more. A client that sends
less in each, on purpose mostly, would cost a hundred times the work per byte, here and in the parser."""
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)


class Progress(Enum):
    """What there is of a request."""

    HEAD = auto()
    """Its header section is not complete."""
    BODY = auto()
    """Its body is not."""
    WHOLE = auto()
    HEAD_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()
    """It will be refused by its size; the rest need not be awaited."""
    TOO_MANY_CHUNKS = auto()
    BROKEN = auto()
    """It will be refused by the parser."""


class RequestScan:
    """Looks at a buffer that begins with a request, and that only grows."""

    def __init__(self, max_body: int) -> None:
        """`max_body`: bytes of the largest body that is not refused."""
        self.end = 0
        """Of a WHOLE request in the buffer."""
        self.expects_continue = False
        """The client sends the body only after `100 Continue`."""
        self.media_type = b""
        """Of a body that is sent as it is, in one piece, in small letters and without parameters; empty: it is not, or has none."""
        self._max_body = max_body
        self._searched = 0
        self._body = 0
        self._length = 0
        self._chunks: ChunkScan | None = None
        self._broken = False

    @property
    def in_one_piece(self) -> tuple[int, int] | None:
        """Where the body of a WHOLE request begins and ends, when it is sent as it is; None: it comes in chunks, or is not there."""
        return (self._body, self.end) if self.end and not self._chunks and not self._broken else None

    def look(self, data: bytearray) -> Progress:
        """What there is by now."""
        if not self._body and (missing := self._find_body(data)):
            return missing
        if self._broken:
            return Progress.BROKEN
        if self._chunks:
            found = self._chunks.look(data)
            self.end = self._chunks.end
            return found
        self.end = self._body + self._length
        if self._length > self._max_body:
            return Progress.BODY_TOO_LARGE
        return Progress.WHOLE if len(data) >= self.end else Progress.BODY

    def _find_body(self, data: bytearray) -> Progress | None:
        """None when the head is complete."""
        start = 2 if data.startswith(b"\r\n") else 0  # one empty line before a request is allowed
        end = data.find(b"\r\n\r\n", max(start, self._searched - 3))
        if end < 0:
            self._searched = len(data)
            if data.count(b"\n") != data.count(b"\r\n"):
                return Progress.BROKEN
            if len(data) > MAX_LINE and data.find(b"\r\n", start) < 0:
                return Progress.BROKEN
            return Progress.HEAD_TOO_LARGE if len(data) > MAX_HEAD else Progress.HEAD
        if end > MAX_HEAD:
            return Progress.HEAD_TOO_LARGE
        self._body = end + 4
        fields = [(name.lower(), value.strip(b" \t")) for name, value in FIELDS.findall(data, start, end)]
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        expected = (b"expect", b"100-continue") in [(name, value.lower()) for name, value in fields]
        self.expects_continue = expected and not data[: data.find(b"\r\n", start)].endswith(b" HTTP/1.0")
        if codings:
            self._broken = bool(lengths) or codings != [b"chunked"]
            self._chunks = ChunkScan(self._body, self._max_body)
        elif lengths:
            if all(name != b"content-encoding" for name, _ in fields):
                kind = next((value for name, value in fields if name == b"content-type"), b"")
                self.media_type = kind.partition(b";")[0].strip().lower()
            self._broken = len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18
            self._length = 0 if self._broken else int(lengths[0])
        return None


class ChunkScan:
    """Looks for the end of a body in chunks."""

    def __init__(self, start: int, max_body: int) -> None:
        self.end = 0
        self._start, self._max_body = start, max_body
        self._line = start
        """Where the first line of the next chunk begins."""
        self._received = 0
        """Bytes of the body in the chunks before that."""
        self._chunk = 0
        """Bytes in the chunk that has begun; 0: none has."""
        self._count = 0

    def look(self, data: bytearray) -> Progress:
        """What there is of the body by now."""
        while True:
            if self._chunk:
                if len(data) < self._line:
                    break
                if data[self._line - 2 : self._line] != b"\r\n":
                    return Progress.BROKEN
                self._received += self._chunk
                self._chunk = 0
                self._count += 1
                if self._count > FREE_CHUNKS + self._received // CHUNK:
                    return Progress.TOO_MANY_CHUNKS
            end = data.find(b"\r\n", self._line, self._line + MAX_LINE)
            if end < 0:
                if len(data) - self._line > MAX_LINE:
                    return Progress.BROKEN
                break
            size = CHUNK_SIZE.fullmatch(data, self._line, end)
            if not size:
                return Progress.BROKEN
            self._chunk = int(size[1], 16)
            if not self._chunk:
                return self._trailers(data, end)
            self._line = end + 2 + self._chunk + 2
        received = self._received + max(0, min(self._chunk, len(data) - (self._line - 2 - self._chunk)))
        too_large = received > self._max_body or len(data) - self._start > 2 * self._max_body + MAX_HEAD
        return Progress.BODY_TOO_LARGE if too_large else Progress.BODY

    def _trailers(self, data: bytearray, end: int) -> Progress:
        """After the last chunk, whose line ends at `end`."""
        if self._received > self._max_body:
            return Progress.BODY_TOO_LARGE
        last = data.find(b"\r\n\r\n", end, end + MAX_HEAD)
        if last < 0:
            return Progress.BROKEN if len(data) - end > MAX_HEAD else Progress.BODY
        self.end = last + 4
        return Progress.WHOLE
