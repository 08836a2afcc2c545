"""What lies in a bucket, below the registry's prefix, beside its records and files: what does not belong there is found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from registry.errors import ConfigError
from registry.s3_objects import Objects
from registry.s3_packs import PACK
from registry.s3_probe import FOLDER as PROBES
from registry.stores import DEEPEST, Structure, is_part, shown

BLOBS = ".store/objects"
BLOB = re.compile(rf"{re.escape(BLOBS)}/([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
UNFINISHED = timedelta(days=1)


def inspect_objects(objects: Objects, folders: Sequence[str] = ()) -> Structure:
    """Check all keys below the prefix, or only those in some of its folders."""
    found = Structure()
    for folder in folders or [""]:
        for below, _ in objects.listing(folder, deep=True):
            name = f"{folder}/{below}".removeprefix("/")
            if below and (wrong := _wrong(name)):
                found.problems.append(f"{shown(name)}: {wrong}")
            elif name.startswith(f"{PROBES}/"):
                found.notes.append(f"{name}: was left by a probe; the next one removes it, if it may")
    if not folders:
        _check_uploads(objects, found)
    return found


def _wrong(name: str) -> str:
    if name.startswith(".store/"):
        return (
            ""
            if BLOB.fullmatch(name) or PACK.fullmatch(name) or name.startswith(f"{PROBES}/")
            else "does not belong here"
        )
    parts = name.split("/")
    if len(parts) > DEEPEST + 1:
        return f"is nested deeper than {DEEPEST} folders"
    if any(part.startswith(".") for part in parts):
        return "is hidden: does not belong here"
    return "" if all(is_part(part) for part in parts) else "cannot be a name in the registry"


def _check_uploads(objects: Objects, found: Structure) -> None:
    try:
        old = [name for name, begun in objects.unfinished() if begun < datetime.now(UTC) - UNFINISHED]
    except ConfigError:  # this identity may not look for them, or the store does not list them
        return
    if old:
        found.notes.append(
            f"{shown(min(old))}: its upload was not completed, as of {len(old)} altogether; "
            "a rule of the bucket can end such uploads, which take room"
        )
