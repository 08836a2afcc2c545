"""Which samples a version has learned from, so that it is not measured on them when a sample changes its split.

By a hash of each sample alone none ever does. With another rule a sample of yesterday's train split may be in today's holdout: the
prepared train split then has a list of all samples that train and validation hold, which goes into the version; the holdout has a
list of its own:

    learned.keys     one line of text, then 8 bytes for each identity, sorted
    contents.keys    one line of text, then 8 bytes for each identity of each row, in the order of the rows

An identity is the SHA-256 of a sample's content, or of its name where that is its own (a key, a file).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.errors import Corrupt
from registry.files import write_whole
from training.data.checks import SampleList

LEARNED, CONTENTS = "learned.keys", "contents.keys"
BYTES = 8
HEAD = re.compile(rb"trainyard-samples 1 per-sample=([12])\n")


def write_lists(data: Path, samples: SampleList) -> None:
    """Write both lists into the prepared splits in `data`."""
    per_sample = 2 if samples.keyed else 1
    head = f"trainyard-samples 1 per-sample={per_sample}\n".encode()
    identities = list(_identities(samples))
    trained = (each for each, split in zip(identities, samples.splits, strict=True) if split != "holdout")
    learned = sorted({identity for each in trained for identity in each})
    write_whole(data / "train" / LEARNED, head + b"".join(learned))
    of_name = dict(zip(samples.names, identities, strict=True))
    rows = json.loads((data / "holdout" / "names.json").read_text("utf-8"))
    write_whole(data / "holdout" / CONTENTS, head + b"".join(b"".join(of_name[name]) for name in rows))


def learned_rows(version: Path, holdout: Path) -> list[bool] | None:
    """For each row of a prepared holdout, whether the version in a folder has learned from that sample; None when one of the
    lists is missing. Raises Corrupt."""
    try:
        _, known = _read(version / LEARNED)
        per_sample, rows = _read(holdout / CONTENTS)
    except FileNotFoundError:
        return None
    learned = set(known)
    return [not learned.isdisjoint(rows[at : at + per_sample]) for at in range(0, len(rows), per_sample)]


def _identities(samples: SampleList) -> Iterator[tuple[bytes, ...]]:
    for name, content in zip(samples.names, samples.contents, strict=True):
        named = (hashlib.sha256(f"name\0{name}".encode(errors="surrogatepass")).digest()[:BYTES],)
        yield (content[:BYTES], *(named if samples.keyed else ()))


def _read(path: Path) -> tuple[int, Sequence[bytes]]:
    data = path.read_bytes()
    head = HEAD.match(data)
    if not head or (len(data) - head.end()) % (BYTES * int(head[1])):
        hint = "train again, or restore the version from a copy"
        raise Corrupt(f"{path}: not a list of samples", hint=hint)
    return int(head[1]), [data[at : at + BYTES] for at in range(head.end(), len(data), BYTES)]
