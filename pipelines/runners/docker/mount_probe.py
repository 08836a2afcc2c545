"""Does the engine see this machine's files? Not when it runs on another one, or Trainyard in a container of it.

Asked with a container that is never started: a bind mount of a folder must show that very folder. Files on other
mounts of this machine are asked for one by one; what was found holds for all on the same mount.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.docker_engine import engine_errors
from pipelines.runners.docker.limits import bind
from pipelines.runners.docker.transport import Site, remove, transfer_container
from registry.errors import PipelineError

TARGET = "/probe"
MOUNTS = Path("/proc/self/mountinfo")
_TIME = re.compile(r"([-\dT:]+?)(?:\.(\d+))?(Z|[-+]\d\d:\d\d)")


class Probe:
    """What the engine sees of this machine; remembered as long as the process lives."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._known: dict[str, bool] = {}

    def sees(self, site: Site, path: Path) -> bool:
        """Whether a bind mount of `path`, which is absolute and not a link, shows this machine's `path`."""
        mount, home = mount_of(path), mount_of(self.cache)
        if mount == home and home not in self._known:
            with tempfile.TemporaryDirectory(prefix="probe-", dir=self.cache) as fresh:  # a name that cannot be guessed
                self._known[home] = shows(site, Path(fresh))
        elif mount not in self._known:
            self._known[mount] = shows(site, path)
        return self._known[mount]


def shows(site: Site, path: Path) -> bool:
    """Whether the engine sees the same `path`: it exists there, and was last changed in the same nanosecond."""
    made = ""
    try:
        with engine_errors("looking through a bind mount"):
            made = transfer_container(site.api, site.image, [bind(str(path), TARGET, read_only=True)], site.labels)
            seen = _stat(site.api, made)
    except PipelineError:
        return False  # no such path there
    finally:
        if made:
            remove(site.api, [made], [])
    return nanoseconds(str(seen["mtime"])) == path.stat().st_mtime_ns


def _stat(api: Any, container: str) -> dict[str, Any]:
    """What the engine says of TARGET, without its content."""
    url = api._url("/containers/{0}/archive", container)  # noqa: SLF001  (the SDK has no call for HEAD)
    answer = api.head(url, params={"path": TARGET}, timeout=api.timeout)
    answer.raise_for_status()
    return dict(json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])))


def nanoseconds(time: str) -> int:
    """An RFC 3339 time as nanoseconds since 1970; 0 when it is not one."""
    found = _TIME.fullmatch(time)
    if not found:
        return 0
    whole, fraction, zone = found.groups(default="")
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)


def mount_of(path: Path, mounts: Path = MOUNTS) -> str:
    """Where the file system is mounted that holds `path`."""
    points = {_unescaped(line.split(" ")[4]) for line in mounts.read_text(errors="surrogateescape").splitlines()}
    return next(str(each) for each in (path, *path.parents) if str(each) in points or each == each.parent)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
