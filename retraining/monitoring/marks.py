"""Marks of the holdout's samples: by them an answer is known to be about one of these, without their values being kept."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

MOST_CELLS = 2_000_000
"""Values of the holdout that are looked through for marks, about a second: of more, its first samples have one."""


def mark(inputs: Mapping[str, Any]) -> int:
    """64 bits, the same for the same inputs. `inputs`: by name, a value as the prediction log keeps it by `value`, or the
    features of an image, of which its perceptual hash counts. Numbers count with six digits, as a log may have one digit more or less."""
    text = json.dumps({name: _same(value) for name, value in inputs.items()}, sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")


def _same(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("hash")
    if isinstance(value, list):
        return [_same(each) for each in value]
    if isinstance(value, float):
        return f"{value + 0.0:.6g}" if math.isfinite(value) else None
    return value
