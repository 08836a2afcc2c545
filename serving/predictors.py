"""Which predictor answers a request: that of the live release, or of the version that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serving.calls import Call
from serving.errors import Refused
from serving.predictor import Predictor


class Holder(Protocol):
    """Whatever keeps the predictor of the newest release."""

    current: Predictor | None

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is, or when there is none."""


class Predictors:
    """Of the model `name`. `earlier` gives the predictor of another released version, or raises Refused; None: there is only
    the live one."""

    def __init__(self, holder: Holder, name: str, earlier: Callable[[int], Predictor] | None = None) -> None:
        self.name = name
        self._holder, self._earlier = holder, earlier

    @property
    def current(self) -> Predictor | None:
        """Of the live release; None while there is none."""
        return self._holder.current

    def live(self, call: Call | None = None) -> Predictor:
        """The predictor that answers now; raises Refused (503) when there is none; the log has the reason."""
        predictor = self._holder.current
        if predictor is None:
            reason = self._holder.error or "nothing is live, or it is still loading"
            raise Refused(503, f"{self.name}: no model to answer with", hint="retry later", reason=reason)
        if call:
            call.answered_by(predictor)
        return predictor

    def version(self, number: int, call: Call | None = None) -> Predictor:
        """The predictor of version `number`; raises Refused: 404 for one that is not released, 503 for one that does not load."""
        predictor = self.live()  # a model that was withdrawn answers to nobody
        if (live := predictor.model.manifest.version) != number:
            if self._earlier is None:
                raise Refused(
                    404, f"{self.name}: version {number} cannot be asked here", hint=f"version {live} is live"
                )
            predictor = self._earlier(number)
        if call:
            call.answered_by(predictor)
        return predictor
