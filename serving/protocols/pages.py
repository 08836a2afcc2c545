"""What `GET /` says about the model, as facts and as a small page without script, and the body of `GET /example`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import orjson

from registry.records import TensorSpec
from serving.model import Model, example
from serving.protocols.fields import Field, number_text

HOST = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+")
"""What may stand in a line for a shell; the rest of a Host header may not."""


@dataclass(frozen=True, slots=True)
class Page:
    """The same twice: for programs and for people."""

    facts: dict[str, Any]
    html: str


def describe(model: Model, url: str, max_body: int, max_instances: int) -> Page:
    """What the model is, what it takes, what it answers, and lines for curl that work."""
    card, signature = model.card, model.signature
    url = url if HOST.fullmatch(url) else "http://127.0.0.1"
    curl = [f"curl -s {url}/example | curl -s --data-binary @- {url}/predict"]
    if signature.kind == "image":
        curl.append(f"curl -s --data-binary @picture.png {url}/predict")
    facts = {
        "model": card.model,
        "version": card.version,
        "release": model.release,
        "card": model.digest,
        "task": signature.task,
        "kind": signature.kind,
        "engine": card.served.engine,
        "inputs": [_input(model, field) for field in model.reader.fields],
        "outputs": [{"name": each.name, "shape": each.shape, "dtype": each.dtype} for each in signature.outputs],
        "classes": signature.classes,
        "target": signature.target,
        "send": _send(model),
        "curl": curl,
        "limits": {"body_bytes": max_body, "instances": max_instances},
        "pages": [
            "POST /predict",
            "GET /example",
            "GET /version",
            "GET /health/live",
            "GET /health/ready",
            "GET /metrics",
        ],
    }
    return Page(facts, _html(facts))


def example_body(model: Model) -> tuple[bytes, str]:
    """A body for `/predict` with one made-up sample, and its content type: a plain picture, or JSON."""
    sample = example(model.signature, model.data)
    if model.signature.kind == "image" and not model.reader.named:
        return _picture(sample[model.signature.inputs[0].name][0], model.reader.picture_mode()), "image/png"
    rows = {spec.name: _plain(spec, sample[spec.name]) for spec in model.signature.inputs}
    row = rows if model.reader.named else next(iter(rows.values()))
    return orjson.dumps({"instances": [row]}) + b"\n", "application/json"


def _plain(spec: TensorSpec, array: Any) -> Any:
    return array[0].tolist()[0] if spec.shape[1:] == (1,) else array[0].tolist()


def _picture(pixels: Any, mode: str) -> bytes:
    from PIL import Image

    array = np.asarray(pixels, dtype=np.uint8)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert(mode)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _input(model: Model, field: Field) -> dict[str, Any]:
    column = next((each for each in (model.data.columns if model.data else ()) if each.name == field.name), None)
    facts: dict[str, Any] = {"name": field.name, "shape": field.shape, "dtype": field.dtype}
    if field.dtype not in {"string", "bool"}:
        facts |= {"low": field.low, "high": field.high}
    if column and column.kind == "categorical":
        facts["known_values"] = column.vocabulary[:100]
    return facts


def _send(model: Model) -> str:
    names = ", ".join(f'"{field.name}": …' for field in model.reader.fields)
    if model.signature.kind == "image" and not model.reader.named:
        return (
            f'{model.reader.picture_text()} as the body or in a form; or JSON {{"instances": [rows of pixels 0-255]}}'
        )
    if model.reader.named:
        return f'JSON {{"instances": [{{{names}}}]}}'
    return 'JSON {"instances": [[…], …]}'


def _html(facts: dict[str, Any]) -> str:
    title = escape(f"{facts['model']}, version {facts['version']}")
    release = "a candidate on trial" if facts["release"] is None else f"release {facts['release']}"
    inputs = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{escape(each['dtype'])}</td><td>{_shape(each['shape'])}</td>"
        f"<td>{escape(_range(each))}</td></tr>"
        for each in facts["inputs"]
    )
    classes = f"<p>Classes: {escape(', '.join(facts['classes']))}</p>" if facts["classes"] else ""
    lines = "".join(f"<pre>{escape(line)}</pre>" for line in facts["curl"])
    pages = "".join(f"<li>{_page(each)}</li>" for each in facts["pages"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        f"<p>{escape(facts['task'])}, {release}, engine {escape(facts['engine'])}</p>"
        f"<h2>Try it</h2>{lines}<p>Send {escape(facts['send'])}</p>"
        f"<h2>Inputs</h2><table><tr><th>name<th>dtype<th>shape<th>values</tr>{inputs}</table>{classes}"
        f"<h2>Pages</h2><ul>{pages}</ul></html>\n"
    )


def _page(text: str) -> str:
    verb, _, path = text.partition(" ")
    return f'GET <a href="{path}">{path}</a>' if verb == "GET" else escape(text)


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if each is None else str(each) for each in shape) or "one value"


def _range(facts: dict[str, Any]) -> str:
    if "known_values" in facts:
        return ", ".join(facts["known_values"])
    return f"{number_text(facts['low'])} to {number_text(facts['high'])}" if "low" in facts else ""
