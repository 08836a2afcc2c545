"""Which images of ours the engine has, and which of them nothing needs any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines import images
from pipelines.docker_engine import LABEL, told
from pipelines.image_builds import OnLine

if TYPE_CHECKING:
    from docker import DockerClient

KIND, STAGE, BASE = f"{LABEL}.image", f"{LABEL}.stage", f"{LABEL}.base"
OURS = ("trainyard-train:", "trainyard-serve:", "trainyard-derived:", "trainyard-base:")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that we made."""

    kind: str
    """`train`, `serve`, `derived`, `base`, or `stage of train`, …: what a build has left to be quick the next time."""
    name: str
    """Empty when it has none (any more)."""
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


def ours(engine: DockerClient) -> list[Image]:
    """All images with our labels, the newest first within each kind."""
    with told("images"):
        found = [
            each
            for label in (KIND, STAGE)
            for each in engine.api.images(filters={"label": label, "dangling": False})
            + engine.api.images(filters={"label": label, "dangling": True})
        ]
    current = {images.own_name(kind) for kind in images.KINDS}
    unique = {each["Id"]: each for each in found}
    order = {kind: number for number, kind in enumerate((*images.KINDS, "derived", "base"))}
    shown = [_image(each, current) for each in sorted(unique.values(), key=lambda each: -int(each["Created"]))]
    return sorted(shown, key=lambda each: order.get(each.kind, len(order)))


def prune(engine: DockerClient, on_line: OnLine, *, dry_run: bool = False) -> list[Image]:
    """Remove what this version of Trainyard does not take, and what was built on that; gives what is gone.

    Left alone: what has a name that is not ours, what a container uses, base images, and the newest stage of each image,
    which makes the next build quick. Another version of Trainyard on the same engine builds its images anew.
    """
    there = ours(engine)
    with told("images"):
        used = {str(each["ImageID"]) for each in engine.api.containers(all=True)}
    gone: list[Image] = []
    for image in _unneeded(there, foreign=_foreign(engine)):
        if image.id in used:
            on_line(f"{image.name or image.id} is used by a container: left alone")
        elif dry_run or _remove(engine, image, on_line):
            gone.append(image)
    return gone


def _unneeded(there: list[Image], foreign: set[str]) -> list[Image]:
    """What may go, images before those that they were built on."""
    own = [each for each in there if each.name.startswith(OURS) and each.id not in foreign]
    old = [each for each in own if each.kind in images.KINDS and not each.current]
    derived = [each for each in own if each.kind == "derived"]
    ids, bases = {each.id for each in there}, {each.id for each in old}
    orphans = [each for each in derived if each.base in bases or (each.base not in ids | foreign)]
    stages = [each for each in there if each.kind.startswith("stage") and not each.name]
    newest = {each.kind: each.id for each in reversed(stages)}
    return [*orphans, *old, *(each for each in stages if newest[each.kind] != each.id)]


def _foreign(engine: DockerClient) -> set[str]:
    """The IDs of images that somebody gave a name."""
    with told("images"):
        return {
            str(each["Id"])
            for each in engine.api.images()
            if any(not name.startswith((*OURS, "<none>")) for name in each["RepoTags"] or ())
        }


def _remove(engine: DockerClient, image: Image, on_line: OnLine) -> bool:
    from docker.errors import APIError, ImageNotFound

    with told(image.name or image.id):
        try:
            engine.api.remove_image(image.name or image.id)
        except ImageNotFound:  # with another one, or by somebody else
            return False
        except APIError as error:
            if error.status_code != 409:
                raise
            on_line(f"{image.name or image.id} is in use: left alone")
            return False
    return True


def _image(row: Mapping[str, Any], current: set[str]) -> Image:
    marks: Mapping[str, str] = row["Labels"] or {}
    names = [name for name in row["RepoTags"] or () if name != "<none>:<none>"]
    name = next((each for each in names if each.startswith(OURS)), names[0] if names else "")
    stage = marks.get(STAGE)
    return Image(
        kind=f"stage of {stage}" if stage else marks.get(KIND, ""),
        name=name,
        id=str(row["Id"]),
        size=int(row["Size"]),
        made=dt.datetime.fromtimestamp(int(row["Created"]), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        base="" if stage else marks.get(BASE, ""),
        current=name in current,
    )
