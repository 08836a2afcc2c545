"""A metric with its arguments in writing: `top_k(k=3)`, `recall(positive="malignant")`. Values are kept under this name."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping

Argument = str | float | int
OWN, SCRIPT = "own:", "script:"
"""Before the name of a function of the team's `metrics.py`, and before that of a number that its script reports."""
CALL = re.compile(r"((?:own|script):[^()]+|[\w.]+)(?:\((.*)\))?", re.DOTALL)
NAME = re.compile(r"(?:, )?(\w+)=")
_DECODER = json.JSONDecoder()


def written(metric: str, arguments: Mapping[str, Argument | None]) -> str:
    """The name of a metric with these arguments; in the order of their names; None and empty texts are left out."""
    given = {name: each for name, each in sorted(arguments.items()) if each is not None and each != ""}
    if not given:
        return metric
    return f"{metric}({', '.join(f'{name}={_value(each)}' for name, each in given.items())})"


@functools.cache
def read_measure(text: str) -> tuple[str, Mapping[str, Argument]]:
    """The metric and its arguments: what `written` has made one text of. Raises ValueError for another text."""
    call = CALL.fullmatch(text)
    if call is None:
        raise ValueError(f"{text!r:.200} is not a metric, nor a metric(argument=value)")
    rest, found = call[2] or "", {}
    while rest:
        name = NAME.match(rest)
        if name is None:
            raise ValueError(f"{text!r:.200}: an argument is written name=value")
        found[name[1]], end = _DECODER.raw_decode(rest, name.end())
        rest = rest[end:]
    return call[1], found


def name_after(prefix: str, measure: str) -> str:
    """`profit` of `own:profit(better="more")`; empty for another kind of metric."""
    return read_measure(measure)[0].removeprefix(prefix) if measure.startswith(prefix) else ""


def _value(value: Argument) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
