"""The dialect of `POST /predict`: `{"instances": [...]}`, image files, CSV, Parquet, Arrow or `.npy` in, `{"predictions": [...]}`
out, or Arrow or `.npy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from serving.calls import JSON, Answer, Call, Limits
from serving.engines.base import Arrays
from serving.errors import bad_request
from serving.model import Model, RowError
from serving.predictors import Predictors
from serving.protocols import frames, pages, write_frames
from serving.protocols.base import Refusal, Route
from serving.protocols.body import read_inputs, unpacked_body
from serving.protocols.frames import FrameReader
from serving.protocols.read_instances import Reader
from serving.protocols.write_predictions import Writer


class InstancesCodec:
    """Reads and writes for one model; raises Corrupt for a signature whose inputs cannot be sent in a request."""

    def __init__(self, model: Model) -> None:
        self.reader = Reader(model.signature, model.data)
        self.frames = FrameReader(self.reader)
        self.writer = Writer(model.signature, model.warm_outputs, as_json=True)
        self._data = model.data

    def describe(self, identity: Mapping[str, Any], sample: Arrays, url: str, limits: Limits) -> pages.Page:
        """The page of `GET /`: what the model is (`identity`: name, version, release, …), takes and returns, with commands
        that work. `sample`: one made-up row. `url`: the API's own."""
        return pages.describe(identity, self.reader, self._data, sample, url, limits)

    def example(self, sample: Arrays) -> tuple[bytes, str]:
        """The body of `GET /example`, and its content type: a PNG file for an image model, else JSON."""
        return pages.example_body(self.reader, sample)


class InstancesDialect:
    """`POST /predict`."""

    name = "instances"
    prefixes: tuple[str, ...] = ("/predict",)

    def __init__(self, predictors: Predictors) -> None:
        self._predictors = predictors

    def fixed(self) -> Mapping[str, Route]:
        """The one path that there is."""
        return {"/predict": Route("/predict", {"POST": self.predict})}

    def find(self, path: str) -> None:
        """There is no other."""
        del path

    def refuse(self, refusal: Refusal) -> Answer:
        """`{"error": …, "hint": …, "request_id": …}`."""
        return plain_refusal(refusal)

    def predict(self, call: Call) -> Answer:
        """One prediction per instance; raises Refused, or Werkzeug's HTTPException for 400 and 413."""
        predictor = self._predictors.live(call)
        codec = predictor.codec(InstancesCodec)
        kind = frames.content_type(call.environ)[0]
        if kind in frames.KINDS:
            inputs, rows = codec.frames.read(kind, unpacked_body(call.environ, call.limits), call.limits.instances)
        else:
            inputs, rows = read_inputs(call.environ, codec.reader, call.limits)
        try:
            outputs = call.predict(predictor, inputs, rows)
        except RowError as error:
            raise bad_request(f"instances[{error.row}]: {error}") from error
        wanted = write_frames.chosen(call.environ)
        if wanted != JSON and call.predicted:
            return write_frames.written(wanted, call.predicted)
        model = predictor.model
        body = {
            "model": model.manifest.model,
            "version": model.manifest.version,
            "release": model.release,
            "request_id": call.request_id,
            "predictions": codec.writer.write(outputs),
        }
        return Answer(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


def plain_refusal(refusal: Refusal) -> Answer:
    """The error of `/predict` and of the pages, as JSON."""
    hint = {"hint": refusal.hint} if refusal.hint else {}
    body = {"error": refusal.message} | hint | {"request_id": refusal.request_id}
    return Answer(orjson.dumps(body), status=refusal.status)
