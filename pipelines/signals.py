"""SIGTERM as an exception, so that workers are killed and files stay whole while the stack unwinds."""

from __future__ import annotations

import signal
from types import FrameType


class Terminated(BaseException):
    """Somebody asked this process to end."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises Terminated in the main thread."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated
