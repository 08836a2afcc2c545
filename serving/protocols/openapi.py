"""What clients may ask, as one OpenAPI 3.1 document for all dialects, made from the signature of the live model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.calls import JSON, Limits
from serving.engines.base import Arrays
from serving.model import Model
from serving.protocols import frames
from serving.protocols.instances import InstancesCodec
from serving.protocols.openapi_schemas import ref, schemas
from training.data.decode import ONLY

BINARY = "application/octet-stream"
MODEL = {"V1": "/v1/models/{model}", "V2": "/v2/models/{model}"}
READ = (401, 403, 421, 429)
"""Statuses by which any request may be refused: who asks, by which name, how often."""
TAKEN = (400, 408, 413, 415)
"""Statuses for what is wrong with a body."""
MEANING = {
    200: "answered",
    207: "some reports were not taken; each has its result",
    400: "the request is not what the model takes; the message names the place",
    401: "a token is needed",
    403: "this token, or this web page, may not ask",
    404: "there is no such model, version or page",
    406: "the answer cannot be written in this form",
    408: "the body came too slowly",
    409: "releases decide what is served; of feedback: the request has no prediction, or nothing is kept",
    410: "this answer is not kept any more",
    413: "larger, or more instances, than one request may have",
    415: "this content type or encoding is not taken",
    421: "the Host is not a name of this API",
    422: "it does not fit what was answered",
    429: "too many requests",
    500: "an error of the server",
    503: "no model to answer with, or not enough memory: retry later",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    group: str
    summary: str
    answer: str = "Facts"
    """A schema of components; empty: text."""
    body: str = ""
    files: tuple[str, ...] = ()
    """Other content types of the body."""
    answers: tuple[str, ...] = ()
    """Other content types of the answer."""
    more: tuple[int, ...] = ()
    """Statuses of its own."""
    error: str = "Error"
    answer_schema: dict[str, Any] | None = None
    partly: bool = False
    """Of several things in one request some may have been refused: 207, in the form of the answer."""


def operations(model: Model) -> Iterator[Operation]:
    """All of them. Those of a version, or of a label, are the same with another path."""
    image = model.signature.kind == "image"
    formats = model.signature.preparation.formats if model.signature.preparation else ONLY
    types = (*(f"image/{each}" for each in formats if image), *frames.KINDS)
    get, post = "get", "post"
    yield Operation(
        post, "/predict", "Trainyard", "Predict", "PredictAnswer", "PredictRequest", types, (frames.ARROW, frames.NPY), (406, 503)
    )  # fmt: skip
    for path, summary in (("/", "What the model is, takes and returns"), ("/version", "Which version answers")):
        yield Operation(get, path, "Trainyard", summary, more=(503,), answers=("text/html",) if path == "/" else ())
    yield Operation(get, "/example", "Trainyard", "A body for /predict", answers=("image/png",), more=(503,))
    yield Operation(get, "/health/live", "Trainyard", "The process answers")
    yield Operation(get, "/health/ready", "Trainyard", "The process has a model", more=(503,))
    images = ("image/png",) if image else ()
    for path in ("/explain", *(f"{MODEL['V1']}{end}:explain" for end in ("", "/versions/{version}"))):
        yield Operation(
            post, path, "Trainyard", "Why each row gets its answer", "ExplainAnswer", "PredictRequest", types, images, (404, 406, 503)
        )  # fmt: skip
    yield Operation(
        post, "/feedback", "Trainyard", "Report which label was right", "FeedbackAnswer", "FeedbackRequest",
        more=(404, 409, 410, 422, 503), partly=True,
    )  # fmt: skip
    yield from _v2()
    yield from _v1()
    scored = (frames.CSV, frames.PARQUET)
    yield Operation(
        post, "/invocations", "MLflow", "Predict", "MlflowAnswer", "MlflowRequest", scored, (), (503,), "MlflowError"
    )  # fmt: skip
    for path in ("/ping", "/health"):
        yield Operation(get, path, "MLflow", "The process has a model", "", more=(503,), error="MlflowError")


def _v2() -> Iterator[Operation]:
    def made(method: str, path: str, summary: str, more: tuple[int, ...] = (), **rest: Any) -> Operation:
        return Operation(method, path, "Open Inference Protocol", summary, more=more, error="ErrorText", **rest)

    yield made("get", "/v2", "What the server is")
    yield made("get", "/v2/health/live", "The process answers")
    yield made("get", "/v2/health/ready", "The process has a model", (503,))
    yield made("get", "/v2/models", "The model's name")
    for end in ("", "/versions/{version}"):
        place = MODEL["V2"] + end
        yield made("get", place, "Inputs and outputs", (404, 503))
        yield made("get", f"{place}/ready", "It can answer", (404, 503))
        yield made(
            "post", f"{place}/infer", "Predict", (404, 503), answer="V2Answer", body="V2Request", files=(BINARY,), answers=(BINARY,)
        )  # fmt: skip
    yield made(
        "post",
        "/v2/repository/index",
        "What can be asked",
        answer_schema={"type": "array", "items": ref("Facts")},
        more=TAKEN,
    )
    yield made("post", "/v2/repository/models/{model}/load", "Nothing to do for what is live", (404, 503, *TAKEN))
    yield made("post", "/v2/repository/models/{model}/unload", "Refused", (404, 409, *TAKEN))


def _v1() -> Iterator[Operation]:
    def made(method: str, path: str, summary: str, **rest: Any) -> Operation:
        return Operation(method, path, "TensorFlow Serving", summary, more=(404, 503), error="ErrorText", **rest)

    yield made("get", "/v1/models", "The model's name")
    for end in ("", "/versions/{version}", "/labels/{label}"):
        place = MODEL["V1"] + end
        yield made("get", place, "Status, and whether it is ready")
        yield made("get", f"{place}/metadata", "Inputs and outputs")
        yield made("post", f"{place}:predict", "Predict", body="PredictRequest", answer="V1Answer")
        for verb in ("classify", "regress"):
            yield made("post", f"{place}:{verb}", verb.capitalize(), body="V1Examples", answer="V1Results")


def document(model: Model, limits: Limits, url: str) -> dict[str, Any]:
    """The document for `model`, whose API is at `url`."""
    warm: Arrays = model.warm_outputs
    reader = InstancesCodec(model).reader
    found = schemas(reader, model.signature, warm, limits)
    paths: dict[str, Any] = {}
    for each in operations(model):
        paths.setdefault(each.path, {})[each.method] = _operation(each, model)
    title = f"{model.manifest.model}: predictions"
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": str(model.manifest.version)},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": found,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(given: Operation, model: Model) -> dict[str, Any]:
    schema = given.answer_schema or (ref(given.answer) if given.answer else None)
    content: dict[str, Any] = {JSON: {"schema": schema}} if schema else {"text/plain": {"schema": {"type": "string"}}}
    content |= {each: {} for each in given.answers}
    answered = (200, 207) if given.partly else (200,)
    responses = {str(status): {"description": MEANING[status], "content": content} for status in answered}
    statuses = {*READ, *given.more, *(TAKEN if given.body else ()), 500}
    for status in sorted(statuses):
        error = {JSON: {"schema": ref(given.error)}}
        responses[str(status)] = {"description": MEANING[status], "content": error}
    name = "".join(
        part.capitalize() for part in given.path.replace(":", "/").replace("{", "").replace("}", "").split("/")
    )
    found: dict[str, Any] = {
        "operationId": f"{given.method}{name or 'Index'}",
        "tags": [given.group],
        "summary": given.summary,
        "responses": responses,
    }
    if parameters := [_parameter(each, model) for each in ("model", "version", "label") if f"{{{each}}}" in given.path]:
        found["parameters"] = parameters
    if given.body:
        bodies = {JSON: {"schema": ref(given.body)}} | {each: {} for each in given.files}
        found["requestBody"] = {"required": True, "content": bodies}
    return found


def _parameter(name: str, model: Model) -> dict[str, Any]:
    """A part of the path: the model that there is, and what it answers with."""
    only = {"model": model.manifest.model, "version": str(model.manifest.version), "label": "stable"}[name]
    schema = {"type": "string"} if name == "version" else {"type": "string", "enum": [only]}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": only}
