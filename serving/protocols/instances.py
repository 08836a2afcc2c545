"""The protocol of `POST /predict`: `{"instances": [...]}` or image files in, `{"predictions": [...]}` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.records import Signature
from serving.engines.base import Array, Arrays
from serving.protocols import pages
from serving.protocols.base import Limits, Page
from serving.protocols.body import read_inputs
from serving.protocols.errors import Refused, bad_request
from serving.protocols.read_instances import Reader
from serving.protocols.write_predictions import Writer
from training.data.spec import DataSpec

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class InstancesProtocol:
    """A PredictionProtocol; `warm_outputs` are the model's outputs by name for rows that are known to be good, `data`
    describes the dataset that it learned from.

    Raises Corrupt for a signature whose inputs cannot be sent in a request.
    """

    def __init__(self, signature: Signature, warm_outputs: Arrays, data: DataSpec | None = None) -> None:
        self._reader = Reader(signature, data)
        self._writer = Writer(signature, warm_outputs)

    def read(self, environ: WSGIEnvironment, limits: Limits) -> tuple[dict[str, Array], int]:
        """The inputs by name, and the number of rows; raises Refused or HTTPException."""
        return read_inputs(environ, self._reader, limits)

    def write(self, outputs: Arrays) -> list[dict[str, Any]]:
        """One prediction per row."""
        return self._writer.write(outputs)

    def refuse_row(self, row: int, reason: str) -> Refused:
        """400, with the path of the row."""
        return bad_request(f"instances[{row}]: {reason}")

    def describe(
        self, identity: Mapping[str, Any], data: DataSpec | None, sample: Arrays, url: str, limits: Limits
    ) -> Page:
        """The page of `GET /`."""
        return pages.describe(identity, self._reader, data, sample, url, limits)

    def example(self, sample: Arrays) -> tuple[bytes, str]:
        """The body of `GET /example`: a PNG file for an image model, else JSON."""
        return pages.example_body(self._reader, sample)
