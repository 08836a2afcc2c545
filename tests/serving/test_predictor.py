"""A model speaks whatever protocol it is given: here lines of numbers."""

from io import BytesIO

import numpy as np
import pytest

from serving.predictor import Predictor
from serving.protocols.base import Limits
from serving.protocols.errors import Refused

LIMITS = Limits(body=1000, instances=10)


class Lines:
    """A PredictionProtocol for models of whole numbers: `1 2 3 4` per line in, the winning score per line out."""

    def read(self, environ, limits):
        rows = [line.split() for line in environ["wsgi.input"].read(limits.body).decode().splitlines()]
        return {"words": np.array(rows, np.int32)}, len(rows)

    def write(self, outputs):
        return [{"score": float(row.max())} for row in outputs["probability"]]

    def refuse_row(self, row, reason):
        return Refused(422, f"line {row + 1}: {reason}")


@pytest.fixture
def predictor(loaded):
    return Predictor(loaded("lookup"), Lines())


def test_another_protocol_reads_and_writes(predictor):
    found = predictor.predict({"wsgi.input": BytesIO(b"1 2 3 4\n4 3 2 1\n")}, LIMITS)
    assert found[0]["score"] == pytest.approx(found[1]["score"])


def test_the_first_failing_row_is_refused_in_the_words_of_the_protocol(predictor):
    with pytest.raises(Refused, match="line 2: the model cannot take this") as refused:
        predictor.predict({"wsgi.input": BytesIO(b"1 2 3 4\n1 2 3 99\n1 99 3 4\n")}, LIMITS)
    assert refused.value.status == 422
