"""What a protocol is: how one kind of client sends inputs and receives predictions.

A protocol is built once per loaded model, from its signature, and used by all threads that answer requests. It knows
neither the engine nor the release; serving.predictor puts model and protocol together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.engines.base import Array, Arrays
from serving.protocols.errors import Refused
from training.data.spec import DataSpec

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may contain."""

    body: int
    """Bytes."""
    instances: int


@dataclass(frozen=True, slots=True)
class Page:
    """The description of a model, twice: for programs and for people."""

    facts: dict[str, Any]
    html: str


class PredictionProtocol(Protocol):
    """Reads and writes for one model. All methods are safe to call from several threads."""

    def read(self, environ: WSGIEnvironment, limits: Limits) -> tuple[dict[str, Array], int]:
        """The inputs by name, exactly as the signature has them, and the number of rows.

        Raises Refused, or Werkzeug's HTTPException for 400 and 413.
        """

    def write(self, outputs: Arrays) -> list[dict[str, Any]]:
        """One prediction per row, for the engine's `outputs` by name."""

    def refuse_row(self, row: int, reason: str) -> Refused:
        """What the client gets when the model has no prediction for row `row`, counted from 0."""

    def describe(
        self, identity: Mapping[str, Any], data: DataSpec | None, sample: Arrays, url: str, limits: Limits
    ) -> Page:
        """What the model is (`identity`: name, version, release, …), takes and returns, with commands that work.

        `data`: the dataset that it was trained on. `sample`: one made-up row. `url`: the API's own.
        """

    def example(self, sample: Arrays) -> tuple[bytes, str]:
        """A valid body with the one row of `sample`, and its content type."""
