"""The methods of GRPCInferenceService for one model, answered by what answers over HTTP; and the standard health check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from serving.calls import Call, Limits
from serving.errors import Refused, bad_request
from serving.grpc_port import inference_pb2 as pb
from serving.grpc_port import messages
from serving.metrics.routes import GRPC_HEALTH, GRPC_SERVICE
from serving.model import RowError
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.protocols.v2 import tensors
from serving.protocols.v2.dialect import EXTENSIONS
from serving.protocols.v2.infer import V2Codec

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""grpc.health.v1.HealthCheckResponse with its one field."""


class Method(NamedTuple):
    """How the message of a request is read, and what answers it: a message, or its bytes."""

    read: Callable[[bytes], Any]
    answer: Callable[[Any, Call], Any]


class Methods:
    """Of the model of `predictors`. Each raises Refused."""

    def __init__(self, predictors: Predictors, limits: Limits, version: str) -> None:
        """`version` is Trainyard's own."""
        self._predictors, self._limits, self._version = predictors, limits, version

    def all(self) -> Mapping[str, Method]:
        """By path, as gRPC has them in its requests: `/SERVICE/METHOD`."""
        answers: dict[str, Callable[[Any, Call], Any]] = {
            "ServerLive": lambda _request, _call: pb.ServerLiveResponse(live=True),
            "ServerReady": lambda _request, _call: pb.ServerReadyResponse(ready=self._predictors.current is not None),
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._metadata,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        found = {
            f"/{GRPC_SERVICE}/{name}": Method(getattr(pb, f"{name}Request").FromString, answer)
            for name, answer in answers.items()
        }
        # A HealthCheckRequest is a name in field 1, too.
        return found | {GRPC_HEALTH: Method(pb.ModelReadyRequest.FromString, self._health)}

    def _health(self, request: Any, call: Call) -> bytes:
        """Of the whole server, of the service, or of the model by its name."""
        del call
        if request.name not in {"", GRPC_SERVICE, self._predictors.name}:
            raise Refused(404, f"service {request.name[:80]!r} is not served here")
        return SERVING if self._predictors.current else NOT_SERVING

    def _server(self, request: Any, call: Call) -> Any:
        del request, call
        return pb.ServerMetadataResponse(name="trainyard", version=self._version, extensions=EXTENSIONS[1:])

    def _predictor(self, name: str, version: str, call: Call) -> Predictor:
        if name != self._predictors.name:
            hint = f"this API serves {self._predictors.name}"
            raise Refused(404, f"model {name[:80]!r} is not served here", hint=hint)
        if not version:
            return self._predictors.live(call)
        if not (version.isascii() and version.isdigit() and len(version) <= 12):
            raise Refused(404, f"version {version[:80]!r}: there is no such version", hint="it is a whole number")
        return self._predictors.version(int(version), call)

    def _model_ready(self, request: Any, call: Call) -> Any:
        try:
            self._predictor(request.name, request.version, call)
        except Refused as error:
            if error.status != 503:
                raise
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    def _metadata(self, request: Any, call: Call) -> Any:
        model = self._predictor(request.name, request.version, call).model
        found = pb.ModelMetadataResponse(
            name=self._predictors.name,
            versions=[str(model.manifest.version)],
            platform=f"trainyard_{model.manifest.served.engine}",
        )
        for specs, target in ((model.signature.inputs, found.inputs), (model.signature.outputs, found.outputs)):
            for each in specs:
                shape = [-1 if size is None else size for size in each.shape]
                target.add(name=each.name, datatype=tensors.DATATYPES.get(each.dtype, each.dtype), shape=shape)
        return found

    def _infer(self, request: Any, call: Call) -> Any:
        predictor = self._predictor(request.model_name, request.model_version, call)
        codec = predictor.codec(V2Codec)
        asked = messages.read(codec, request, self._limits.instances)
        try:
            outputs = call.predict(predictor, asked.inputs, asked.rows) if asked.rows else codec.without_rows()
        except RowError as error:
            raise bad_request(f"row {error.row}: {error}") from error
        return messages.write(codec, predictor.model, asked, outputs)

    def _index(self, request: Any, call: Call) -> Any:
        del call
        found, name = pb.RepositoryIndexResponse(), self._predictors.name
        if predictor := self._predictors.current:
            found.models.add(name=name, version=str(predictor.model.manifest.version), state="READY")
        elif not request.ready:
            found.models.add(name=name, state="UNAVAILABLE", reason="nothing is live, or it is still loading")
        return found

    def _load(self, request: Any, call: Call) -> Any:
        if request.parameters:
            raise bad_request("parameters: a model is loaded as it was released", hint="send no parameters")
        self._predictor(_named(request), "", call)
        return pb.RepositoryModelLoadResponse(model_name=self._predictors.name, isLoaded=True)

    def _unload(self, request: Any, call: Call) -> Any:
        self._predictor(_named(request), "", call)
        message = f"{self._predictors.name}: releases decide what is served, and clients cannot unload it"
        raise Refused(409, message, hint="whoever runs it can take a release back with `trainyard rollback`")


def _named(request: Any) -> str:
    """Triton's clients have the name in field 2; KServe's in field 1, which is Triton's `repository_name`."""
    name: str = request.model_name or request.repository_name
    return name
