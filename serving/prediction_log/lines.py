"""Lines of the prediction log, and the header of a segment, from what was answered. Pure: no files, no clock.

Many answers of one model are written at once: NumPy computes their features in one go. docs/reference/prediction-log.md is
the contract for readers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from serving.engines.base import Array, Arrays
from serving.model import Model
from serving.prediction_log.rules import Plan
from serving.prediction_log.values import (
    MOST_NAME,
    Type,
    best,
    field_types,
    input_columns,
    output_columns,
    short_names,
    text,
)

FORMAT = 1
LINE = orjson.OPT_APPEND_NEWLINE
BASE: dict[str, Type] = {
    "id": "text",
    "row": "int",
    "time": "time",
    "model": "text",
    "version": "int",
    "release": "int",
    "caller": "text",
    "protocol": "text",
    "status": "int",
    "ms": "float",
    "class": "text",
    "confidence": "float",
}
"""The fields of each line, beside `inputs` and `outputs`."""


class Answered(NamedTuple):
    """A request that was answered, as its thread leaves it: references only. Nobody changes the arrays any more.

    A tuple, since it is made in the request's thread: a frozen dataclass takes three times as long to make.
    """

    request_id: str
    at: float
    """When it came, in seconds since 1970."""
    caller: str
    """The name of its token; empty: nobody in particular."""
    protocol: str
    status: int
    seconds: float
    """From its head to the answer."""
    model: Model | None = None
    """None: the request was refused, or there is no model."""
    inputs: Arrays | None = None
    rows: int = 0
    outputs: Arrays | None = None
    probabilities: Array | None = None
    """Rows × classes, where the outputs are a distribution."""
    size: int = 0
    """Bytes of its body, for the bound of the queue."""


def header(model: Model | None, plan: Plan) -> bytes:
    """The first line of a segment: which release its lines are about, and the fields of `inputs` and `outputs` with types."""
    facts: dict[str, Any] = {"prediction_log": FORMAT} | _about(model)
    types = field_types(model.signature, plan) if model else {"inputs": {}, "outputs": {}}
    classes = {"classes": short_names(model.signature.classes)} if model else {}
    return orjson.dumps(facts | types | classes, option=LINE)


def refused_line(answered: Answered, model: Model | None) -> bytes:
    """The line of a request without a prediction; `model` is the one that would have answered."""
    return orjson.dumps(_base(answered, _about(model)), option=LINE)


def lines(answers: Sequence[Answered], plan: Plan, key: bytes) -> list[bytes]:
    """A line per instance of all answers, which are of one model: inputs that are kept have one shape and dtype each."""
    model = answers[0].model
    assert model is not None
    places, at = [], 0
    for each in answers:
        places.append((each, at))
        at += each.rows
    inputs = input_columns(plan.inputs, [each.inputs or {} for each in answers], key)
    outputs = output_columns(plan.outputs, [each.outputs or {} for each in answers], key)
    names, sure = best(
        [each.probabilities for each in answers], [each.outputs for each in answers], model.signature.classes
    )
    about, found = _about(model), []
    for each, first in places:
        line = _base(each, about)
        for row in range(each.rows):
            place = first + row
            line["row"] = row
            if names:
                line["class"] = names[place]
            if sure:
                line["confidence"] = sure[place]
            line["outputs"] = {name: column[place] for name, column in outputs}
            line["inputs"] = {name: column[place] for name, column in inputs}
            found.append(orjson.dumps(line, option=LINE))
    return found


def _about(model: Model | None) -> dict[str, Any]:
    """What all lines of one model begin with."""
    if model is None:
        return {"model": None, "version": None, "release": None}
    return {"model": model.manifest.model, "version": model.manifest.version, "release": model.release}


def _base(answered: Answered, about: Mapping[str, Any]) -> dict[str, Any]:
    """What all lines of a request share, in the order in which it compresses best."""
    second, ms = divmod(int(answered.at * 1000), 1000)
    line = {
        **about,
        "id": answered.request_id,
        "row": None,
        "time": f"{_second(second)}.{ms:03d}Z",
        "status": answered.status,
    }
    if answered.caller:
        line["caller"] = text(answered.caller, MOST_NAME)
    if answered.protocol:
        line["protocol"] = answered.protocol
    line["ms"] = round(answered.seconds * 1000, 2)
    return line


@functools.lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:19]
