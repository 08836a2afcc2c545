"""Whether a report fits what was answered. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from registry.records.labels import Label, LabelSource
from serving.feedback.items import Invalid, Item, texts
from serving.prediction_log.find import Found

NUMBERS = {"int", "float", "double"}


def label_for(item: Item, found: Found, source: LabelSource) -> Label:
    """The label to keep of a report about a request that the log has as `found`; raises Invalid, of any status."""
    if found.state == "unknown":
        hint = "a request is known about a second after its answer; of a share of all requests only those that are kept"
        raise Invalid(404, f"request_id: {item.request}: there is no such answer", hint=hint)
    if found.state == "gone":
        raise gone(item.request)
    if found.state == "refused":
        raise Invalid(409, f"request_id: {item.request}: this request was refused, and has no prediction")
    row = item.row
    if row is None:
        if found.rows > 1:
            raise Invalid(400, f"row: is missing: the request had {found.rows} instances", hint="from 0")
        row = 0
    if row >= found.rows:
        raise Invalid(
            422, f"row: {row}: the request had {found.rows} instance{'s' if found.rows > 1 else ''}", hint="from 0"
        )
    value = "" if item.label is None else value_of(item.label, found.about or {})
    return Label(item.request, row, value, item.correct, item.by, item.at, source, item.sure)


def gone(request: str) -> Invalid:
    """Why nothing can be said of an answer that was kept once."""
    return Invalid(410, f"request_id: {request}: this answer is not kept any more")


def value_of(label: str | float, about: Mapping[str, Any]) -> str:
    """A label as it is kept: a class of the version that has answered, or a number. `about` is the header of its segment;
    one of an earlier version of Trainyard does not say what it could be. Raises Invalid."""
    classes = about.get("classes")
    if classes is None:
        return label if isinstance(label, str) else _number(label)
    if classes:
        for each in [label] if isinstance(label, str) else _names(label):
            if each in classes:
                return each
        hint = f"version {about.get('version')} knows {texts(classes)}"
        raise Invalid(422, f"label: {label!r} is not a class of the version that has answered", hint=hint)
    if about.get("labels"):
        why = "label: the model that has answered gives any number of labels, and one of them is not an answer"
        raise Invalid(422, why, hint='say "correct": true where every label was right, else false')
    outputs = about.get("outputs") or {}
    types = [each.get("type") for each in outputs.values()]
    if len(types) > 1 or any(each not in {*NUMBERS, "text"} for each in types):
        raise Invalid(422, "label: the model answers with more than one number", hint='say "correct": true or false')
    if types == ["text"]:
        return label if isinstance(label, str) else _number(label)
    if isinstance(label, str):
        raise Invalid(422, f"label: {label!r} is a text; the answer is a number")
    return _number(label)


def _number(label: float) -> str:
    return json.dumps(label)


def _names(label: float) -> list[str]:
    """How a class may be called that a client sends as a number."""
    whole = [str(int(label))] if float(label).is_integer() else []
    return [_number(label), *whole]
