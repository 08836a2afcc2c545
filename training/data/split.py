"""Which split a sample belongs to: decided by a hash of its key alone, so that it stays when data is added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from training.data.dataset_toml import DatasetFile, Fractions, Npz, Table
from training.data.spec import SplitName


def split_of(key: bytes | str, fractions: Fractions) -> SplitName:
    """The split of all samples with this key (a group, a name, or the sample's own bytes).

    The first 8 bytes of the key's SHA-256 are read as a number in [0, 1): under `holdout` it is the holdout, under
    `holdout + validation` the validation split, else train. No other sample has a say.
    """
    number = int.from_bytes(hashlib.sha256(_raw(key)).digest()[:8], "big") / 2**64
    if number < fractions.holdout:
        return "holdout"
    if number < fractions.holdout + fractions.validation:
        return "validation"
    return "train"


def split_rule(settings: DatasetFile) -> str:
    """What `split_of` is asked with, as text: the fractions, and what a sample's key is."""
    source = settings.source
    if source.group:
        key = f"group {source.group}"
    elif isinstance(source, Table):
        key = f"key {source.key}" if source.key else "content"
    else:
        key = f"content of {', '.join(source.x)}" if isinstance(source, Npz) else "file name"
    return f"holdout {settings.split.holdout}, validation {settings.split.validation}, by {key}"


def shuffled(keys: Sequence[bytes | str]) -> list[int]:
    """The positions of `keys` in an order that looks random and depends on the keys alone."""
    return sorted(range(len(keys)), key=lambda i: hashlib.sha256(_raw(keys[i])).digest())


def _raw(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
