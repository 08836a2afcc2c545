"""What a commit of labels says: which answers it is made of, in a file of the repository, and its message. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from registry.dataclass import dataclass

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer that is a sample of the dataset."""

    model: str
    request: str
    row: int
    label: str
    file: str
    by: tuple[str, ...]
    """Who labelled it so."""


def with_lines(listed: bytes, samples: Sequence[Sample]) -> bytes:
    """The manifest with the samples behind what it lists; that stays, byte for byte."""
    lines = [
        {
            "model": each.model,
            "request": each.request,
            "row": each.row,
            "label": each.label,
            "file": each.file,
            "by": list(each.by),
        }
        for each in samples
    ]
    end = b"\n" if listed and not listed.endswith(b"\n") else b""
    return listed + end + "".join(json.dumps(each) + "\n" for each in lines).encode()


def samples_in(listed: bytes) -> Iterator[Sample]:
    """What a manifest lists; lines that are not of this kind are left alone."""
    for line in listed.splitlines():
        try:
            found = json.loads(line)
            by = tuple(map(str, found["by"]))
            yield Sample(
                str(found["model"]),
                str(found["request"]),
                int(found["row"]),
                str(found["label"]),
                str(found["file"]),
                by,
            )
        except (ValueError, KeyError, TypeError):
            continue


def people_of(samples: Sequence[Sample]) -> list[str]:
    """Who labelled them, those with the most first."""
    counts = Counter(person for each in samples for person in each.by)
    return [person for person, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def message(samples: Sequence[Sample], others: Sequence[str]) -> str:
    """Of the commit; `others`: those who labelled beside its author, as git names people."""
    count = f"{len(samples)} labelled answers" if len(samples) > 1 else "a labelled answer"
    labels = sorted(Counter(each.label for each in samples).items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{label!r:.80}: {times}" for label, times in labels[:SHOWN])
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    text = f"Add {count} of {samples[0].model}\n\n{shown}{more}\n"
    return text + ("\n" + "".join(f"Co-authored-by: {each}\n" for each in others) if others else "")
