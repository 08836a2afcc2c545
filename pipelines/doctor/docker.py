"""What the docker runner and a deployment in Docker need of the engine, one function per check."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.config.schema import Config
from pipelines.docker_engine import address, engine_errors, labels, open_engine
from pipelines.doctor.finding import PATIENCE, Finding, disk_space, existing
from registry.errors import PipelineError

if TYPE_CHECKING:
    from docker import DockerClient


TLS = {"DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"}


class UnixConnection(HTTPConnection):
    """HTTP over the Unix socket at `path`."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Called by http.client."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def engine(*, needed: bool) -> Finding:
    """The Docker engine answers; only the docker runner, and a deployment in Docker, need it."""
    url, hint = address(), "start Docker, let this user into its group, or set DOCKER_HOST"
    try:
        version = _ping(url)
        found = f"the engine at {url} answers, API {version}"
        return Finding("ok", found if needed else f"{found}, though [runner] and [serving] need none")
    except PipelineError as error:
        what, hint = str(error), error.hint
    except (OSError, HTTPException) as error:
        what = f"no engine at {url}: {getattr(error, 'strerror', None) or error}"
    return Finding("fail", what, hint) if needed else Finding("ok", f"{what}; not needed here")


def _ping(url: str) -> str:
    """The version of its API, by one request: loading the SDK takes longer, and only TLS needs it.

    Raises OSError, HTTPException or PipelineError.
    """
    where = urlsplit(url)
    connection: HTTPConnection
    if where.scheme == "unix":
        connection = UnixConnection(where.path, PATIENCE)
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
    """The engine has the container images that the config names; the default ones hold the code that runs here."""
    from pipelines.container_images import catalog

    wanted = {"serve": config.serving.image or catalog.own_name("serve")}
    if config.runner.kind == "docker":
        wanted["train"] = config.runner.image or catalog.own_name("train")
    with _engine() as client:
        missing = [name for name in wanted.values() if not catalog.lookup(client, name)]
    if not missing:
        return Finding("ok", f"{' and '.join(wanted.values())} are available")
    what = f"the engine has no image {' and no image '.join(missing)}"
    return Finding("fail", what, "`trainyard images build` builds those of this code (some minutes the first time)")


def files(config: Config) -> Finding:
    """How files come into containers."""
    from pipelines.container_images import catalog
    from pipelines.runners.docker.mount_probe import shows
    from pipelines.runners.docker.transport import Site

    home = existing(Path(config.home)).resolve()
    with _engine() as client:
        image = catalog.lookup(client, config.runner.image or catalog.own_name("train"))
        if not image:
            return Finding(
                "warn", "whether the engine sees our files can only be checked with an image", "first build the images"
            )
        seen = shows(Site(client.api, image, (0, 0), labels(job="doctor")), home)
    if seen:
        return Finding("ok", f"the engine sees {home}: workers get their files through bind mounts")
    return Finding("ok", f"the engine does not see {home}: files are copied through its API, which takes longer")


def disk() -> Finding:
    """Free space where the engine keeps images and volumes."""
    with _engine() as client, engine_errors("the Docker engine"):
        root = Path(str(client.info()["DockerRootDir"]))
    if not address().startswith("unix:") or not root.exists():
        return Finding("ok", f"the engine keeps its files elsewhere, in {root}", "`docker system df` shows how much")
    return disk_space(shutil.disk_usage(root).free, root, "`docker system df` shows what uses the space")
