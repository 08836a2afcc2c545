"""What the docker runner and the API in a container need of the engine, one function per question."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.config.schema import Config
from pipelines.docker_engine import address, labels, open_engine, told
from pipelines.doctor.machine import PATIENCE, Check, Finding, existing, room
from registry.errors import PipelineError

if TYPE_CHECKING:
    from docker import DockerClient


TLS = {"DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}


def of_config(config: Config) -> dict[str, Check]:
    """The engine answers; when it is used, it has our images, sees our files, and has room."""
    needed = "docker" in {config.runner.kind, config.serving.deploy}
    checks: dict[str, Check] = {"docker": partial(answers, needed=needed)}
    if config.runner.kind == "docker":
        checks["docker files"] = partial(files, config)
    if needed:
        checks |= {"docker images": partial(images, config), "docker disk": disk}
    return checks


def answers(*, needed: bool) -> Finding:
    """The engine answers; only the docker runner, and going live in docker, need it."""
    engine, hint = address(), "start Docker, let this user into its group, or set DOCKER_HOST"
    try:
        version = _ping(engine)
        said = f"the engine at {engine} answers, API {version}"
        return Finding("ok", said if needed else f"{said}, though [runner] and [serving] need none")
    except PipelineError as error:
        what, hint = str(error), error.hint
    except (OSError, HTTPException) as error:
        what = f"no engine at {engine}: {getattr(error, 'strerror', None) or error}"
    return Finding("fail", what, hint) if needed else Finding("ok", f"{what}; not needed here")


class _UnixConnection(HTTPConnection):
    """HTTP over a socket of this machine."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.host)


def _ping(engine: str) -> str:
    """The version of its API: one request, without the SDK, whose loading takes longer, save for TLS.

    Raises OSError, HTTPException or PipelineError.
    """
    where = urlsplit(engine)
    connection: HTTPConnection
    if where.scheme == "unix":
        connection = _UnixConnection(where.path)
    elif where.scheme == "tcp" and where.port and not (TLS & os.environ.keys()):
        connection = HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
    else:
        with _engine() as client:
            return str(client.api._version)  # noqa: SLF001  (what both speak)
    with closing(connection):
        connection.request("GET", "/_ping", headers={"Host": "docker"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(0, f"it answers with {answer.status}")
        return answer.headers.get("Api-Version", "unknown")


@contextmanager
def _engine() -> Iterator[DockerClient]:
    with closing(open_engine(PATIENCE)) as client:
        yield client


def images(config: Config) -> Finding:
    """The engine has the images that the settings ask for; ours are of the code that runs here."""
    from pipelines.container_images import catalog

    wanted = {"serve": config.serving.image or catalog.own_name("serve")}
    if config.runner.kind == "docker":
        wanted["train"] = config.runner.image or catalog.own_name("train")
    with _engine() as client:
        missing = [name for name in wanted.values() if not catalog.lookup(client, name)]
    if not missing:
        return Finding("ok", f"{' and '.join(wanted.values())} are there")
    what = f"the engine has no image {' and no image '.join(missing)}"
    return Finding("fail", what, "`trainyard images build` makes those of this code (some minutes the first time)")


def files(config: Config) -> Finding:
    """How files come into containers."""
    from pipelines.container_images import catalog
    from pipelines.runners.docker.mount_probe import shows
    from pipelines.runners.docker.transport import Site

    home = existing(Path(config.home)).resolve()
    with _engine() as client:
        image = catalog.lookup(client, config.runner.image or catalog.own_name("train"))
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
