"""A model speaks whatever dialect it is given: here lines of numbers."""

from io import BytesIO

import numpy as np
import pytest

from serving.calls import Answer, Call, Limits
from serving.errors import Refused
from serving.metrics.counters import CountedRequest
from serving.model import RowError
from serving.predictor import Predictor
from serving.predictors import Predictors
from serving.protocols.base import Route, Routes

LIMITS = Limits(body=1000, instances=10)


class Lines:
    """A Dialect for models of whole numbers: `1 2 3 4` per line in, the winning score per line out."""

    name, prefixes = "lines", ("/lines",)

    def __init__(self, predictors):
        self._predictors = predictors

    def fixed(self):
        return {"/lines": Route("/lines", {"POST": self.post})}

    def find(self, path):
        return None

    def refuse(self, refusal):
        return Answer(f"{refusal.status} {refusal.message}".encode(), "text/plain", refusal.status)

    def post(self, call):
        predictor = self._predictors.live(call)
        rows = [line.split() for line in call.environ["wsgi.input"].read(call.limits.body).decode().splitlines()]
        try:
            outputs = call.predict(predictor, {"words": np.array(rows, np.int32)}, len(rows))
        except RowError as error:
            raise Refused(422, f"line {error.row + 1}: {error}") from error
        return Answer("\n".join(str(row.max()) for row in outputs["probability"]).encode(), "text/plain")


class Held:
    error = ""

    def __init__(self, predictor):
        self.current = predictor


@pytest.fixture
def ask(loaded):
    """Posts lines, and gives the answer and the call."""
    routes = Routes([Lines(Predictors(Held(Predictor(loaded("lookup"))), "m"))])

    def post(body):
        call = Call({"wsgi.input": BytesIO(body)}, LIMITS, "id", CountedRequest("/lines"), 0.0)
        _, route = routes.find("/lines")
        return route.handlers["POST"](call), call

    return post


def test_another_dialect_reads_and_writes(ask):
    first, second = ask(b"1 2 3 4\n4 3 2 1\n")[0].body.split()
    assert float(first) == pytest.approx(float(second))


def test_the_first_failing_row_is_refused_in_the_words_of_the_dialect(ask):
    with pytest.raises(Refused, match="line 2: the model cannot take this") as refused:
        ask(b"1 2 3 4\n1 2 3 99\n1 99 3 4\n")
    assert refused.value.status == 422


def test_a_call_keeps_what_the_model_was_asked_and_has_answered(ask):
    _, call = ask(b"1 2 3 4\n4 3 2 1\n")
    assert call.predicted.rows == call.counted.rows == 2
    assert call.predicted.inputs["words"].tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]
    assert call.predicted.outputs["probability"].shape[0] == 2
    assert call.environ["trainyard.version"] == call.predicted.model.manifest.version


def test_a_path_belongs_to_the_dialect_with_its_prefix():
    routes = Routes([Lines(None)])
    assert routes.dialect_of("/lines/other").name == "lines"
    assert routes.dialect_of("/predict") is None
    assert routes.find("/lines/other") is None
