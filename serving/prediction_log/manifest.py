"""What compaction has made: `parquet/manifest.json` says which Parquet files count, and which segments they replace.

It is replaced as a whole, so a compaction shows at one moment with all that it has made. What it replaces is removed a
while later: who had read the manifest before still finds it. Standard library only.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import Corrupt
from registry.files import write_whole
from serving.prediction_log import ids
from serving.prediction_log.segments import PARQUET

NAME = "manifest.json"
GRACE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """Paths are relative to the log's folder."""

    parts: tuple[str, ...] = ()
    """The Parquet files that count."""
    replaced: dict[str, float] = field(default_factory=dict)
    """Segments and Parquet files that these replace, and when, in seconds since 1970; they may be there still."""
    left_out: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Segments of which some lines could not be read: when it was closed, in seconds since 1970, and how many lines."""

    def counts(self, folder: Path, path: Path) -> bool:
        """Whether a segment is to be read."""
        return str(path.relative_to(folder)) not in self.replaced


def read_manifest(folder: Path) -> Manifest:
    """The one of the log in `folder`; raises Corrupt."""
    path = folder / PARQUET / NAME
    try:
        found = json.loads(path.read_bytes())
        replaced = {str(name): float(at) for name, at in found["replaced"].items()}
        left_out = {str(name): (float(at), int(lines)) for name, (at, lines) in found.get("left_out", {}).items()}
        return Manifest(tuple(map(str, found["parts"])), replaced, left_out)
    except FileNotFoundError:
        return Manifest()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "restore it; without it the Parquet files of the prediction log do not count"
        raise Corrupt(f"{path}: {type(error).__name__}: {error}", hint=hint) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace it."""
    facts = {"parts": sorted(manifest.parts), "replaced": manifest.replaced, "left_out": manifest.left_out}
    text = json.dumps(facts, indent=1, sort_keys=True)
    write_whole(folder / PARQUET / NAME, text.encode() + b"\n")


def remove_replaced(folder: Path, manifest: Manifest, grace: float = GRACE_SECONDS) -> Manifest:
    """Remove what was replaced long enough ago, and what a killed compaction has left; what is left to remember of it.

    Only within `segments.exclusive`.
    """
    now, left = time.time(), dict[str, float]()
    for name, at in manifest.replaced.items():
        path = folder / name
        if path.exists():
            if abs(now - at) < grace:  # a clock that was set back keeps nothing for ever
                left[name] = at
            else:
                path.unlink(missing_ok=True)
                ids.path_of(folder, name).unlink(missing_ok=True)
    known = {*manifest.parts, *left}
    there = (folder / PARQUET / NAME).exists()  # without it all would look as if it had been left
    for path in (folder / PARQUET).glob("day=*/release=*/*") if there else ():
        if (name := str(path.relative_to(folder))) not in known:
            path.unlink(missing_ok=True)
            ids.path_of(folder, name).unlink(missing_ok=True)
    parts = tuple(each for each in manifest.parts if (folder / each).exists())
    return Manifest(parts, left, manifest.left_out)
