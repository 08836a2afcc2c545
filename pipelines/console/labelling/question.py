"""What a labeller is asked of an answer, and what a form's fields come to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from registry.dataclass import dataclass
from serving.feedback.items import Invalid
from serving.feedback.rules import NUMBERS

Kind = Literal["class", "number", "text", "right"]
"""One of some classes; a number; a text; only whether the answer was right, as it is not one value."""
KEYS = "1234567890"
"""Of the first classes, on a keyboard."""
MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """A class that can be chosen; `place` is its field's value."""

    place: int
    name: str
    key: str = ""
    """That chooses it; empty: none does."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    kind: Kind
    choices: tuple[Choice, ...] = ()


def question_of(about: Mapping[str, Any], answered: str) -> Question:
    """By the header of the answer's segment; `answered`: the class that the model gave, empty where it gave none."""
    classes = about.get("classes")
    if classes:
        keys = dict(zip(range(len(classes)), KEYS, strict=False))
        return Question("class", tuple(Choice(n, str(each), keys.get(n, "")) for n, each in enumerate(classes)))
    if about.get("labels"):
        return Question("right")
    if classes is None and answered:  # of an earlier version of Trainyard
        return Question("text")
    types = [each.get("type") for each in (about.get("outputs") or {}).values()]
    if len(types) != 1 or types[0] not in {*NUMBERS, "text"}:
        return Question("right")
    return Question("text" if types == ["text"] else "number")


def report_of(question: Question, form: Mapping[str, str]) -> dict[str, Any]:
    """What the form says, as `POST /feedback` takes it; raises Invalid."""
    if question.kind == "right":
        if form.get("right") not in {"yes", "no"}:
            raise Invalid(400, "Say whether the answer was right.")
        return {"correct": form["right"] == "yes"}
    if question.kind == "class":
        return {"label": _chosen(question.choices, form.get("class", ""))}
    text = form.get("value", "").strip()
    if not text or len(text) > MOST_TEXT:
        raise Invalid(400, f"1 to {MOST_TEXT} characters, please.")
    if question.kind == "text":
        return {"label": text}
    try:
        number = float(text.replace(",", ".")) if "," in text and "." not in text else float(text)
    except ValueError:
        raise Invalid(400, f"{text[:40]!r} is not a number.") from None
    whole = text.lstrip("+-").isascii() and text.lstrip("+-").isdecimal() and len(text) < 16
    return {"label": int(text) if whole else number}


def _chosen(choices: Sequence[Choice], place: str) -> str:
    found = next((each.name for each in choices if str(each.place) == place), None)
    if found is None:
        raise Invalid(400, "Choose one of the classes.")
    return found
