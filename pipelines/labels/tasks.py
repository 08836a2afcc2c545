"""Tasks for Label Studio, as it imports them: a JSON list. Its export comes back by `trainyard labels import`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from registry.label_queue import Item


def tasks(items: Sequence[Item], details: Mapping[tuple[str, int], Mapping[str, Any]], model: str) -> bytes:
    """One task for each item of which the log still has something; the most doubtful have the lowest score, so that sorting by
    it shows them first.

    `data` has `trainyard_id` (request and row) and the inputs; an image is a data URL. `predictions` has the answer, which Label
    Studio shows unless its settings hide predictions.
    """
    found = []
    for each in items:
        if (line := details.get((each.request, each.row))) is None:
            continue
        data: dict[str, Any] = {"trainyard_id": f"{each.request}/{each.row}", **_plain(line["inputs"])}
        if line.get("image"):
            data["image"] = f"data:image/png;base64,{line['image']}"
        kind = "image" if line.get("image") else "text"
        said = _answer(each.answered, line.get("number"))
        result = [{"from_name": "label", "to_name": kind, **said}]
        prediction = {"model_version": f"{model}-{each.version}", "score": round(1 - each.score, 4), "result": result}
        found.append({"data": data, "predictions": [prediction] if said else []})
    return (json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode()


def _answer(answered: str, number: float | None) -> dict[str, Any]:
    """A class or a number, as Label Studio has it; empty: neither is known."""
    if answered:
        return {"type": "choices", "value": {"choices": [answered]}}
    return {} if number is None else {"type": "number", "value": {"number": number}}


def labelling_config(classes: Sequence[str], *, images: bool) -> str:
    """The labelling interface of a Label Studio project for such tasks, XML. Without classes a number is asked for."""
    from xml.sax.saxutils import quoteattr

    shown = '<Image name="image" value="$image"/>' if images else '<Text name="text" value="$text"/>'
    of = f'name="label" toName="{"image" if images else "text"}"'
    choices = "".join(f"<Choice value={quoteattr(each)}/>" for each in classes)
    return f"<View>{shown}{f'<Choices {of}>{choices}</Choices>' if classes else f'<Number {of}/>'}</View>\n"


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs by name, and all of them as one text, which the interface shows."""
    known = {name: value for name, value in inputs.items() if value is not None and not isinstance(value, dict | list)}
    text = ", ".join(f"{name} {value}" for name, value in known.items())
    return {
        **{name: value for name, value in inputs.items() if name not in {"trainyard_id", "image", "text"}},
        "text": text,
    }
