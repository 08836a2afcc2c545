"""What the docker runner and the API in a container need of the engine, one function per question."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.checkup import PATIENCE, Check, Finding, existing, room
from pipelines.config import Config
from pipelines.docker_engine import address, labels, open_engine, told

if TYPE_CHECKING:
    from docker import DockerClient


def of_config(config: Config) -> dict[str, Check]:
    """The engine answers; when it is used, it has our images, sees our files, and has room."""
    checks: dict[str, Check] = {"docker": partial(answers, config.runner.kind, os.environ)}
    if config.runner.kind == "docker":
        checks["docker files"] = partial(files, config)
    if "docker" in {config.runner.kind, config.serving.go_live}:
        checks |= {"docker images": partial(images, config), "docker disk": disk}
    return checks


def answers(kind: str, environment: Mapping[str, str]) -> Finding:
    """The engine answers; only the docker runner needs it."""
    needed, engine = kind == "docker", address(environment)
    try:
        return Finding("ok", _ping(engine) + ("" if needed else ", though the process runner needs none"))
    except (OSError, HTTPException) as error:
        what = f"no engine at {engine}: {getattr(error, 'strerror', None) or error}"
        if needed:
            return Finding("fail", what, "start Docker, let this user into its group, or set DOCKER_HOST")
        return Finding("ok", f"{what}; not needed for [runner] kind = {kind!r}")


class _UnixConnection(HTTPConnection):
    """HTTP over a socket of this machine."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.host)


def _ping(engine: str) -> str:
    """One request, without the SDK; raises OSError or HTTPException."""
    where = urlsplit(engine)
    connection: HTTPConnection
    if where.scheme == "unix":
        connection = _UnixConnection(where.path)
    elif where.scheme in {"tcp", "http"} and where.port != 2376:
        connection = HTTPConnection(where.hostname or "", where.port or 2375, timeout=PATIENCE)
    else:
        raise OSError(0, "only unix:// and tcp:// without TLS are tried here")
    with closing(connection):
        connection.request("GET", "/_ping", headers={"Host": "docker"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(0, f"it answers with {answer.status}")
        return f"the engine at {engine} answers, API {answer.headers.get('Api-Version', 'unknown')}"


@contextmanager
def _engine() -> Iterator[DockerClient]:
    with closing(open_engine(PATIENCE)) as client:
        yield client


def images(config: Config) -> Finding:
    """The engine has the images that the settings ask for; ours are of the code that runs here."""
    from pipelines import images

    wanted = {"serve": config.serving.image or images.own_name("serve")}
    if config.runner.kind == "docker":
        wanted["train"] = config.runner.image or images.own_name("train")
    with _engine() as client:
        missing = [name for name in wanted.values() if not images.lookup(client, name)]
    if not missing:
        return Finding("ok", f"{' and '.join(wanted.values())} are there")
    what = f"the engine has no image {' and no image '.join(missing)}"
    return Finding("fail", what, "`trainyard images build` makes those of this code (some minutes the first time)")


def files(config: Config) -> Finding:
    """How files come into containers."""
    from pipelines import images
    from pipelines.runners.probe import shows
    from pipelines.runners.transport import Site

    home = existing(Path(config.home)).resolve()
    with _engine() as client:
        image = images.lookup(client, config.runner.image or images.own_name("train"))
        if not image:
            return Finding("warn", "whether the engine sees our files is asked with an image", "first make the images")
        seen = shows(Site(client.api, image, (0, 0), labels(job="doctor")), home)
    if seen:
        return Finding("ok", f"the engine sees {home}: workers get their files through bind mounts")
    return Finding("ok", f"the engine does not see {home}: files are copied through its API, which takes longer")


def disk() -> Finding:
    """Room where the engine keeps images and volumes."""
    with _engine() as client, told("the Docker engine"):
        root = Path(str(client.info()["DockerRootDir"]))
    if not address().startswith("unix:") or not root.exists():
        return Finding("ok", f"the engine keeps its files elsewhere, in {root}", "`docker system df` asks it")
    found = room(shutil.disk_usage(root).free, root)
    return Finding(found.state, found.what, found.next and "`docker system df` shows what takes the room")
