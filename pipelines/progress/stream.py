"""The stream that a view writes to."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TextIO


class PatientStream:
    """A text stream that never fails: once its reader has gone, it drops what is written."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write what the encoding can show; the rest becomes `?`."""
        with self._patience():
            if self.stream:
                self.stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self._patience():
            if self.stream:
                self.stream.flush()

    def isatty(self) -> bool:
        """Whether a person can see a cursor move."""
        with self._patience():
            return bool(self.stream and self.stream.isatty())
        return False

    def fileno(self) -> int:
        """The descriptor; raises OSError when there is none."""
        if not self.stream:
            raise OSError(errno.EBADF, "no stream")
        return self.stream.fileno()

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # closed
            self.stream = None
        except OSError as error:
            if error.errno in {errno.EPIPE, errno.EIO, errno.EBADF}:
                self._gone()

    def _gone(self) -> None:
        """The reader has gone. The descriptor now leads to /dev/null: what Python still buffers is flushed at exit, and
        would fail again."""
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno() if stream else nowhere)
            os.close(nowhere)
