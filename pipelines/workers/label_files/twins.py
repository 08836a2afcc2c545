"""New samples that the dataset has already: they are left out, whatever their label is. Loads NumPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipelines.workers.label_files.sample import Labelled, Part
from registry.label_manifest import TWIN
from training.data.checks import SampleList
from training.data.dataset_toml import DatasetFile, Images, Table
from training.data.spec import SPLITS


def twins_of(
    parts: Sequence[Part], samples: SampleList, settings: DatasetFile, prepared: Path
) -> list[tuple[Labelled, str]]:
    """Those of the new samples that another sample equals, with the reason. `samples`: of the dataset with them; `prepared`: its
    splits, where it has passed its checks."""
    if not isinstance(settings.source, Images) and settings.source.duplicates == "allow":
        return []
    new = dict(_places(parts, samples, settings))
    contents = _contents(samples, settings, prepared)
    first: dict[bytes, int] = {}
    for place, content in enumerate(contents):
        if content and place not in new:
            first.setdefault(content, place)
    found = []
    for place, each in sorted(new.items()):
        content = contents[place] if place < len(contents) else b""
        if content in first and content:
            found.append((each, _reason(samples, first[content], place)))
        elif content:
            first[content] = place
    return found


def _reason(samples: SampleList, there: int, new: int) -> str:
    where = samples.called(there)
    if samples.labels and samples.labels[there] != samples.labels[new]:
        return f"{TWIN[1]} {samples.labels[there]!r:.80}: {where}"
    return f"{TWIN[0]}: {where}"


def _places(parts: Sequence[Part], samples: SampleList, settings: DatasetFile) -> Iterator[tuple[int, Labelled]]:
    """Where the new samples are among all: by their name, or as the last ones of their file."""
    source = settings.source
    by_name = {name: place for place, name in enumerate(samples.names)}
    for part in parts:
        if isinstance(source, Images):
            name = part.file.removeprefix(f"{source.folder}/") if source.folder != "." else part.file
            if name in by_name:
                yield by_name[name], part.samples[0]
        elif isinstance(source, Table) and source.key:
            yield from ((by_name[each.key], each) for each in part.samples if each.key in by_name)
        else:
            inside = [
                place for place, name in enumerate(samples.names) if name.rpartition(" ")[0] in _called(part.file)
            ]
            yield from zip(inside[-len(part.samples) :], part.samples, strict=False)


def _called(file: str) -> set[str]:
    return {f"{file} line", f"{file} row index"}


def _contents(samples: SampleList, settings: DatasetFile, prepared: Path) -> Sequence[bytes]:
    """What equals what: of an image its pixels, as the same image may be stored in different ways."""
    if not isinstance(settings.source, Images):
        return samples.digests
    pixels = dict(_pixels(prepared))
    return [pixels.get(name, digest) for name, digest in zip(samples.names, samples.digests, strict=True)]


def _pixels(prepared: Path) -> Iterator[tuple[str, bytes]]:
    for split in SPLITS:
        folder = prepared / split
        if (folder / "names.json").exists():
            rows = np.load(folder / "x0.npy", mmap_mode="r")
            for name, row in zip(json.loads((folder / "names.json").read_text("utf-8")), rows, strict=True):
                yield name, hashlib.sha256(row.tobytes()).digest()
