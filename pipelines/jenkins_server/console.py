"""The console of a running build for a terminal: complete lines, cleaned, and limited."""

from __future__ import annotations

import re
from collections.abc import Callable

from registry.text import printable

MAX_LINE = 2000  # characters
MAX_SHOWN = 8 << 20  # characters of one console
# Jenkins may write the time before each line.
EXIT_LINE = re.compile(r"(?:\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] )?trainyard: exit (\d{1,3})", re.ASCII)


def plain(text: str) -> str:
    """Printable text with its tabs and line feeds. A carriage return is a line feed: a progress bar is not redrawn."""
    return printable(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\t\n")


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
            lines, self._rest = [*lines, self._rest], ""
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """The console is complete."""
        if self._rest:
            self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        line = line.removesuffix("\r")
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
