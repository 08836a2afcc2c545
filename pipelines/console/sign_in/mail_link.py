"""Links of mails that sign one person in, once, for one decision."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pipelines.approvals.mail_links import Link
from pipelines.console.person import Person
from registry.errors import Rejected

KEPT = 32 * 24 * 3600
"""Seconds: longer than any link holds."""


def person_of(link: Link) -> Person:
    """Who signs in by it, for its decision only."""
    return Person(link.to, link.to, "mail link", f"{link.model}/{link.version}")


class UsedLinks:
    """A file for each link that was used, which only the first one can make."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def use(self, link: Link) -> None:
        """Raises Rejected when somebody has signed in by it before."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        try:
            os.close(os.open(self._folder / link.id, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise Rejected("the link was used before: it signs in once", hint="sign in to the console") from None

    def is_used(self, link: Link) -> bool:
        """Whether somebody has signed in by it."""
        return (self._folder / link.id).exists()

    def _sweep(self) -> None:
        for each in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if each.stat().st_mtime < time.time() - KEPT:
                    each.unlink()
