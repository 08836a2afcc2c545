"""Writes `model.keras` so that the same model gives the same bytes.

Keras notes the time, and names shared objects by their address in memory, which differs between two processes. Neither
means anything to who loads the file.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

CONFIG, METADATA, SHARED = "config.json", "metadata.json", "shared_object_id"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip archive can name."""


def save_repeatably(model: Any, path: Path) -> None:
    """Save a Keras model at `path`, which ends with `.keras`."""
    part = path.with_name(f".part-{path.name}")
    model.save(part)
    with zipfile.ZipFile(part) as source, zipfile.ZipFile(path, "w") as target:
        for each in source.infolist():
            entry = zipfile.ZipInfo(each.filename, LONG_AGO)
            with source.open(each) as file, target.open(entry, "w", force_zip64=each.file_size > 1 << 31) as copy:
                if each.filename == METADATA:
                    copy.write(json.dumps({**json.load(file), "date_saved": ""}).encode())
                elif each.filename == CONFIG:
                    copy.write(_renumbered(file.read()))
                else:
                    shutil.copyfileobj(file, copy, 1 << 20)
    part.unlink()


def _renumbered(text: bytes) -> bytes:
    """The config with its shared objects numbered in the order in which they appear."""
    numbers: dict[int, int] = {}

    def own(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {
            key: numbers.setdefault(value, len(numbers)) if key == SHARED and isinstance(value, int) else value
            for key, value in pairs
        }

    return json.dumps(json.loads(text, object_pairs_hook=own)).encode()
