"""What was found out about the commits of a clone, so that git need not be asked again: a small file for each answer, in the clone.

A commit never changes, and the code that reads it is part of each question. A clone that is replaced forgets.
"""

from __future__ import annotations

import functools
import hashlib
from contextlib import suppress
from pathlib import Path

FOLDER = "trainyard"


class Memory:
    """The answers about one clone that the code of the file `code` has found."""

    def __init__(self, clone: Path, code: str) -> None:
        self.folder, self._code = clone / FOLDER, _digest_of(code)

    def recall(self, *question: str) -> str:
        """The answer; empty when there is none, or its file is damaged."""
        name = self._name(question)
        try:
            checksum, _, answer = (self.folder / name).read_text(encoding="utf-8").partition(" ")
        except (OSError, UnicodeDecodeError):
            return ""
        return answer if checksum == _checksum(name, answer) else ""

    def keep(self, answer: str, *question: str) -> None:
        """Keep the answer, when the disk lets us: without it git is asked again. A half one does not count."""
        name = self._name(question)
        with suppress(OSError):
            self.folder.mkdir(exist_ok=True)
            (self.folder / name).write_text(f"{_checksum(name, answer)} {answer}", encoding="utf-8")

    def _name(self, question: tuple[str, ...]) -> str:
        return hashlib.sha256("\0".join((self._code, *question)).encode()).hexdigest()[:32]


def _checksum(name: str, answer: str) -> str:
    return hashlib.sha256(f"{name} {answer}".encode()).hexdigest()[:16]


@functools.cache
def _digest_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
