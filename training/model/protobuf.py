"""Walks over protocol buffers by their field numbers: pure Python over the mapped file, which nothing in it can lead astray."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAX_READ = 64 << 20
"""Bytes of a file that is read into memory, which is quicker to walk over than a mapped file."""
FIXED = {1: 8, 5: 4}
"""Bytes of numbers of fixed size, by the kind of their field."""


class Damaged(ValueError):
    """It is not a protocol buffer."""


@contextmanager
def open_message(path: Path) -> Iterator[Message]:
    """The file at `path` as one message. Raises OSError, and ValueError for an empty file, which cannot be mapped."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        content = data[:] if len(data) <= MAX_READ else data
        yield Message(content, 0, len(content))


@dataclass(frozen=True, slots=True)
class Message:
    """A protocol buffer in the file, from `start` to `end`."""

    data: bytes | mmap.mmap
    start: int
    end: int

    def messages(self) -> Iterator[tuple[int, Message]]:
        """Field numbers and contents of all that has a length: texts, messages. Numbers are passed over."""
        for field, value in self.fields():
            if isinstance(value, Message):
                yield field, value

    def fields(self, skip: re.Pattern[bytes] | None = None) -> Iterator[tuple[int, Message | int]]:
        """Field numbers with what has a length, and with whole numbers; numbers of fixed size are passed over, and so are
        fields that `skip` matches, tag and all. Raises Damaged."""
        at = self.start
        while at < self.end:
            if skip and (found := skip.match(self.data, at, self.end)) and found.end() > at:
                at = found.end()
                continue
            tag, at = self._number(at)
            field, kind = tag >> 3, tag & 7
            if kind == 0:
                number, at = self._number(at)
                yield field, number
            elif kind in FIXED:
                at += FIXED[kind]
            elif kind == 2:
                length, at = self._number(at)
                if at + length > self.end:
                    raise Damaged(f"{length} bytes at {at} lie outside of their message")
                yield field, Message(self.data, at, at + length)
                at += length
            else:
                raise Damaged(f"an unknown kind of field at {at}")
        if at != self.end:
            raise Damaged(f"a message ends at {self.end}, its fields at {at}")

    def text(self, field: int) -> str:
        """The last text of this field; "" when there is none."""
        found = [each.content() for number, each in self.messages() if number == field]
        return found[-1] if found else ""

    def numbers(self) -> Iterator[int]:
        """What is between start and end, as packed whole numbers."""
        at = self.start
        while at < self.end:
            number, at = self._number(at)
            yield number

    def content(self) -> str:
        """What is between start and end, as text."""
        return self.data[self.start : self.end].decode()

    def _number(self, at: int) -> tuple[int, int]:
        if at < self.end and (byte := self.data[at]) < 128:  # most of them
            return byte, at + 1
        number = shift = 0
        while at < self.end and shift < 64:
            byte = self.data[at]
            number |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return number, at
        raise Damaged(f"a number at {at} does not end")
