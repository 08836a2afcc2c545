"""What a version holds for other tools, and is signed with it: the files for MLflow, and the bill of materials."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.exports import cyclonedx, mlmodel
from registry.dataclass import dataclass
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
        if taken := _in_the_way(made, manifest.files):
            notes.append(f"no {what}: the training has left {taken[0]}")
        else:
            files |= made
    return Made(files, tuple(notes))


def _in_the_way(made: Mapping[str, bytes], there: Mapping[str, str]) -> list[str]:
    """What the training has left under our names, or in our folders: MLflow would import a module that is beside ours."""
    names, folders = set(made), {name.split("/")[0] for name in made if "/" in name}
    return sorted(name for name in there if name in names or name.split("/")[0] in names | folders)
