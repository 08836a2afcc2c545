"""A user's names in tools that cannot carry every name.

A column or an array keeps its own name in the API, in reports, cards and metrics: JSON, HTML, Markdown and JUnit carry any
text. Two tools do not, and this is the table of what a name is there:

| tool | cannot carry | instead |
| --- | --- | --- |
| the served file (SavedModel, LiteRT) | what is not an identifier, `_id`, `self`, `A` beside `a` | `tensor_names` |
| Keras (`keras.Input(name=…)`) | `/`, an empty name, the name that a layer gets by itself (`dense`) | `keras_name` |

Both depend on the names alone, not on their places: a model meets the same column again in a later dataset.
"""

from __future__ import annotations

import hashlib
import keyword
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

CARRIED = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""Tensors are arguments of functions (`f(self, **tensors)`) and operations of a graph, in which `_` begins internal names."""


def tensor_names(names: Sequence[str]) -> tuple[str, ...]:
    """What the inputs with these names are called in the served file: each by its own name where TensorFlow carries it."""
    times = Counter(name.lower() for name in names)  # operations of a graph differ in more than their case
    return tuple(name if _carried(name) and times[name.lower()] == 1 else _identifier(name) for name in names)


def tensor_name_of_old(name: str) -> str:
    """The same in a manifest that does not say it: written by an earlier version of Trainyard, or the name itself."""
    return name if name.isascii() and name.isidentifier() and not keyword.iskeyword(name) else _identifier(name)


def keras_name(name: str) -> str:
    """A name for the `keras.Input` of any column or array: no layer gets such a one by itself.

    Percent-encoded but for spaces, and ASCII letters and digits: `column km%2Fh`.
    """
    return f"column {quote(name, safe=' ')}" if name else "column"


def _carried(name: str) -> bool:
    return bool(CARRIED.fullmatch(name)) and not keyword.iskeyword(name) and name != "self"


def _identifier(name: str) -> str:
    return f"input_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
