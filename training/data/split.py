"""Which split a sample belongs to: decided by a hash of its key alone, so that it stays when data is added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from training.data.dataset_toml import DatasetFile, Fractions, Npz, Table
from training.data.spec import SplitName


def split_of(key: bytes | str, fractions: Fractions) -> SplitName:
    """The split of all samples with this key (a group, a name, or the sample's own bytes).

    The first 8 bytes of the key's SHA-256 are read as a number in [0, 1): under `holdout` it is the holdout, under
    `holdout + validation` the validation split, else train. No other sample has a say.
    """
    return splits_of(hashes([key]), fractions)[0]


def hashes(keys: Iterable[bytes | str]) -> list[bytes]:
    """The SHA-256 of each key: what decides its split, and its place there."""
    return [sha256(key.encode() if isinstance(key, str) else key).digest() for key in keys]


def splits_of(hashes: Iterable[bytes], fractions: Fractions) -> list[SplitName]:
    """The split of each key with this hash, as `split_of` has it."""
    holdout, validation = _first_from(fractions.holdout), _first_from(fractions.holdout + fractions.validation)
    return ["holdout" if each < holdout else "validation" if each < validation else "train" for each in hashes]


@lru_cache(maxsize=64)
def _first_from(share: float) -> bytes:
    """The smallest hash that is read as a number not under `share`; one behind all hashes where there is none."""
    low, high = 0, 2**64
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle / 2**64 >= share else (middle + 1, high)
    return low.to_bytes(8, "big") if low < 2**64 else b"\xff" * 33


def apart(digests: Sequence[bytes], labels: Sequence[object]) -> list[bytes]:
    """A key for each sample when equal ones are different things: the first keeps its digest, so that nothing moves
    where no two are equal; the others are counted among those with the same label."""
    seen: Counter[tuple[bytes, object]] = Counter()
    keys = []
    for digest, label in zip(digests, labels, strict=True):
        number = seen[digest, label]
        seen[digest, label] += 1
        keys.append(digest + f"{label}\x1f{number}".encode() if number else digest)
    return keys


def labelled(label: Any) -> object:
    """A label that can be counted: several numbers as one tuple."""
    return tuple(label) if isinstance(label, list) else label


def split_rule(settings: DatasetFile) -> str:
    """What decides a sample's split, as text: the fractions, and what a sample's key is; or what says it."""
    source, rule = settings.source, settings.rule
    fractions = f"holdout {settings.split.holdout}, validation {settings.split.validation}"
    if rule.by == "given":
        return rule.in_words
    if rule.by == "time":
        return f"{fractions}, {rule.in_words}{f', by group {source.group}' if source.group else ''}"
    if source.group:
        key = f"group {source.group}"
    elif isinstance(source, Table):
        key = f"key {source.key}" if source.key else f"content{_equal(source)}"
    else:
        key = f"content of {', '.join(source.x)}{_equal(source)}" if isinstance(source, Npz) else "file name"
    return f"{fractions}, by {key}{f', {rule.in_words}' if rule.in_words else ''}"


def _equal(source: Table | Npz) -> str:
    return ", equal ones apart" if source.duplicates == "allow" else ""


def shuffled(hashes: Sequence[bytes]) -> list[int]:
    """The positions of keys with these hashes in an order that looks random and depends on the keys alone."""
    return sorted(range(len(hashes)), key=hashes.__getitem__)
