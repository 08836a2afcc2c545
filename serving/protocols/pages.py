"""What `GET /` says about a model with this protocol, as JSON and as a small page without script; the body of `GET /example`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import orjson

from registry.records import TensorSpec
from serving.engines.base import Array, Arrays
from serving.protocols.base import Limits, Page
from serving.protocols.fields import Field, number_text
from serving.protocols.read_instances import Reader
from training.data.spec import DataSpec

URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(/[A-Za-z0-9._~\-/]*)?")
"""All of a Host header, and of a proxy's path prefix, that is safe to show in a command for a shell."""


def describe(identity: Mapping[str, Any], reader: Reader, data: DataSpec | None, url: str, limits: Limits) -> Page:
    """What the model is (`identity`: name, version, release, …), takes and returns, with curl commands that work.

    `data`: the dataset that it was trained on, for the known values of categorical columns. `url`: the API's own.
    """
    signature = reader.signature
    url = url if URL.fullmatch(url) else "http://127.0.0.1"
    curl = [f"curl -s {url}/example | curl -s --data-binary @- {url}/predict"]
    if signature.kind == "image":
        curl.append(f"curl -s --data-binary @image.png {url}/predict")
    facts = {
        **identity,
        "task": signature.task,
        "kind": signature.kind,
        "inputs": [_input(field, data) for field in reader.fields],
        "outputs": [{"name": each.name, "shape": each.shape, "dtype": each.dtype} for each in signature.outputs],
        "classes": signature.classes,
        "target": signature.target,
        "send": _send(reader),
        "curl": curl,
        "limits": {"body_bytes": limits.body, "instances": limits.instances},
        "pages": [
            "POST /predict",
            "GET /example",
            "GET /version",
            "GET /health/live",
            "GET /health/ready",
        ],
    }
    return Page(facts, _html(facts))


def example_body(reader: Reader, sample: Arrays) -> tuple[bytes, str]:
    """A body for `/predict` with the one row of `sample`, and its content type: a PNG file, or JSON."""
    signature = reader.signature
    if signature.kind == "image" and not reader.named:
        return _png(sample[signature.inputs[0].name][0], reader.image_mode()), "image/png"
    rows = {spec.name: _plain(spec, sample[spec.name]) for spec in signature.inputs}
    row = rows if reader.named else next(iter(rows.values()))
    return orjson.dumps({"instances": [row]}) + b"\n", "application/json"


def _plain(spec: TensorSpec, array: Array) -> Any:
    return array[0].tolist()[0] if spec.shape[1:] == (1,) else array[0].tolist()


def _png(pixels: Array, mode: str) -> bytes:
    from PIL import Image

    array = np.asarray(pixels, dtype=np.uint8)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert(mode)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _input(field: Field, data: DataSpec | None) -> dict[str, Any]:
    column = next((each for each in (data.columns if data else ()) if each.name == field.name), None)
    facts: dict[str, Any] = {"name": field.name, "shape": field.shape, "dtype": field.dtype}
    if field.dtype not in {"string", "bool"}:
        facts |= {"low": field.low, "high": field.high}
    if column and column.kind == "categorical":
        facts["known_values"] = column.vocabulary[:100]
    return facts


def _send(reader: Reader) -> str:
    names = ", ".join(f'"{field.name}": …' for field in reader.fields)
    if reader.signature.kind == "image" and not reader.named:
        return f'{reader.image_text()} as the body or in a form; or JSON {{"instances": [rows of pixels 0-255]}}'
    if reader.named:
        return f'JSON {{"instances": [{{{names}}}]}}'
    return 'JSON {"instances": [[…], …]}'


def _html(facts: dict[str, Any]) -> str:
    title = escape(f"{facts['model']}, version {facts['version']}")
    release = "a candidate in an acceptance test" if facts["release"] is None else f"release {facts['release']}"
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
