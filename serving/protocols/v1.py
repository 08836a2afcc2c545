"""The REST API of TensorFlow Serving, and what KServe's first protocol adds to it: `/v1/models/…`.

Numbers are answered as the model gives them: one list per instance, or with `inputs` one per output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from registry.records import TensorSpec
from serving.calls import Answer, Call
from serving.engines.base import Array, Arrays
from serving.errors import Refused, bad_request, show
from serving.model import Model, RowError
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.probabilities import form_of
from serving.protocols.base import Refusal, Route
from serving.protocols.body import parsed_object, unpacked_body
from serving.protocols.large import LARGE, one_at_a_time
from serving.protocols.named_inputs import NamedInputs
from serving.protocols.read_images import octets, octets_of
from serving.protocols.read_instances import Reader
from serving.protocols.write_predictions import numbers

MODEL = "/v1/models/{model}"
CHOICE = re.compile(
    r"(?:/versions/(?P<version>[0-9]{1,12})|/labels/(?P<label>[^/:]{1,128}))?(?P<end>/metadata|:[a-z]+|)"
)
SIGNATURE = "serving_default"
SEND = 'send {"instances": [...]}, one entry per sample, or {"inputs": …}'
EXAMPLES = 'send {"examples": [{"name": value, …}, …]}'
TYPES = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
} | {f"{sign}int{bits}": f"DT_{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
"""NumPy's name, or `string` → TensorFlow's."""


class V1Codec:
    """Reads and writes for one model. Raises Refused."""

    def __init__(self, model: Model) -> None:
        self._reader = Reader(model.signature, model.data)
        self._named = NamedInputs(self._reader)
        self._signature, self._warm = model.signature, model.warm_outputs

    def instances(self, rows: Any, limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from a list with an entry per sample."""
        if not isinstance(rows, list) or not rows:
            raise bad_request(f"instances: {'empty' if rows == [] else show(rows)}, a list of samples is expected")
        if not self._reader.named:
            rows = self._unnamed(rows)
        return self._reader.rows(rows if self._reader.image else _with_texts(rows), limit)

    def inputs(self, given: Any, limit: int) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows, from whole tensors: an object by name, or the only one."""
        names = self._named.names
        if not isinstance(given, dict):
            if len(names) > 1:
                raise bad_request(f"inputs: {show(given)}", hint=f"an object with {', '.join(names)}, a list each")
            given = {names[0]: given}
        arrays: dict[str, Array] = {}
        for name, values in given.items():
            spec = self._named.spec(name, "inputs")
            if spec.name in arrays:
                raise bad_request(f"inputs: {spec.name!r} is there twice, in two spellings")
            arrays[spec.name] = self._tensor(spec, values, f"inputs.{name}", limit)
        return self._named.joined(arrays, limit)

    def _tensor(self, spec: TensorSpec, values: Any, path: str, limit: int) -> Array:
        if not isinstance(values, list):
            return self._named.from_list(spec, values, path)
        if self._reader.image and values and isinstance(values[0], dict):
            return self._reader.images(octets(values, path), limit)[0][spec.name]
        return self._named.from_list(spec, _with_texts(values), path)

    def scores(self, outputs: Arrays) -> Array:
        """Rows × classes: probabilities, or scores where the model gives no probabilities."""
        classes, names = self._signature.classes, list(outputs)
        form = form_of(self._signature, self._warm[names[0]]) if classes and len(names) == 1 else "numbers"
        if form in {"scores", "labels"}:
            return outputs[names[0]]
        raise bad_request("this model does not give a score for each class", hint="ask :predict, or :regress")

    def classes(self, scores: Array) -> list[list[tuple[str, Any]]]:
        """Per row, each class with its score."""
        names = self._signature.classes
        return [list(zip(names, row.tolist(), strict=True)) for row in scores]

    def numbers(self, outputs: Arrays) -> list[float]:
        """One number per row."""
        arrays = list(outputs.values())
        if len(arrays) != 1 or self._signature.classes or arrays[0].size != len(arrays[0]):
            raise bad_request(
                "this model does not answer with one number per example", hint="ask :predict, or :classify"
            )
        found: list[float] = arrays[0].reshape(-1).tolist()
        return found

    def _unnamed(self, rows: list[Any]) -> list[Any]:
        """Instances of a model with one input, without the input's name that they may have."""
        name = self._named.names[0]
        if not all(isinstance(each, dict) and each.keys() == {name} for each in rows):
            return rows
        return [each[name] for each in rows]


class V1Dialect:
    """`/v1/models/…`; a request may name a version that is released, or the label `stable` for the live one."""

    name = "v1"
    prefixes: tuple[str, ...] = ("/v1/", "/v1")

    def __init__(self, predictors: Predictors) -> None:
        self._predictors = predictors
        self._model = f"/v1/models/{predictors.name}"

    def fixed(self) -> Mapping[str, Route]:
        """Those of the live release."""
        live = {self._model + end: self._route(end, self._predictors.live, "") for end in ("", "/metadata", *VERBS)}
        return {"/v1/models": Route("/v1/models", {"GET": self.models}), **live}

    def find(self, path: str) -> Route | None:
        """The routes of a version, or of a label."""
        if not path.startswith("/v1/models/"):
            return None
        name, rest = _split(path.removeprefix("/v1/models/"), self._predictors.name)
        if name != self._predictors.name:
            raise Refused(
                404, f"model {name[:80]!r} is not served here", hint=f"this API serves {self._predictors.name}"
            )
        found = CHOICE.fullmatch(rest)
        if not found or (found["end"].startswith(":") and found["end"] not in VERBS):
            return None
        if found["version"]:
            number = int(found["version"])
            return self._route(found["end"], lambda call: self._predictors.version(number, call), "/versions/{version}")
        if found["label"] not in {None, "stable"}:
            raise Refused(404, f"{found['label'][:80]!r}: there is no such label", hint="stable is what is live")
        return self._route(found["end"], self._predictors.live, "/labels/{label}")

    def refuse(self, refusal: Refusal) -> Answer:
        """`{"error": …}`, with the hint in it."""
        return Answer(orjson.dumps({"error": refusal.text}), status=refusal.status)

    def models(self, call: Call) -> Answer:
        """The one model, as KServe lists it."""
        del call
        return Answer(orjson.dumps({"models": [self._predictors.name]}))

    def _route(self, end: str, choose: Callable[[Call], Predictor], place: str) -> Route:
        if end in VERBS:
            verb = VERBS[end]
            return Route(MODEL + place + end, {"POST": lambda call: verb(call, choose(call))})
        shown = self._metadata if end else self._status
        return Route(MODEL + place + end, {"GET": lambda call: shown(choose(call).model)})

    def _status(self, model: Model) -> Answer:
        """For TensorFlow Serving's users, and `ready` for KServe's client."""
        status = {"error_code": "OK", "error_message": ""}
        one = {"version": str(model.manifest.version), "state": "AVAILABLE", "status": status}
        return Answer(orjson.dumps({"name": self._predictors.name, "ready": True, "model_version_status": [one]}))

    def _metadata(self, model: Model) -> Answer:
        spec = {"name": self._predictors.name, "signature_name": "", "version": str(model.manifest.version)}
        signature = {
            "inputs": {each.name: _tensor_info(each) for each in model.signature.inputs},
            "outputs": {each.name: _tensor_info(each) for each in model.signature.outputs},
            "method_name": "tensorflow/serving/predict",
        }
        metadata = {"signature_def": {"signature_def": {SIGNATURE: signature}}}
        return Answer(orjson.dumps({"model_spec": spec, "metadata": metadata}))


def _predict(call: Call, predictor: Predictor) -> Answer:
    """Row by row with `instances`, by output with `inputs`."""
    codec, body = predictor.codec(V1Codec), unpacked_body(call.environ, call.limits)
    with one_at_a_time(len(body) > LARGE):
        asked = _parsed(body, ("instances", "inputs"), SEND)
        if ("instances" in asked) == ("inputs" in asked):
            raise bad_request("instances, inputs: one of them is expected, and not both", hint=SEND)
        by_row = "instances" in asked
        read = codec.instances if by_row else codec.inputs
        inputs, rows = read(asked["instances" if by_row else "inputs"], call.limits.instances)
    outputs = {name: numbers(array) for name, array in _run(call, predictor, inputs, rows, "instances").items()}
    only = next(iter(outputs.values())) if len(outputs) == 1 else None
    if not by_row:
        return _answer({"outputs": outputs if only is None else only})
    if only is not None:
        return _answer({"predictions": only})
    return _answer(
        {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}
    )


def _classify(call: Call, predictor: Predictor) -> Answer:
    codec = predictor.codec(V1Codec)
    outputs = _examples(call, predictor, codec)
    found = call.predicted.probabilities if call.predicted else None
    return _answer({"results": codec.classes(codec.scores(outputs) if found is None else found)})


def _regress(call: Call, predictor: Predictor) -> Answer:
    codec = predictor.codec(V1Codec)
    return _answer({"results": codec.numbers(_examples(call, predictor, codec))})


VERBS: dict[str, Callable[[Call, Predictor], Answer]] = {
    ":predict": _predict,
    ":classify": _classify,
    ":regress": _regress,
}


def _examples(call: Call, predictor: Predictor, codec: V1Codec) -> dict[str, Array]:
    body = unpacked_body(call.environ, call.limits)
    with one_at_a_time(len(body) > LARGE):
        asked = _parsed(body, ("examples", "context"), EXAMPLES)
        examples, context = asked.get("examples"), asked.get("context", {})
        if not isinstance(examples, list) or not examples or not all(isinstance(each, dict) for each in examples):
            raise bad_request("examples: a list of objects is expected", hint=EXAMPLES)
        if not isinstance(context, dict):
            raise bad_request(
                f"context: {show(context)}, an object is expected", hint="it holds what all examples share"
            )
        if len(examples) > call.limits.instances:  # before each gets a copy of the context
            raise Refused(413, f"{len(examples)} examples, {call.limits.instances} are allowed in one request")
        inputs, rows = codec.instances([context | each for each in examples], call.limits.instances)
    return _run(call, predictor, inputs, rows, "examples")


def _parsed(body: bytes, keys: tuple[str, str], hint: str) -> dict[str, Any]:
    asked = parsed_object(body, hint)
    name = asked.pop("signature_name", SIGNATURE)
    if name not in {"", SIGNATURE}:
        raise bad_request(
            f"signature_name: {show(name)}: there is no such signature", hint=f"the only one is {SIGNATURE}"
        )
    for each in asked:
        if each not in keys:
            raise bad_request(f"{each:.80}: not known", hint=hint)
    return asked


def _run(call: Call, predictor: Predictor, inputs: dict[str, Array], rows: int, where: str) -> dict[str, Array]:
    try:
        return call.predict(predictor, inputs, rows)
    except RowError as error:
        raise bad_request(f"{where}[{error.row}]: {error}") from error


def _split(rest: str, known: str) -> tuple[str, str]:
    """The model's name, and what comes behind it."""
    if rest.startswith(known) and rest[len(known) : len(known) + 1] in {"", "/", ":"}:
        return known, rest[len(known) :]
    name = re.split("[/:]", rest, maxsplit=1)[0]
    return name, rest[len(name) :]


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


def _with_texts(rows: list[Any]) -> list[Any]:
    """The rows with `{"b64": …}` as the text that it holds."""
    found: list[Any] = []
    for i, each in enumerate(rows):
        if isinstance(each, dict) and each.keys() == {"b64"}:
            found.append(_text(each, f"[{i}]"))
        elif isinstance(each, dict):
            found.append({name: _text(value, f"[{i}].{name}") for name, value in each.items()})
        else:
            found.append(each)
    return found


def _text(value: Any, path: str) -> Any:
    if not (isinstance(value, dict) and value.keys() == {"b64"}):
        return value
    try:
        return octets_of(value, path).decode()
    except UnicodeDecodeError:
        raise bad_request(f"{path}.b64: the bytes are not UTF-8, and the model takes texts") from None


def _tensor_info(spec: Any) -> dict[str, Any]:
    sizes = [{"size": "-1" if each is None else str(each), "name": ""} for each in spec.shape]
    shape = {"dim": sizes, "unknown_rank": False}
    return {"dtype": TYPES.get(spec.dtype, "DT_INVALID"), "tensor_shape": shape, "name": ""}
