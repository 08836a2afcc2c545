"""Lines of the prediction log, and the header of a segment, from what was answered. Pure: no files, no clock.

Many answers of one model are written at once: NumPy computes their features in one go. docs/reference/prediction-log.md is
the contract for readers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import orjson

from serving.engines.base import Array, Arrays
from serving.model import Model
from serving.prediction_log.features import rounded
from serving.prediction_log.rules import Plan
from serving.prediction_log.values import (
    MOST_NAME,
    Type,
    best,
    field_types,
    input_columns,
    objects,
    one_of,
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
    classes = {"classes": short_names(one_of(model.signature))} if model else {}
    if model and model.signature.task == "multi-label":
        classes["labels"] = short_names(model.signature.classes)
    return orjson.dumps(facts | types | classes, option=LINE)


def refused_line(answered: Answered, model: Model | None) -> bytes:
    """The line of a request without a prediction; `model` is the one that would have answered."""
    before, after = _Heads(_about(model)).of(answered)
    return b'%bnull%b"ms":%b}\n' % (before, after, orjson.dumps(round(answered.seconds * 1000, 2)))


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
        [each.probabilities for each in answers], [each.outputs for each in answers], one_of(model.signature)
    )
    seconds = np.repeat([each.seconds for each in answers], [each.rows for each in answers])
    fields: dict[str, list[Any]] = {"ms": rounded(seconds * 1000, 2), "class": names, "confidence": sure}
    fields |= {"outputs": objects(dict(outputs), at), "inputs": objects(dict(inputs), at)}
    rest = [orjson.dumps(each, option=LINE)[1:] for each in objects({k: v for k, v in fields.items() if v}, at)]
    heads, found = _Heads(_about(model)), list[bytes]()
    for each, first in places:
        before, after = heads.of(each)
        found += [b"%b%d%b%b" % (before, row, after, rest[first + row]) for row in range(each.rows)]
    return found


def _about(model: Model | None) -> dict[str, Any]:
    """What all lines of one model begin with."""
    if model is None:
        return {"model": None, "version": None, "release": None}
    return {"model": model.manifest.model, "version": model.manifest.version, "release": model.release}


class _Heads:
    """How the lines of requests to one model begin, in the order in which it compresses best. JSON that is written out: a dict
    for each request takes twice as long to make and to write."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._about = orjson.dumps(about)[:-1] + b',"id":'
        self._sources: dict[tuple[str, str], str] = {}

    def of(self, answered: Answered) -> tuple[bytes, bytes]:
        """What comes before the number of the row, and what comes behind it, up to the comma before the next field."""
        request_id, at, caller, protocol, status = answered[:5]
        second, ms = divmod(int(at * 1000), 1000)
        source = self._sources.get((caller, protocol))
        if source is None:
            source = self._sources[caller, protocol] = _source(caller, protocol)
        after = f',"time":"{_second(second)}.{ms:03d}Z","status":{status},{source}'
        return b'%b%b,"row":' % (self._about, orjson.dumps(request_id)), after.encode()


def _source(caller: str, protocol: str) -> str:
    """The fields that say who has asked, and how; those that are empty are left out."""
    given = {"caller": text(caller, MOST_NAME), "protocol": protocol}
    return "".join(f'"{name}":{orjson.dumps(value).decode()},' for name, value in given.items() if value)


@functools.lru_cache(maxsize=4)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()[:19]
