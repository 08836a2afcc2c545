"""SIGTERM as an exception, so that workers are killed and files stay whole while the stack unwinds; and no lost Ctrl-C."""

from __future__ import annotations

import signal
import sys
from types import FrameType

AGAIN = 0.01
"""Seconds after which an interrupt is raised again that came while Python could only ignore it."""


class Terminated(BaseException):
    """Somebody asked this process to end."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises Terminated in the main thread, and neither it nor Ctrl-C gets lost.

    A signal that arrives in a weak reference's callback, a `__del__` or a handler of `os.fork` is an "ignored exception"
    of Python, e.g. while a module is imported: the process would run for as long as it likes. It is raised again then.
    """
    signal.signal(signal.SIGTERM, _raise)
    sys.unraisablehook = _ignored


def _raise(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _ignored(found: sys.UnraisableHookArgs) -> None:
    lost = found.exc_type
    if not issubclass(lost, (KeyboardInterrupt, Terminated)):
        sys.__unraisablehook__(found)
        return

    def raise_again(_signal: int, _frame: FrameType | None) -> None:
        raise lost

    signal.signal(signal.SIGALRM, raise_again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN)  # from here it would be ignored, too
