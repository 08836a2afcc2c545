"""The routes of the Open Inference Protocol, with Triton's repository extension."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from serving.calls import Answer, Call
from serving.errors import Refused, bad_request
from serving.model import RowError
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.protocols.base import Handler, Refusal, Route
from serving.protocols.body import parsed_object, unpacked_body
from serving.protocols.large import LARGE, one_at_a_time
from serving.protocols.v2 import infer, tensors

EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
VERSION = re.compile(r"/versions/([0-9]{1,12})(/infer|/ready|)")
READY = 'send {"ready": true}, or nothing'
MODEL = "/v2/models/{model}"


class V2Dialect:
    """`/v2/…`; a request may name a version that is released."""

    name = "v2"
    prefixes: tuple[str, ...] = ("/v2/", "/v2")

    def __init__(self, predictors: Predictors) -> None:
        self._predictors = predictors
        self._model = f"/v2/models/{predictors.name}"

    def fixed(self) -> Mapping[str, Route]:
        """Those of the live release, and what asks for no version."""
        server = Route("/v2", {"GET": self.server})
        return {
            "/v2": server,
            "/v2/": server,
            "/v2/health/live": Route("/v2/health/live", {"GET": self.live}),
            "/v2/health/ready": Route("/v2/health/ready", {"GET": self.ready}),
            "/v2/models": Route("/v2/models", {"GET": self.models}),
            "/v2/repository/index": Route("/v2/repository/index", {"POST": self.index}),
            f"/v2/repository/models/{self._predictors.name}/load": Route(
                "/v2/repository/models/{model}/load", {"POST": self.load}
            ),
            f"/v2/repository/models/{self._predictors.name}/unload": Route(
                "/v2/repository/models/{model}/unload", {"POST": self.unload}
            ),
            **{self._model + end: self._route(end, None) for end in ("", "/ready", "/infer")},
        }

    def find(self, path: str) -> Route | None:
        """The routes of a version."""
        rest = path.removeprefix(self._model) if path.startswith(f"{self._model}/") else ""
        if found := VERSION.fullmatch(rest):
            return self._route(found[2], int(found[1]))
        if rest.startswith("/versions/"):
            raise Refused(404, f"{path[:200]}: there is no such version", hint="a version is a whole number")
        parts = path.split("/")
        if path.startswith(("/v2/models/", "/v2/repository/models/")) and self._predictors.name not in parts[3:5]:
            name = parts[3] if parts[2] == "models" else parts[4] if len(parts) > 4 else ""
            raise Refused(
                404, f"model {name[:80]!r} is not served here", hint=f"this API serves {self._predictors.name}"
            )
        return None

    def refuse(self, refusal: Refusal) -> Answer:
        """`{"error": …}`: the clients show only this text, so that the hint is in it."""
        return Answer(orjson.dumps({"error": refusal.text}), status=refusal.status)

    def server(self, call: Call) -> Answer:
        """What the server is."""
        del call
        return _json({"name": "trainyard", "version": own_version(), "extensions": EXTENSIONS})

    def live(self, call: Call) -> Answer:
        """The process answers."""
        del call
        return _json({"live": True})

    def ready(self, call: Call) -> Answer:
        """The process has a model; else 503."""
        self._predictors.live(call)
        return _json({"live": True, "ready": True})

    def models(self, call: Call) -> Answer:
        """The one model, as KServe lists it."""
        del call
        return _json({"models": [self._predictors.name]})

    def index(self, call: Call) -> Answer:
        """The versions that can be asked for, as Triton lists them; the body may be empty, or say `{"ready": true}`."""
        body = unpacked_body(call.environ, call.limits)
        asked = parsed_object(body, READY) if body else {}
        listed: list[dict[str, str]] = []
        if predictor := self._predictors.current:
            number = str(predictor.model.manifest.version)
            listed.append({"name": self._predictors.name, "version": number, "state": "READY", "reason": ""})
        elif not asked.get("ready"):
            reason = "nothing is live, or it is still loading"
            listed.append({"name": self._predictors.name, "version": "", "state": "UNAVAILABLE", "reason": reason})
        return _json(listed)

    def load(self, call: Call) -> Answer:
        """The live release is loaded already; nothing else can be."""
        body = unpacked_body(call.environ, call.limits)
        if body and parsed_object(body, "send nothing").get("parameters"):
            raise bad_request("parameters: a model is loaded as it was released", hint="send no parameters")
        self._predictors.live(call)
        return _json({"name": self._predictors.name, "load": True})

    def unload(self, call: Call) -> Answer:
        """Refused: what is served follows from the releases."""
        unpacked_body(call.environ, call.limits)
        message = f"{self._predictors.name}: releases decide what is served, and clients cannot unload it"
        raise Refused(409, message, hint="whoever runs it can take a release back with `trainyard rollback`")

    def _route(self, end: str, number: int | None) -> Route:
        handlers: dict[str, Mapping[str, Handler]] = {
            "": {"GET": partial(self._metadata, number)},
            "/ready": {"GET": partial(self._model_ready, number)},
            "/infer": {"POST": partial(self._infer, number)},
        }
        return Route(MODEL + ("" if number is None else "/versions/{version}") + end, handlers[end])

    def _predictor(self, call: Call, number: int | None) -> Predictor:
        return self._predictors.live(call) if number is None else self._predictors.version(number, call)

    def _metadata(self, number: int | None, call: Call) -> Answer:
        model = self._predictor(call, number).model
        signature = model.signature

        def described(specs: Any) -> list[dict[str, Any]]:
            return [
                {
                    "name": each.name,
                    "datatype": tensors.DATATYPES.get(each.dtype, each.dtype),
                    "shape": [-1 if size is None else size for size in each.shape],
                }
                for each in specs
            ]

        return _json(
            {
                "name": self._predictors.name,
                "versions": [str(model.manifest.version)],
                "platform": f"trainyard_{model.manifest.served.engine}",
                "inputs": described(signature.inputs),
                "outputs": described(signature.outputs),
            }
        )

    def _model_ready(self, number: int | None, call: Call) -> Answer:
        self._predictor(call, number)
        return _json({"name": self._predictors.name, "ready": True})

    def _infer(self, number: int | None, call: Call) -> Answer:
        predictor = self._predictor(call, number)
        codec = predictor.codec(infer.V2Codec)
        body = unpacked_body(call.environ, call.limits)
        header = call.environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH", "")
        with one_at_a_time(len(body) > LARGE and not header):
            asked = infer.read(codec, body, header, call.limits)
        try:
            outputs = call.predict(predictor, asked.inputs, asked.rows) if asked.rows else codec.without_rows()
        except RowError as error:
            raise bad_request(f"row {error.row}: {error}") from error
        return infer.write(codec, predictor.model, asked, outputs)


def _json(body: Any) -> Answer:
    return Answer(orjson.dumps(body))


def own_version() -> str:
    """Of Trainyard, as it is installed; `0`: it is not."""
    try:
        return version("trainyard")
    except PackageNotFoundError:
        return "0"
