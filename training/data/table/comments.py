"""Lines of a text file that are comments: passed over wherever they are, except inside a quoted field."""

from __future__ import annotations

import re

PATIENCE = 1 << 21
"""Bytes without a line break after which a line is passed on as it is."""


class Comments:
    """Empties the comments of a text in UTF-8, which comes in pieces. Line breaks stay: all lines keep their numbers."""

    def __init__(self, mark: str, quote: str) -> None:
        """`mark`: what a comment begins with, behind blanks or none; empty: there are none. `quote`: see Dialect."""
        self._comment = re.compile(rb"(?:(?<=[\r\n])|\A)[ \t]*%b[^\r\n]*" % re.escape(mark.encode())) if mark else None
        self._quote, self._inside, self._waiting = quote.encode(), 0, b""
        self.count = 0
        """How many there were so far."""

    def emptied(self, text: bytes) -> bytes:
        """A text that begins with a line, and ends with one."""
        if not self._comment:
            return text
        parts, kept, counted = [], 0, 0
        for found in self._comment.finditer(text):
            if self._quote:
                self._inside ^= text.count(self._quote, counted, found.start()) & 1
                counted = found.start()
            if not self._inside:
                parts.append(text[kept : found.start()])
                kept = counted = found.end()
        if self._quote:
            self._inside ^= text.count(self._quote, counted) & 1
        self.count += len(parts)
        return b"".join((*parts, text[kept:])) if parts else text

    def next(self, piece: bytes) -> bytes:
        """The next piece, as far as it can be said; an empty one ends the text."""
        if not self._comment:
            return piece
        text = self._waiting + piece
        end = max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1)) + 1  # a \r at the end may be half of a line break
        if not piece or (not end and len(text) > PATIENCE):
            end = len(text)
        self._waiting = text[end:]
        return self.emptied(text[:end])
