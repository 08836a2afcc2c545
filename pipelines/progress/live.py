"""The live view of a run in a terminal, drawn by rich. Imported only when there is such a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipelines.progress.state import Work
from pipelines.progress.stream import PatientStream
from pipelines.text.duration import duration
from training.worker.protocol import EVENT, one_line, parse_event

TAIL = 6  # log lines
NARROW = 60  # columns; under it there is no bar
SIGNS = {
    "done": ("✓", "*", "green"),
    "rejected": ("✗", "x", "yellow"),
    "failed": ("✗", "x", "red"),
}


@dataclass
class Row:
    """One step in the view."""

    state: str = ""
    """Empty: yet to come; `running`; else the outcome."""
    since: float = 0.0
    seconds: float = 0.0


class LiveProgress:
    """The steps with their state and time, how far the worker is, and the last lines of its log."""

    def __init__(self, stream: PatientStream) -> None:
        self._console = Console(file=cast("IO[str]", stream), force_terminal=True, highlight=False, markup=False)
        self._on_stderr = stream.stream is sys.stderr
        # Never held while rich is called: rich has a lock of its own, under which it calls `_draw`.
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._title = ""
        self._began = 0.0
        self._rows: dict[str, Row] = {}
        self._step = ""
        self._work = Work()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._spinner = Spinner("dots" if self._unicode else "line")

    def start(self, title: str, steps: Sequence[str]) -> None:
        """See `Progress`."""
        self.stop()
        with self._lock:
            self._title, self._began, self._rows = one_line(title), time.monotonic(), {name: Row() for name in steps}
            self._step, self._work = "", Work()
            self._tail.clear()
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=5,
            redirect_stdout=False, redirect_stderr=self._on_stderr,
        )  # fmt: skip
        self._live.start()

    def step(self, name: str) -> None:
        """See `Progress`."""
        with self._lock:
            self._step, self._work = name, Work()
            self._tail.clear()
            self._rows[name] = Row("running", time.monotonic())

    def line(self, text: str) -> None:
        """See `Progress`."""
        event = parse_event(text)
        if event and event["event"] == "note":
            self.note(str(event.get("text", "")))
            return
        with self._lock:
            if not (event and self._work.take(event)) and not text.startswith(EVENT):
                self._tail.append(one_line(text))

    def done(self, name: str, outcome: str, seconds: float) -> None:
        """See `Progress`."""
        with self._lock:
            self._rows[name] = Row(outcome, seconds=seconds)
            self._step = ""
            last = list(self._tail) if outcome == "failed" else []
            self._tail.clear()
        for text in last:
            self.note(f"  {text}")

    def note(self, text: str) -> None:
        """See `Progress`: stays above the view."""
        self._console.print(Text(one_line(text)))

    def stop(self) -> None:
        """See `Progress`."""
        live, self._live = self._live, None
        if live:
            live.stop()

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.lower().startswith("utf")

    def _draw(self) -> RenderableType:
        with self._lock:
            width, height = self._console.size
            now = time.monotonic()
            parts: list[RenderableType] = [
                Text(f"{self._title}  {duration(now - self._began)}", style="bold", no_wrap=True, overflow="ellipsis"),
                self._table(now, width),
            ]
            room = min(TAIL, max(0, height - len(self._rows) - 3))
            lines = list(self._tail)[-room:] if room else []
            parts += [Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in lines]
            return Group(*parts)

    def _table(self, now: float, width: int) -> Table:
        table = Table.grid(padding=(0, 1))
        for justify in ("left", "left", "right"):
            table.add_column(no_wrap=True, justify=justify)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.expand = True
        for name, row in self._rows.items():
            if row.state == "running":
                table.add_row(self._spinner, Text(name, style="bold"), duration(now - row.since), self._far(width))
            elif not row.state:
                table.add_row(" ", Text(name, style="dim"))
            else:
                sign, plain, style = SIGNS.get(row.state, ("–", "-", ""))
                outcome = "" if row.state == "done" else row.state
                sign = sign if self._unicode else plain
                table.add_row(Text(sign, style=style), Text(name), duration(row.seconds), Text(outcome, style=style))
        return table

    def _far(self, width: int) -> RenderableType:
        words = Text(self._work.words, no_wrap=True, overflow="ellipsis")
        if width < NARROW or not self._work.at:
            return words
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=20)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row(ProgressBar(total=max(1, self._work.of), completed=self._work.at, width=20), words)
        return grid
