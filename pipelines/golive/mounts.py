"""How a container comes to see the registry: the folder itself, or a volume where the engine has other files than we."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config import Config
from pipelines.docker_engine import labels
from registry.errors import ConfigError

if TYPE_CHECKING:
    from docker import DockerClient

VOLUME_AT = "/registry"


def registry_mount(engine: DockerClient, config: Config, image: str) -> tuple[Any, str]:
    """The mount, and the registry's URL inside; raises ConfigError when the engine does not see the registry."""
    from docker.types import Mount

    if volume := config.serving.registry_volume:
        return Mount(VOLUME_AT, volume, type="volume", read_only=True, no_copy=True), f"file://{VOLUME_AT}"
    url = config.registry.url
    if not url.startswith("file://"):
        raise ConfigError(
            f"[registry] url: {url}: an API in a container reads a folder only", hint='go_live = "process"'
        )
    folder = Path(url.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    mount = Mount(str(folder), str(folder), type="bind", read_only=True)
    if not _sees(engine, image, mount, folder, labels(model=config.model, home=config.home, role="probe", number=0)):
        raise ConfigError(
            f"the Docker engine does not see the registry in {folder}",
            hint="put it into a volume of the engine that is mounted here, too, and name that in [serving] registry_volume",
        )
    return mount, url


def _sees(engine: DockerClient, image: str, mount: Any, folder: Path, marks: dict[str, str]) -> bool:
    """Whether the engine has our file there: it is read through a container that is never started."""
    from docker import errors

    known = next(folder.glob("*/*/*/card.json"), None)
    try:
        probe = engine.containers.create(image, ["true"], network_mode="none", mounts=[mount], labels=marks)
    except errors.APIError as error:
        if "bind source path does not exist" in str(error.explanation):
            return False
        raise
    try:
        if known is None:
            return True
        chunks, _ = engine.api.get_archive(probe.id, str(known))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            found = archive.extractfile(known.name)
            return found is not None and found.read() == known.read_bytes()
    except errors.NotFound:
        return False
    finally:
        probe.remove(force=True)
