"""The container images that workers and the API run in: finding them, making them.

Trainyard's own are called `trainyard-train` and `trainyard-serve`. Their tag is a hash of all that goes in, so that code never
runs in an image of other code. An image is always given as its ID, `sha256:…`, which no later build changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.container_images import ImageKind, build_context
from pipelines.container_images.build import STEP, Build, OnLine, run_build
from pipelines.container_images.requirements import read_requirements
from pipelines.docker_engine import LABEL, engine_errors, explain, labels
from registry.errors import ConfigError, PipelineError, TryAgain

if TYPE_CHECKING:
    from docker import DockerClient

KINDS: tuple[ImageKind, ...] = ("train", "serve")
PUBLIC_BASE = "python:3.11-slim-bookworm"
OWN_BASE = "trainyard-base:bookworm"
"""What docker/base/make makes."""
DERIVED = "trainyard-derived"
NO_SUCH_IMAGE = re.compile(r"manifest unknown|no matching manifest|pull access denied|: not found$")
"""In an answer that says so in the middle of a pull, without a status."""


def own_name(kind: ImageKind) -> str:
    """The name of Trainyard's own image with the code of this checkout, e.g. `trainyard-train:0123456789abcdef`."""
    return f"trainyard-{kind}:{build_context.digest(build_context.own_files(kind))}"


def find(engine: DockerClient, kind: ImageKind, name: str = "") -> str:
    """The ID of the image called `name`, pulled when the engine has none; without a name, of Trainyard's own image.

    Raises ConfigError when there is no such image, TryAgain when the engine or an image registry cannot be reached.
    """
    wanted = name or own_name(kind)
    if image := lookup(engine, wanted):
        return image
    if name and not name.startswith("sha256:"):
        return _pull(engine, name)
    if name:
        raise ConfigError(f"the engine has no image {name}", hint="`docker images --no-trunc` lists what is there")
    raise ConfigError(
        f"the engine has no image {wanted}", hint="`trainyard images build` makes it (some minutes the first time)"
    )


def lookup(engine: DockerClient, name: str) -> str:
    """The ID of an image that the engine has; empty when it has none of this name."""
    from docker.errors import ImageNotFound, NotFound

    with engine_errors(name):
        try:
            return str(engine.api.inspect_image(name)["Id"])
        except (ImageNotFound, NotFound):
            return ""


def derived(engine: DockerClient, base: str, requirements: Path, on_line: OnLine) -> str:
    """The ID of the image `base` with a team's requirements.txt on top, built when the engine has none yet.

    Everything that is in `base` stays in its version; packages come as wheels, so that no code of theirs runs in the
    build. Raises ConfigError with pip's last lines when they cannot be installed, TryAgain for an error of the network.
    """
    wanted = read_requirements(requirements)
    below = find(engine, "train", base)
    if not wanted:
        return below
    files = build_context.derived_files(wanted)
    key = hashlib.sha256(f"{below}\n{build_context.digest(files)}".encode()).hexdigest()[:32]
    name = f"{DERIVED}:{key}"
    if there := lookup(engine, name):
        return there
    on_line(f"building the image with {requirements.name}: {', '.join(wanted.splitlines())}")

    def pip_says(line: str) -> None:
        if not STEP.match(line):
            on_line(line)

    made = run_build(
        engine,
        Build(
            requirements.name,
            build_context.context(files, build_context.certificates()),
            build_context.build_args() | {"BASE_IMAGE": below},
            labels(image="derived", base=below),
        ),
        pip_says,
    )
    return _name(engine, made, name)


def build(
    engine: DockerClient, kinds: Sequence[ImageKind], base_image: str, certificates: Sequence[Path], on_line: OnLine
) -> dict[str, str]:
    """Build Trainyard's own images on `base_image`; gives their IDs. An image that is there, on this base, is not built again.

    Without a base image it is the public one, or what docker/base/make has made where that cannot be pulled.
    `certificates` are files with certificates of a proxy that downloads pass through, beside those in docker/certs/.
    """
    trusted = build_context.certificates(certificates)
    arguments = build_context.build_args()
    base = find(engine, "train", base_image) if base_image else _default_base(engine, on_line)
    made: dict[str, str] = {}
    for kind in kinds:
        files = build_context.own_files(kind)
        name = f"trainyard-{kind}:{build_context.digest(files)}"
        image_labels = {**labels(image=kind, base=base), **_about(kind)}
        if (there := lookup(engine, name)) and _base_of(engine, there) == base:
            on_line(f"{name} is up to date")
            made[kind] = there
            continue
        on_line(f"building {name} on {base_image or base}")
        asked = Build(
            name, build_context.context(files, trusted), arguments | {"BASE_IMAGE": base, "KIND": kind}, image_labels
        )
        made[kind] = run_build(engine, asked, on_line)
        _tag(engine, made[kind], name)
    return made


def _default_base(engine: DockerClient, on_line: OnLine) -> str:
    if there := lookup(engine, PUBLIC_BASE):
        return there
    on_line(f"pulling {PUBLIC_BASE}")
    try:
        return _pull(engine, PUBLIC_BASE)
    except PipelineError as error:
        if there := lookup(engine, OWN_BASE):
            on_line(f"{PUBLIC_BASE} cannot be pulled; building on {OWN_BASE}")
            return there
        raise ConfigError(
            f"no base image: {error}; and there is no {OWN_BASE}",
            hint=f"`docker/base/make` (as root) makes {OWN_BASE} without a registry; --base names any other image",
        ) from error


def _pull(engine: DockerClient, name: str) -> str:
    import urllib3
    from docker.errors import APIError

    what = f"image {name}"
    with engine_errors(what):
        try:
            for answer in engine.api.pull(name, stream=True, decode=True):
                if "error" in answer:
                    raise _not_pulled(what, 500, str(answer["error"]))
        except APIError as error:
            raise _not_pulled(what, error.status_code or 0, str(error.explanation or error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise _not_pulled(what, 500, f"the engine closed the connection: {error}") from error
    if image := lookup(engine, name):
        return image
    raise TryAgain(f"{what}: was pulled, and has been removed since", hint="run the same command again")


def _not_pulled(what: str, status: int, said: str) -> PipelineError:
    """What it means that the engine answered with `status`, or in the middle of a pull with none, which counts as 500."""
    if status == 404 or NO_SUCH_IMAGE.search(said):
        return ConfigError(
            f"{what} is neither on the engine nor in a registry: {said}", hint="`docker images` lists what is there"
        )
    if status == 500 and "no space left" not in said.lower():
        # With this status the engine reports a registry that it does not reach.
        return TryAgain(
            f"{what}: cannot be pulled: {said}",
            hint="is its registry reached from the engine? `docker pull` shows more",
        )
    return explain(what, status, said)


def _name(engine: DockerClient, made: str, name: str) -> str:
    """Give the image its name, unless another run was faster: then that one's image is taken."""
    from docker.errors import APIError

    there = lookup(engine, name)
    if not there:
        _tag(engine, made, name)
        return made
    if there != made:
        with engine_errors(name), contextlib.suppress(APIError):  # what cannot be removed is in use by a third run
            engine.api.remove_image(made)
    return there


def _tag(engine: DockerClient, image: str, name: str) -> None:
    repository, _, tag = name.partition(":")
    with engine_errors(name):
        engine.api.tag(image, repository, tag)


def _base_of(engine: DockerClient, image: str) -> str:
    with engine_errors(image):
        return str((engine.api.inspect_image(image)["Config"]["Labels"] or {}).get(f"{LABEL}.base", ""))


def _about(kind: ImageKind) -> Mapping[str, str]:
    """What image tools show."""
    project = tomllib.loads((build_context.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    title = {"train": "Trainyard's workers", "serve": "Trainyard's prediction API"}[kind]
    about = {"title": title, "version": project["version"], "licenses": "Apache-2.0"}
    command = ["git", "-C", str(build_context.ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pass
    else:
        about |= {"revision": done.stdout.strip()} if done.returncode == 0 else {}
    return {f"org.opencontainers.image.{name}": value for name, value in about.items()}
