"""MLflow's scoring protocol: `POST /invocations`, `/ping` and `/health`. `/version` is the page that there is: its client
takes any text.

The numbers are those that `mlflow models serve` gives for the same version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from serving.calls import Answer, Call
from serving.engines.base import Array
from serving.errors import Refused, bad_request, show
from serving.model import Model, RowError
from serving.predictors import Predictors
from serving.protocols import frames
from serving.protocols.base import Refusal, Route
from serving.protocols.body import parsed_object, unpacked_body
from serving.protocols.large import LARGE, one_at_a_time
from serving.protocols.v1 import V1Codec
from serving.protocols.write_predictions import numbers

KEYS = ("dataframe_split", "dataframe_records", "instances", "inputs")
SEND = f"send JSON with one of {', '.join(KEYS)}; or CSV, or Parquet, with its Content-Type"


class MlflowCodec(V1Codec):
    """Reads for one model; raises Refused."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.frames = frames.FrameReader(self._reader)

    def read(self, call: Call) -> tuple[dict[str, Array], int]:
        """Inputs by name and the number of rows."""
        kind, parameters = frames.content_type(call.environ)
        body = unpacked_body(call.environ, call.limits)
        if kind in frames.KINDS and kind != frames.ARROW:
            return self.frames.read(kind, body, call.limits.instances)
        if kind not in {"application/json", ""} or parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise Refused(415, f"Content-Type {call.environ.get('CONTENT_TYPE', '')[:80]!r} is not taken", hint=SEND)
        with one_at_a_time(len(body) > LARGE):
            return self._from_json(parsed_object(body, SEND), call.limits.instances)

    def _from_json(self, asked: dict[str, Any], limit: int) -> tuple[dict[str, Array], int]:
        if asked.get("params"):
            raise bad_request("params: this model takes none", hint="leave them away")
        given = [each for each in KEYS if each in asked]
        if len(given) != 1:
            raise bad_request(
                f"the body has {' and '.join(given) or 'none'} of {', '.join(KEYS)}", hint="send exactly one"
            )
        value = asked[given[0]]
        if given[0] == "instances":
            return self.instances(value, limit)
        if given[0] == "inputs":
            return self.inputs(value, limit)
        if given[0] == "dataframe_records":
            if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
                raise bad_request("dataframe_records: a list of objects is expected")
            return self.instances(value, limit)
        return self._split(value, limit)

    def _split(self, value: Any, limit: int) -> tuple[dict[str, Array], int]:
        """`{"columns": [...], "data": [[...], ...]}`; an index is not an input."""
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise bad_request("dataframe_split: an object with columns and data is expected")
        columns, data = value.get("columns"), value["data"]
        if not self._reader.named:
            return self.instances(data, limit)
        if not isinstance(columns, list) or not all(isinstance(each, str) for each in columns):
            raise bad_request("dataframe_split.columns: a list of names is expected")
        if len(set(columns)) < len(columns):
            raise bad_request("dataframe_split.columns: a name is there twice")
        for i, row in enumerate(data):
            if not isinstance(row, list) or len(row) != len(columns):
                found = f"{len(row)} values" if isinstance(row, list) else show(row)
                raise bad_request(f"dataframe_split.data[{i}]: {found}, {len(columns)} values are expected")
        return self.inputs({name: [row[i] for row in data] for i, name in enumerate(columns)}, limit)


class MlflowDialect:
    """For `mlflow`'s scoring client, and whatever asks an `mlflow models serve`."""

    name = "mlflow"
    prefixes: tuple[str, ...] = ("/invocations", "/ping")

    def __init__(self, predictors: Predictors) -> None:
        self._predictors = predictors

    def fixed(self) -> Mapping[str, Route]:
        """All that there are."""
        return {
            "/invocations": Route("/invocations", {"POST": self.invocations}),
            "/ping": Route("/ping", {"GET": self.ping}),
            "/health": Route("/health", {"GET": self.ping}),
        }

    def find(self, path: str) -> None:
        """There is no other."""
        del path

    def refuse(self, refusal: Refusal) -> Answer:
        """MLflow's shape, with the hint in the message."""
        codes = {400: "BAD_REQUEST", 404: "ENDPOINT_NOT_FOUND", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
        fallback = "INTERNAL_ERROR" if refusal.status == 500 else "INVALID_PARAMETER_VALUE"
        code = {429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}.get(refusal.status, fallback)
        body = {"error_code": codes.get(refusal.status, code), "message": refusal.text}
        return Answer(orjson.dumps(body), status=refusal.status)

    def ping(self, call: Call) -> Answer:
        """The process has a model; else 503."""
        self._predictors.live(call)
        return Answer(b"\n", "text/plain; charset=utf-8")

    def invocations(self, call: Call) -> Answer:
        """One prediction per row."""
        predictor = self._predictors.live(call)
        inputs, rows = predictor.codec(MlflowCodec).read(call)
        try:
            outputs = call.predict(predictor, inputs, rows)
        except RowError as error:
            raise bad_request(f"row {error.row}: {error}") from error
        found = {name: numbers(array) for name, array in outputs.items()}
        predictions = found if len(found) > 1 else next(iter(found.values()))
        return Answer(orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY))
