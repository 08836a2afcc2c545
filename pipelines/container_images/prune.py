"""Which of Trainyard's images the engine has, and which of them nothing needs any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.container_images import catalog
from pipelines.container_images.build import OnLine
from pipelines.docker_engine import LABEL, engine_errors
from registry.dataclass import dataclass

if TYPE_CHECKING:
    from docker import DockerClient

KIND, STAGE, BASE = f"{LABEL}.image", f"{LABEL}.stage", f"{LABEL}.base"
STAGE_OF = "stage of "
OWN_NAMES = ("trainyard-train:", "trainyard-serve:", "trainyard-derived:", "trainyard-base:")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that Trainyard made."""

    kind: str
    """`train`, `serve`, `derived`, `base`, or `stage of train`, …: what a build has left to be quick the next time."""
    names: tuple[str, ...]
    """None when others have taken them over."""
    id: str
    """`sha256:…`"""
    size: int
    """Bytes, with the layers that it shares with other images."""
    made: str
    """UTC, ISO 8601."""
    base: str
    """The ID of the image below; empty when unknown."""
    current: bool
    """Whether it is what a run with this version of Trainyard takes."""


def own_images(engine: DockerClient) -> list[Image]:
    """All images with Trainyard's labels, the newest first within each kind."""
    with engine_errors("images"):
        found = [
            each
            for label in (KIND, STAGE)
            for each in engine.api.images(filters={"label": label, "dangling": False})
            + engine.api.images(filters={"label": label, "dangling": True})
        ]
    current = {catalog.own_name(kind) for kind in catalog.KINDS}
    unique = {each["Id"]: each for each in found}
    order = {kind: number for number, kind in enumerate((*catalog.KINDS, "derived", "base"))}
    shown = [_image(each, current) for each in sorted(unique.values(), key=lambda each: -int(each["Created"]))]
    return sorted(shown, key=lambda each: order.get(each.kind, len(order)))


def prune(engine: DockerClient, on_line: OnLine, *, dry_run: bool = False) -> list[Image]:
    """Remove what this version of Trainyard does not take, and what was built on that; gives what is gone.

    Left alone: what has a name that Trainyard did not give, what a container uses, base images, and the newest stage of each image,
    which makes the next build quick. Another version of Trainyard on the same engine builds its images anew.
    """
    there = own_images(engine)
    with engine_errors("images"):
        ids = {str(each["Id"]) for each in engine.api.images()}
        used = {str(each["ImageID"]) for each in engine.api.containers(all=True)}
    gone: list[Image] = []
    for image in unneeded(there, ids):
        if image.id in used:
            on_line(f"{_called(image)} is used by a container: left alone")
        elif dry_run or remove(engine, image, on_line):
            gone.append(image)
    return gone


def unneeded(there: Sequence[Image], ids: Container[str]) -> list[Image]:
    """Which of Trainyard's images may go, images before those that they were built on; `ids` are all images on the engine."""
    own = [each for each in there if each.names and all(name.startswith(OWN_NAMES) for name in each.names)]
    old = [each for each in own if each.kind in catalog.KINDS and not each.current]
    nameless = [each for each in there if not each.names]  # builds on another base have taken their names over
    old += [each for each in nameless if each.kind in catalog.KINDS]
    bases = {each.id for each in old}
    orphans = [each for each in own if each.kind == "derived" and (each.base in bases or each.base not in ids)]
    orphans += [each for each in nameless if each.kind == "derived"]
    stages = [each for each in nameless if each.kind.startswith(STAGE_OF)]
    newest = {each.kind: each.id for each in sorted(stages, key=lambda each: each.made)}
    return [*orphans, *old, *(each for each in stages if newest[each.kind] != each.id)]


def remove(engine: DockerClient, image: Image, on_line: OnLine) -> bool:
    """Remove the image with all its names, unless something uses it; returns whether it is gone."""
    from docker.errors import APIError, ImageNotFound

    for name in image.names or (image.id,):
        with engine_errors(name):
            try:
                engine.api.remove_image(name)
            except ImageNotFound:  # went with another one, or a concurrent `prune` was faster
                continue
            except APIError as error:
                if error.status_code != 409:
                    raise
                on_line(f"{name} is in use: left alone")
                return False
    return True


def _called(image: Image) -> str:
    return ", ".join(image.names) or image.id


def _image(row: Mapping[str, Any], current: set[str]) -> Image:
    image_labels: Mapping[str, str] = row["Labels"] or {}
    names = tuple(name for name in row["RepoTags"] or () if name != "<none>:<none>")
    stage = image_labels.get(STAGE)
    return Image(
        kind=f"{STAGE_OF}{stage}" if stage else image_labels.get(KIND, ""),
        names=names,
        id=str(row["Id"]),
        size=int(row["Size"]),
        made=dt.datetime.fromtimestamp(int(row["Created"]), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        base="" if stage else image_labels.get(BASE, ""),
        current=bool(current.intersection(names)),
    )
