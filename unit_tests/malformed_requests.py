"""Requests that the API must refuse, made from one good sample: each has one error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.records import Signature
from unit_tests.client import body, plain

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class MalformedRequest:
    """One request to `/predict`, and what is wrong with it."""

    error: str
    body: bytes
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def malformed_requests(signature: Signature, sample: Any, image: bytes | None) -> Iterator[MalformedRequest]:
    """All bad requests for a model with this signature; `sample` and `image` are good ones."""
    good = plain(sample)
    text = json.dumps(good)
    yield MalformedRequest("an empty body", b"")
    yield MalformedRequest("a body that is not JSON", body([text])[:-1])
    yield MalformedRequest("JSON that is not an object", f"[{text}]".encode())
    yield MalformedRequest('a body without "instances"', json.dumps({"samples": [good]}).encode())
    yield MalformedRequest("an empty list of samples", body([]))
    yield MalformedRequest("null for a sample", body(["null"]))
    yield MalformedRequest("a content type that is not taken", body([text]), "application/xml")
    yield MalformedRequest("a compressed body", body([text]), headers={"Content-Encoding": "br"})
    values = _named(signature, good) if isinstance(good, dict) else _unnamed(signature, good)
    yield from (MalformedRequest(error, body([value])) for error, value in values)
    if image:
        yield MalformedRequest("an image that is cut off", image[: len(image) // 2], "image/png")
        yield MalformedRequest("a file that is not an image", b"GIF89a" + image, "image/png")
        resized = signature.preparation is not None and signature.preparation.resize is not None
        if None not in signature.inputs[0].shape[1:3] and not resized:
            yield MalformedRequest("an image of another size", _image_of_another_size(signature), "image/png")


def _named(signature: Signature, good: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Errors in a name, or in the first value of each kind."""
    first = next(iter(good))
    what = "column" if signature.kind == "table" else "input"
    yield f"a sample without its {what} {first}", json.dumps({k: v for k, v in good.items() if k != first})
    yield f"a {what} that the model does not have", json.dumps(good | {"no such name": 1})
    if needed := next((each.name for each in signature.inputs if not each.may_miss and each.name in good), None):
        yield f"null for {needed}", json.dumps(good | {needed: None})
    yield f"an object for {first}", json.dumps(good | {first: {"a": 1}})
    texts = [each.name for each in signature.inputs if each.dtype == "string"]
    numbers = [each.name for each in signature.inputs if each.dtype not in {"string", "bool"}]
    for name in texts[:1]:
        yield f"a number for the text {name}", json.dumps(good | {name: 1.5})
    for name in numbers[:1]:
        yield f"text for the number {name}", json.dumps(good | {name: "a word"})
        yield f"NaN for {name}", json.dumps(good | {name: float("nan")})
        yield f"a ragged list for {name}", json.dumps(good | {name: [1, 2, [3]]})


def _unnamed(signature: Signature, good: Any) -> Iterator[tuple[str, str]]:
    """Errors in an array of values."""
    spec = signature.inputs[0]
    yield "one dimension too many", json.dumps([good])
    if isinstance(good, list) and len(good) > 1:
        if spec.shape[1] is not None:
            yield "a wrong shape", json.dumps(good[:-1])
        yield "rows of different lengths", json.dumps([*good[:-1], []])
    if spec.dtype == "string":
        yield "a number for text", json.dumps(_with_first(good, 1.5))
        return
    yield "text for a number", json.dumps(_with_first(good, "a word"))
    yield "null for a number", json.dumps(_with_first(good, None))
    yield "NaN for a number", json.dumps(_with_first(good, float("nan")))
    yield "infinity for a number", json.dumps(_with_first(good, float("inf")))
    if spec.high is not None:
        yield "a number that is too large", json.dumps(_with_first(good, spec.high + 1))


def _with_first(good: Any, value: Any) -> Any:
    """The same nested list with another first value."""
    return [_with_first(good[0], value), *good[1:]] if isinstance(good, list) else value


def _image_of_another_size(signature: Signature) -> bytes:
    from io import BytesIO

    from PIL import Image

    height, width = (each or 0 for each in signature.inputs[0].shape[1:3])
    file = BytesIO()
    Image.new(signature.image_mode or "L", (width + 1, height + 1)).save(file, "PNG")
    return file.getvalue()
