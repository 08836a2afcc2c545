"""What a version holds for other tools, and is signed with it: the files for MLflow, and the bill of materials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.exports import cyclonedx, mlmodel
from registry.records import Candidate, Run

SBOM = "sbom.cdx.json"


@dataclass(frozen=True, slots=True)
class Made:
    """Name → bytes, and what is not there, and why."""

    files: dict[str, bytes]
    notes: tuple[str, ...]


def build(run: Run, manifest: Candidate, repositories: Mapping[str, str]) -> Made:
    """The files beside those in the manifest, whose names they leave alone; `repositories` is as in `cyclonedx.bom`.

    The same run gives the same bytes: registering may be repeated.
    """
    files, notes = dict[str, bytes](), []
    for what, made in (
        ("MLmodel", mlmodel.files(run, manifest.signature, manifest.served, manifest.packages)),
        ("bill of materials", {SBOM: cyclonedx.bom(manifest, repositories, run.created_at)}),
    ):
        if taken := sorted(made.keys() & manifest.files.keys()) or _beside(made, manifest.files):
            notes.append(f"no {what} of ours: the training has left {taken[0]}")
        else:
            files |= made
    return Made(files, tuple(notes))


def _beside(made: Mapping[str, bytes], there: Mapping[str, str]) -> list[str]:
    """The names that would be a file and a folder at once."""
    ours = {part for name in made for part in _folders(name)}
    theirs = {part for name in there for part in _folders(name)}
    return sorted((made.keys() & theirs) | (there.keys() & ours))


def _folders(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
