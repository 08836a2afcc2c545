"""One request on its way through the API: what a dialect is given, what the model has answered, and the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from serving.engines.base import Array, Arrays
from serving.engines.meter import METER
from serving.metrics.counters import CountedRequest
from serving.metrics.routes import protocol_of
from serving.model import Model
from serving.prediction_log.lines import Answered
from serving.predictor import Predictor
from serving.wsgi_keys import RELEASE, VERSION

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may contain."""

    body: int
    """Bytes, also of a compressed body when it is unpacked."""
    instances: int
    explain_ms: int = 500
    """Milliseconds that one request for explanations may take, in all; 0: there are none."""


class Answer(NamedTuple):
    """What the client receives."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Predicted(NamedTuple):
    """What a model has answered to a request. The arrays are shared with nobody who changes them.

    A tuple, as Answer: there is one per request, and a frozen dataclass takes twice as long to make.
    """

    model: Model
    inputs: Arrays
    rows: int
    outputs: Arrays
    probabilities: Array | None
    """Rows × classes, where the outputs are a distribution."""
    seconds: float
    """That the model took, without those that it was waited for."""


@dataclass(slots=True)
class Call:
    """One request, for the thread that answers it. A dialect asks serving.predictors for a predictor, and then `predict`."""

    environ: WSGIEnvironment
    limits: Limits
    request_id: str
    counted: CountedRequest
    began: float
    """time.perf_counter() when the request came to the app."""
    predicted: Predicted | None = None
    """None: there is no prediction, as for a page, or a request that was refused."""
    predicted_at: float = 0.0
    """As `began`, when the model's last outputs were there; 0: there were none."""

    def answered_by(self, predictor: Predictor) -> None:
        """Note for the log which version answers."""
        model = predictor.model
        self.environ[RELEASE], self.environ[VERSION] = model.release, model.manifest.version

    def predict(self, predictor: Predictor, inputs: dict[str, Array], rows: int) -> dict[str, Array]:
        """The outputs by name for `rows` rows of inputs, which are exactly as the signature has them.

        Raises RowError for the first row that the model cannot take; whatever else it raises (EngineError, MemoryError) was
        not caused by the client.
        """
        counted, start = self.counted, time.perf_counter()
        waited, METER.shared = METER.waited, False
        outputs = predictor.model.run(inputs, rows)
        waited = METER.waited - waited
        if not self.predicted_at:
            counted.read_seconds += start - self.began
        self.predicted_at = time.perf_counter()
        seconds = self.predicted_at - start - waited
        probabilities = predictor.probabilities.of(outputs)
        if waited:
            counted.queue_seconds += waited
            counted.engine_wait_seconds += waited
        counted.infer_seconds += seconds
        counted.rows, counted.batches = rows, () if METER.shared else predictor.model.batches(rows)
        if probabilities is not None:
            counted.confidence = probabilities.max(axis=1).tolist()
        if length := self.environ.get("CONTENT_LENGTH"):
            counted.size = int(length)
        self.predicted = Predicted(predictor.model, inputs, rows, outputs, probabilities, seconds)
        return outputs

    def answered(self) -> Answered:
        """What the prediction log keeps of it, when it was counted: references only. An answer that could not be given
        holds no prediction."""
        counted, predicted = self.counted, self.predicted
        status = int(counted.status or 500)
        at, protocol = time.time() - counted.seconds, protocol_of(counted.route)
        base = (self.request_id, at, counted.caller, protocol, status, counted.seconds)
        if predicted is None or status >= 400:
            return Answered(*base)
        found, size = predicted, counted.size or 0
        return Answered(*base, found.model, found.inputs, found.rows, found.outputs, found.probabilities, size)
