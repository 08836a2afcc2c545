"""What one call of the monitor has come to."""

from __future__ import annotations

from pipelines.monitor.state import Numbered
from registry.dataclass import dataclass
from registry.records.monitoring import Health

ALARM = 3
"""The exit code while an alarm is open."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call has found and done."""

    found: tuple[Health, ...]
    """The windows that were complete, the oldest first."""
    newest: Health | None
    """Also of an earlier call; None before the first window."""
    raised: tuple[Numbered, ...] = ()
    """Alarms that began with this call, and last."""
    over: tuple[Numbered, ...] = ()
    """Those that this call has found to be over."""
    open: tuple[Numbered, ...] = ()
    """All that last."""
    heard: tuple[Numbered, ...] = ()
    """Those of them that nobody has silenced."""
    problems: tuple[str, ...] = ()
    """What could not be sent or written; it is tried again by the next call."""

    @property
    def exit_code(self) -> int:
        """3 while an alarm is open that nobody has silenced, else 0."""
        return ALARM if self.heard else 0
