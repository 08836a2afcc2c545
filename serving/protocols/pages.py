"""What `GET /` says about a model with this protocol; the body of `GET /example`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import orjson

from registry.records import TensorSpec
from serving.calls import Limits
from serving.engines.base import Array, Arrays
from serving.protocols.fields import Field
from serving.protocols.page_html import Form, page
from serving.protocols.read_instances import Reader
from training.data.spec import DataSpec

MOST_VALUES = 100
"""Known values of one column."""
MOST_FIELDS = 40
"""Fields of a form; a row of more columns is written as JSON."""
MOST_TEXT = 20_000
"""Characters of JSON in the form."""
URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(/[A-Za-z0-9._~\-/]*)?")
"""All of a Host header, and of a proxy's path prefix, that is safe to show in a command for a shell."""


@dataclass(frozen=True, slots=True)
class Page:
    """The description of a model, twice: for programs and for people."""

    facts: dict[str, Any]
    html: str


def describe(
    identity: Mapping[str, Any], reader: Reader, data: DataSpec | None, sample: Arrays, url: str, limits: Limits
) -> Page:
    """What the model is (`identity`: name, version, release, …), takes and returns, with commands that work.

    `data`: the dataset that it was trained on, for typical values. `sample`: one made-up row. `url`: the API's own.
    """
    signature = reader.signature
    url = url if URL.fullmatch(url) else "http://127.0.0.1"
    curl = [f"curl -s {url}/example | curl -s --data-binary @- {url}/predict"]
    python = f"requests.post('{url}/predict', json=requests.get('{url}/example').json()).json()"
    if reader.image:
        python = f"requests.post('{url}/predict', data=open('image.png', 'rb')).json()"
        curl.append(f"curl -s --data-binary @image.png {url}/predict")
    facts = {
        **identity,
        "task": signature.task,
        "kind": signature.kind,
        "inputs": [_input(field, data) for field in reader.fields],
        "outputs": [{"name": each.name, "shape": each.shape, "dtype": each.dtype} for each in signature.outputs],
        "classes": signature.classes,
        "target": signature.target,
        "targets": signature.targets,
        **({"threshold": signature.threshold} if signature.task in {"multi-label", "anomaly"} else {}),
        "send": _send(reader),
        "curl": curl,
        "python": f"import requests\nprint({python})",
        "limits": {"body_bytes": limits.body, "instances": limits.instances},
        "pages": [
            "POST /predict",
            "POST /explain",
            "GET /example",
            "GET /version",
            "GET /docs",
            "GET /openapi.json",
            "GET /health/live",
            "GET /health/ready",
        ],
    }
    return Page(facts, page(facts, _tried(reader, facts["inputs"], sample)))


def _tried(reader: Reader, inputs: list[dict[str, Any]], sample: Arrays) -> Form:
    """The form of the page, filled with the sample."""
    if reader.image:
        return Form(image=reader.image.text, accept=",".join(f"image/{each}" for each in reader.image.formats))
    body, _ = example_body(reader, sample)
    if not reader.named or len(inputs) > MOST_FIELDS or any(each["shape"] for each in inputs):
        text = body.decode()
        return Form(json=text if len(text) <= MOST_TEXT else "")
    row = orjson.loads(body)["instances"][0]
    return Form(fields=tuple((reader.form_names[each["name"]], each, row[each["name"]]) for each in inputs))


def example_body(reader: Reader, sample: Arrays) -> tuple[bytes, str]:
    """A body for `/predict` with the one row of `sample`, and its content type: a PNG file, or JSON."""
    signature = reader.signature
    if reader.image:
        return _png(sample[signature.inputs[0].name][0], reader.image.mode), "image/png"
    rows = {spec.name: _plain(spec, sample[spec.name]) for spec in signature.inputs}
    row = rows if reader.named else next(iter(rows.values()))
    return orjson.dumps({"instances": [row]}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n", "application/json"


def _plain(spec: TensorSpec, array: Array) -> Any:
    # NumPy's own numbers are written as short as their dtype allows: 0.1, not 0.10000000149
    row = array[0] if array.dtype in {np.dtype("float32"), np.dtype("float64")} else array[0].tolist()
    return row[0] if spec.shape[1:] == (1,) else row


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
        facts |= dict(zip(("low", "high"), field.bounds(), strict=True))
    if field.may_miss:
        facts["may_miss"] = True
    if column and column.kind == "categorical":
        facts["known_values"] = column.common[:MOST_VALUES]
    elif column:
        facts["typical"] = _typical(column.mean, math.sqrt(column.variance))
    return facts


def _typical(mean: float, deviation: float) -> tuple[float, float]:
    """Where 95 of 100 values of a bell curve are, rounded: no sample can be seen in it."""
    digits = 1 - math.floor(math.log10(deviation)) if deviation > 0 else 3
    return round(mean - 2 * deviation, digits), round(mean + 2 * deviation, digits)


def _as_json(text: str) -> str:
    """A JSON string that looks on a page as it is: what is not printable is escaped."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in written)


def _send(reader: Reader) -> str:
    names = ", ".join(f"{_as_json(field.name)}: …" for field in reader.fields)
    if reader.image:
        return f'{reader.image.text} as the body or in a form; or JSON {{"instances": [{{"b64": …}}, or rows of pixels 0-255]}}'
    if reader.named:
        return f'JSON {{"instances": [{{{names}}}]}}'
    return 'JSON {"instances": [[…], …]}'
