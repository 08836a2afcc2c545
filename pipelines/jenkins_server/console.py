"""The console of a running build for a terminal: complete lines, cleaned, and limited."""

from __future__ import annotations

import re
from collections.abc import Callable

from registry.text import printable

MAX_LINE = 2000  # characters
MAX_SHOWN = 8 << 20  # characters of one console
# Jenkins may write the time before each line.
NOTE = re.compile(r"\x1b\[8mha:(?:////|AAAA)[A-Za-z0-9+/]*=*(?:\x1b\[0m)?")
"""A console note: an object of Jenkins in base64, which its web UI draws as a link or a colour. `progressiveText` of
Jenkins 2.541 has them unchanged. The first four characters are the sign and size of its signature, or of the object."""
OPEN_NOTE = re.compile(r"\x1b(?:\[(?:8(?:m(?:h(?:a(?::[A-Za-z0-9+/]*=*(?:\x1b\[?0?)?)?)?)?)?)?)?\Z")
"""A note whose end has not been read yet."""
EXIT_LINE = re.compile(r"(?:\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] )?trainyard: exit (\d{1,3})", re.ASCII)


def plain(text: str) -> str:
    """Printable text with its tabs and line feeds. A carriage return is a line feed: a progress bar is not redrawn."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\t\n")


def without_notes(text: str) -> str:
    """Text of a console without the notes of Jenkins."""
    return NOTE.sub("", text) if "\x1b[8m" in text else text


class Console:
    """Passes complete lines to `show`, and keeps the exit code of the last line that has one."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._rest = ""
        self._shown = 0
        self.exit_code: int | None = None
        """From `trainyard: exit N`, alone on its line; None when there is no such line."""

    def feed(self, text: str) -> None:
        """The next piece, which may end in the middle of a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > 10 * MAX_LINE:  # without line feeds, the beginning counts as a line
            note = OPEN_NOTE.search(self._rest)  # else its rest would be text
            end = note.start() if note and note.start() else len(self._rest)
            lines, self._rest = [*lines, self._rest[:end]], self._rest[end:]
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """The console is complete."""
        if self._rest:
            self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        line = without_notes(line).removesuffix("\r")
        if found := EXIT_LINE.fullmatch(line):
            self.exit_code = int(found[1])
        if self._shown >= MAX_SHOWN:
            return
        line = plain(line[: 2 * MAX_LINE])
        if len(line) > MAX_LINE:
            line = line[:MAX_LINE] + "…"
        self._shown += len(line) + 1
        self._show(line)
        if self._shown >= MAX_SHOWN:
            self._show("… the console is longer than can be shown here")
