"""What a dialect is: how one kind of client speaks to the API, by which paths, with which bodies and errors.

A dialect is made once per server process and used by all threads. What it needs to know of a model it keeps in a codec of
its own (`Predictor.codec`), made once per loaded model. It never meets the engine: `Call.predict` is the way to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.calls import Answer, Call

Handler = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no prediction, for the shape that a dialect gives it."""

    status: int
    message: str
    hint: str
    request_id: str

    @property
    def text(self) -> str:
        """The message with the hint, for clients that show one text only."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Route:
    """What answers at a path: `name` is its template, for the metrics; `handlers` are by method."""

    name: str
    handlers: Mapping[str, Handler]


class Dialect(Protocol):
    """One kind of client. All methods are safe to call from several threads."""

    name: str
    """As metrics and logs have it."""
    prefixes: tuple[str, ...]
    """Of the paths where errors are written by `refuse`, whether there is a route or not."""

    def fixed(self) -> Mapping[str, Route]:
        """Routes by path, for the paths that are known beforehand."""

    def find(self, path: str) -> Route | None:
        """The route of any other path; may raise Refused, e.g. for the name of another model."""

    def refuse(self, refusal: Refusal) -> Answer:
        """The answer to a request that gets no prediction; its status is the refusal's."""


class Routes:
    """All that the dialects answer to."""

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self._dialects = tuple(dialects)
        self._fixed = {path: (each, route) for each in self._dialects for path, route in each.fixed().items()}

    def find(self, path: str) -> tuple[Dialect, Route] | None:
        """What answers at `path`; raises what `Dialect.find` does."""
        if found := self._fixed.get(path):
            return found
        for each in self._dialects:
            if path.startswith(each.prefixes) and (route := each.find(path)):
                return each, route
        return None

    def dialect_of(self, path: str) -> Dialect | None:
        """Whose clients ask at `path`; None: it is not a path of any dialect."""
        if found := self._fixed.get(path):
            return found[0]
        return next((each for each in self._dialects if path.startswith(each.prefixes)), None)
