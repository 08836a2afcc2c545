"""Explanations: `POST /explain`, with the bodies of `/predict`, and `POST /v1/models/{model}:explain`, as KServe's clients ask."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qs

import orjson
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from serving.calls import JSON, Answer, Call
from serving.engines.base import Array
from serving.errors import Refused, bad_request
from serving.explain.explanation import Explainer, Explanation, Wanted
from serving.explain.heat_map import heat_map
from serving.explain.target import CannotExplain
from serving.model import Model, RowError
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.protocols import frames
from serving.protocols.base import Refusal, Route
from serving.protocols.body import read_inputs, unpacked_body
from serving.protocols.instances import InstancesCodec, plain_refusal

PNG = "image/png"
MOST_ROWS = 16
"""Rows of one request: each is as much work as hundreds of predictions."""
MODEL, VERSION = "/v1/models/{model}", re.compile(r"/versions/([0-9]{1,12}):explain")
QUERY = {"budget_ms", "class", "output", "target"}
LEAST_MS = 10


class ExplainCodec:
    """The explainer of one model. One request at a time is explained in a process: predictions do not wait for it."""

    def __init__(self, model: Model) -> None:
        self.explainer = Explainer(model.run, model.signature, model.data, model.warm_outputs)


class ExplainDialect:
    """`/explain`; the model's name is in the path for KServe's clients only, also with a version that is released."""

    name = "explain"

    def __init__(self, predictors: Predictors) -> None:
        self._predictors = predictors
        self._model = f"/v1/models/{predictors.name}"
        self.prefixes: tuple[str, ...] = ("/explain", f"{self._model}/versions/")
        self._one = threading.Lock()

    def fixed(self) -> Mapping[str, Route]:
        """All that there are."""
        return {
            "/explain": self._route("/explain", self._predictors.live),
            f"{self._model}:explain": self._route(f"{MODEL}:explain", self._predictors.live),
        }

    def find(self, path: str) -> Route | None:
        """That of a version."""
        found = VERSION.fullmatch(path.removeprefix(self._model)) if path.startswith(self._model) else None
        if not found:
            return None
        number = int(found[1])
        return self._route(f"{MODEL}/versions/{{version}}:explain", lambda call: self._predictors.version(number, call))

    def refuse(self, refusal: Refusal) -> Answer:
        """As `/predict`: KServe's client shows any error's text."""
        return plain_refusal(refusal)

    def _route(self, name: str, choose: Callable[[Call], Predictor]) -> Route:
        return Route(name, {"POST": lambda call: self.explain(call, choose(call))})

    def explain(self, call: Call, predictor: Predictor) -> Answer:
        """Why each row gets its answer; raises Refused."""
        wanted = _wanted(call)
        inputs, rows = _read(call, predictor)
        if rows > MOST_ROWS:
            raise Refused(
                413, f"{rows} instances, {MOST_ROWS} can be explained in one request", hint="send them in parts"
            )
        png = _wants_png(call)
        if png and rows > 1:
            raise Refused(406, "one image at a time has a heat map", hint=f"send one, or Accept: {JSON}")
        with self._turn():
            found = _explained(predictor, inputs, rows, wanted)
        if png:
            return _png(found[0], next(iter(inputs.values()))[0])
        model = predictor.model
        body = {
            "model": model.manifest.model,
            "version": model.manifest.version,
            "release": model.release,
            "request_id": call.request_id,
            "explanations": [each.entry() | {"ms": round(each.seconds * 1000, 1)} for each in found],
        }
        return Answer(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._one.acquire(blocking=False):  # waiting for it would keep a thread from predictions
            raise Refused(503, "another explanation is being made", hint="retry soon")
        try:
            yield
        finally:
            self._one.release()


def _wanted(call: Call) -> Wanted:
    try:
        given = parse_qs(call.environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise bad_request("the query has too many fields", hint=f"known: {', '.join(sorted(QUERY))}") from None
    for name, values in given.items():
        if name not in QUERY or len(values) > 1:
            raise bad_request(f"{name[:80]}: not known, or there twice", hint=f"known: {', '.join(sorted(QUERY))}")
    most = call.limits.explain_ms
    if not most:
        raise Refused(404, "this API explains nothing", hint="whoever runs it can set [serving] explain_ms")
    text = given.get("budget_ms", [str(most)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 9 and LEAST_MS <= int(text) <= most):
        raise bad_request(f"budget_ms: {text[:40]!r}", hint=f"milliseconds, {LEAST_MS} to {most}")
    if "class" in given and "target" in given:
        raise bad_request("class, target: one of them is expected, and not both")
    name = given.get("target", given.get("class", [""]))[0]
    return Wanted(int(text) / 1000, given.get("output", [""])[0], name)


def _explained(predictor: Predictor, inputs: dict[str, Array], rows: int, wanted: Wanted) -> list[Explanation]:
    """One explanation per row; raises Refused for rows that the model cannot take, or that cannot be explained."""
    try:
        predictor.model.run(inputs, rows)  # an error of an altered row later on is not one of the client's
    except RowError as error:
        raise bad_request(f"instances[{error.row}]: {error}") from error
    try:
        return predictor.codec(ExplainCodec).explainer(inputs, rows, wanted)
    except CannotExplain as error:
        raise bad_request(str(error), hint=error.hint) from None
    except RowError as error:
        raise bad_request(
            f"the model has no answer for a row like these: {error}", hint="it cannot be explained"
        ) from error


def _read(call: Call, predictor: Predictor) -> tuple[dict[str, Array], int]:
    codec = predictor.codec(InstancesCodec)
    kind = frames.content_type(call.environ)[0]
    if kind in frames.KINDS:
        return codec.frames.read(kind, unpacked_body(call.environ, call.limits), call.limits.instances)
    return read_inputs(call.environ, codec.reader, call.limits)


def _wants_png(call: Call) -> bool:
    accept = call.environ.get("HTTP_ACCEPT", "")
    return PNG in accept and parse_accept_header(accept, MIMEAccept).best_match([JSON, PNG], JSON) == PNG


def _png(found: Explanation, image: Array) -> Answer:
    if found.heat is None:
        raise Refused(406, "this explanation has no image", hint=f"Accept: {JSON}")
    about = (
        ((f"X-Explained-{found.target.kind.capitalize()}", found.target.name),)
        if found.target.name.isascii() and found.target.name.isprintable()
        else ()
    )
    return Answer(heat_map(image, found.heat), PNG, headers=about)
