"""What a labeller sees of an answer: what the prediction log has kept of its inputs, read by a worker some items at a time."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.config.schema import Config
from pipelines.labels.review import details
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.label_queue import Item

Key = tuple[str, int]
AT_ONCE = 30
"""Items that one worker reads."""
MOST = 400
"""Items that are kept in memory, of all models."""
MOST_IMAGE = 4 << 20
"""Bytes of an image; a larger one is not shown."""
MOST_ROWS, MOST_TEXT = 300, 2000
SOON, LONG = 300.0, 3600.0
"""Seconds: after so long an item is read again, as its image may be there by then, or its request forgotten."""
PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 96
"""Pixels; an image that is smaller is enlarged."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One item; nothing of it says what anybody, or the model, has answered."""

    rows: tuple[tuple[str, str], ...] = ()
    image: bytes = b""
    small: bool = False
    gone: bool = False
    """The log has nothing of it any more."""
    answer: str = ""
    """What the model has answered: shown where people say only whether it was right."""


class ItemReader:
    """What was read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: OrderedDict[tuple[str, Key], tuple[Shown, float]] = OrderedDict()

    def get(self, config: Config, item: Item, soon: Sequence[Item]) -> Shown:
        """The item; `soon`: those that may be asked for next, which are read with it."""
        with self._lock:
            found, until = self._read.get((config.model, (item.request, item.row)), (None, 0.0))
            if found and time.monotonic() < until:
                return found
            keys = {(each.request, each.row): each for each in (item, *soon[: AT_ONCE - 1])}
            lines = details(config, list(keys.values()), images=True)
            for key in keys:
                shown = _shown(lines.get(key))
                self._read[config.model, key] = (
                    shown,
                    time.monotonic() + (SOON if shown.gone or not shown.image else LONG),
                )
            while len(self._read) > MOST:
                self._read.popitem(last=False)
            return self._read[config.model, (item.request, item.row)][0]

    def image(self, config: Config, item: Item) -> bytes:
        """Its image; empty without one."""
        return self.get(config, item, ()).image


def _shown(line: Mapping[str, Any] | None) -> Shown:
    if line is None:
        return Shown(gone=True)
    image = base64.b64decode(line.get("image") or "")
    if not image.startswith(PNG) or len(image) > MOST_IMAGE:
        image = b""
    inputs = {name: each for name, each in (line.get("inputs") or {}).items() if not (image and isinstance(each, dict))}
    rows = [(clean(str(name), 120), _text(value)) for name, value in list(inputs.items())[:MOST_ROWS]]
    size = max(int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")) if image else 0
    said = line.get("class") if line.get("class") is not None else line.get("number")
    return Shown(tuple(rows), image, size < SMALL, answer="" if said is None else clean(str(said), 200))


def _text(value: Any) -> str:
    if value is None:
        return "(not here)"
    if isinstance(value, float):
        return f"{value:.7g}"
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), MOST_TEXT)
