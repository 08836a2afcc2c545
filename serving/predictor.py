"""A loaded model together with the protocol that clients speak to it: from a request to its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.model import Model, RowError
from serving.protocols.base import Limits, PredictionProtocol
from serving.protocols.errors import Refused
from serving.protocols.instances import InstancesProtocol

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


@dataclass(frozen=True, slots=True)
class Predictor:
    """Built once per loaded model and swapped as a whole. Frozen, for the reason that Model is."""

    model: Model
    protocol: PredictionProtocol

    def predict(self, environ: WSGIEnvironment, limits: Limits) -> list[dict[str, Any]]:
        """One prediction per row of the request; raises Refused or HTTPException for what is wrong with the request.

        Whatever else is raised (EngineError, MemoryError) was not caused by the client.
        """
        inputs, rows = self.protocol.read(environ, limits)
        try:
            outputs = self.model.run(inputs, rows)
        except RowError as error:
            raise self.protocol.refuse_row(error.row, str(error)) from error
        return self.protocol.write(outputs)


def predictor_for(model: Model) -> Predictor:
    """The model with its protocol; raises Corrupt for a signature that requests cannot carry."""
    return Predictor(model, InstancesProtocol(model.signature, model.warm_outputs, model.data))


class Holder(Protocol):
    """Whatever keeps the predictor of the newest release."""

    current: Predictor | None

    @property
    def error(self) -> str:
        """Why the newest release is not served; empty when it is, or when there is none."""


def current_predictor(holder: Holder, name: str) -> Predictor:
    """The predictor that answers now; raises Refused (503) when there is none for the model `name`; the log has the reason."""
    predictor = holder.current
    if predictor is None:
        reason = holder.error or "nothing is live, or it is still loading"
        raise Refused(503, f"{name}: no model to answer with", hint="retry later", reason=reason)
    return predictor
