"""Every request has an id, in its answer and in the log: the client's `X-Request-Id`, or a new one."""

from __future__ import annotations

import itertools
import os
import re

VALID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


class RequestIds:
    """The ids that one process gives."""

    def __init__(self) -> None:
        self._process, self._count = os.urandom(10).hex(), itertools.count(1)

    def choose(self, given: str) -> str:
        """The client's id, when it has a valid one, or a new one."""
        return given if given and VALID.fullmatch(given) else f"{self._process}-{next(self._count):x}"
