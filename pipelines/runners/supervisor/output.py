"""A worker's output: bytes from a pipe become lines of plain text, and a log file of bounded size. For every runner."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from pipelines.runners import Job, OnLine
from registry.errors import FREE_SPACE, Corrupt, TryAgain
from registry.records import utc_now
from registry.text import printable
from training.worker.protocol import EVENT

LINE_BYTES = 8 << 10
LOG_BYTES = 63 << 20  # of one worker.log; what comes later is kept in memory only, and its end is appended
TAIL_BYTES = 1 << 20
MESSAGE_LINES = 400  # a crash in C prints the stacks of all threads after its reason
NO_FILE = {errno.ELOOP: "a symbolic link", errno.ENXIO: "a pipe", errno.EISDIR: "a folder"}
LOG_PREFIX = "[trainyard]"  # of the lines of worker.log that a runner wrote
REDRAW_SECONDS = 1.0  # a progress bar that redraws itself counts as a line at most this often

_END = re.compile(rb"(\r*\n|\r+)")
# What TensorFlow logs at each start whatever its settings are, and nobody can act upon. It stays in the log.
_CHATTER = re.compile(r"^WARNING: All log messages before absl::Init|^I0000 .*oneDNN custom operations are on")


class Line(NamedTuple):
    """One line of plain text, without its end."""

    text: str
    redraw: bool = False
    """It ended with a carriage return: the next line will be drawn over it."""


class LineSplitter:
    """Lines of a stream of bytes, however the stream is cut into pieces; uses a few KiB whatever comes."""

    def __init__(self) -> None:
        self._part = bytearray()
        self._cut = 0
        self._return = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in `data`."""
        if self._return:
            data = b"\r" + data
        kept = data.rstrip(b"\r")
        self._return = len(kept) < len(data)  # what it ends is known when the next byte is
        if b"\r" in kept:
            *pieces, rest = _END.split(kept)
            ended = zip(pieces[::2], pieces[1::2], strict=True)
        else:  # mostly, and fifty times as quick
            *texts, rest = kept.split(b"\n")
            ended = zip(texts, [b"\n"] * len(texts), strict=True)
        lines = []
        for text, end in ended:
            if self._part or len(text) > LINE_BYTES:
                lines.append(self._take(text, end))
            else:
                lines.append(Line(plain(text), not end.endswith(b"\n")))
        self._add(rest)
        return [line for line in lines if line.text or not line.redraw]

    def end(self) -> list[Line]:
        """What the stream left without a line end."""
        line = self._take(b"", b"\n")
        self._return = False
        return [line] if line.text else []

    def _take(self, text: bytes, end: bytes) -> Line:
        self._add(text)
        line = plain(bytes(self._part)) + (f" … ({self._cut} more bytes)" if self._cut else "")
        self._part.clear()
        self._cut = 0
        return Line(line, not end.endswith(b"\n"))

    def _add(self, data: bytes) -> None:
        room = LINE_BYTES - len(self._part)
        self._part += data[:room]
        self._cut += len(data[room:])


def plain(data: bytes) -> str:
    """Printable UTF-8 text with its tabs; bytes that are not UTF-8 become U+FFFD."""
    return printable(data.decode("utf-8", "replace"), keep="\t")


def _events_apart(line: Line) -> Iterator[Line]:
    """A progress bar that does not end its line, and the event behind it, also one that was cut off, are two lines."""
    text, _, event = line.text.partition(EVENT)
    if text and event.startswith('{"event"'):
        yield Line(text, redraw=True)
        yield Line(EVENT + event, line.redraw)
    else:
        yield line


class WorkerLog:
    """`worker.log`: appended to by each try. When it is full, only the last MiB of a try is kept, and the gap is marked."""

    def __init__(self, path: Path, limit: int = LOG_BYTES, tail: int = TAIL_BYTES) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=MESSAGE_LINES)
        """The last lines, for error messages."""
        self._tail: deque[bytes] = deque()
        self._tail_room = tail
        self._left_out = 0
        self._file = self._open()
        self._room = limit - self._file.tell()

    def _open(self) -> FileIO:
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:  # a link that a worker has put there leads to no other file, and a pipe blocks nobody
            file = FileIO(os.open(self.path, how, 0o666), "ab")
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            raise Corrupt(f"{self.path}: {NO_FILE[error.errno]} is where the log belongs", hint="delete it") from None
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        raise Corrupt(f"{self.path}: what is where the log belongs is not a regular file", hint="delete it")

    def write(self, texts: Iterable[str]) -> None:
        """Append lines; raises TryAgain when the disk does not take them."""
        texts = list(texts)
        self.last.extend(texts[-MESSAGE_LINES:])
        lines = [text.encode() + b"\n" for text in texts]
        count = 0
        while count < len(lines) and self._room >= len(lines[count]):
            self._room -= len(lines[count])
            count += 1
        if count < len(lines):
            self._room = 0  # no gaps: after the first line that does not fit, all go to the tail
        self._append(b"".join(lines[:count]))
        for line in lines[count:]:
            self._tail.append(line)
            self._tail_room -= len(line)
            while self._tail_room < 0:
                dropped = len(self._tail.popleft())
                self._tail_room += dropped
                self._left_out += dropped

    def close(self) -> None:
        """Append the tail."""
        try:
            if self._left_out:
                self._append(f"… {self._left_out} bytes left out, the log is full …\n".encode())
            self._append(b"".join(self._tail))
        finally:
            self._tail.clear()
            self._file.close()

    def _append(self, data: bytes) -> None:
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise TryAgain(f"{self.path}: {error.strerror}", hint=FREE_SPACE) from error


class Output:
    """Where a runner puts a worker's bytes: lines go to the log, then to `on_line`."""

    def __init__(self, log: WorkerLog, on_line: OnLine) -> None:
        self.log = log
        self.on_line = on_line
        self.quiet = False
        """The caller has left: nothing is passed on any more, and a full disk no longer matters."""
        self._splitter = LineSplitter()
        self._redrawn = float("-inf")

    def feed(self, data: bytes) -> None:
        """Take a piece of output. Raises what `on_line` raises; the piece is in the log by then."""
        self._put(self._splitter.feed(data))

    def end(self) -> None:
        """The worker will write no more."""
        self._put(self._splitter.end())

    def _put(self, lines: Iterable[Line]) -> None:
        apart = (part for line in lines for part in _events_apart(line))
        texts = [line.text for line in apart if not line.redraw or self._due()]
        if self.quiet:
            with contextlib.suppress(TryAgain):
                self.log.write(texts)
            return
        self.log.write(texts)
        for text in texts:
            if not _CHATTER.match(text):
                self.on_line(text)

    def _due(self) -> bool:
        """Whether a progress bar may be shown again."""
        now = time.monotonic()
        if now - self._redrawn < REDRAW_SECONDS:
            return False
        self._redrawn = now
        return True


@contextlib.contextmanager
def opened(job: Job, folder: Path, on_line: OnLine) -> Iterator[Output]:
    """The worker's log, for a block that starts the worker; closed again when that fails."""
    log = WorkerLog(folder / "worker.log")
    try:
        log.write([f"{LOG_PREFIX} {utc_now()} {job.name}: {' '.join(job.module)}"])
        yield Output(log, on_line)
    except BaseException:
        log.close()
        raise
