"""What Trainyard needs from this machine, one function per question. None imports what it looks for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from pipelines import docker_engine
from pipelines.approval import SECRET_FILE, approval_secret
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.mail.outbox import try_server
from pipelines.repositories import git
from registry.stores import open_store

State = Literal["ok", "warn", "fail"]
TRIED_PYTHON = ((3, 11), (3, 13))
OLDEST_GIT = (2, 30)
GIB = 1 << 30
LITTLE, TOO_LITTLE = 5 * GIB, 1 * GIB  # free disk
PATIENCE = 8.0  # seconds for one answer over the network
INSTALL = f"{sys.executable} -m pip install -r requirements.txt (or: make setup)"
PACKAGES = {
    "tensorflow": ("tensorflow-cpu", "tensorflow"),
    "keras": ("keras",),
    "ai_edge_litert": ("ai-edge-litert",),
    "numpy": ("numpy",),
    "PIL": ("pillow",),
    "pyarrow": ("pyarrow",),
    "matplotlib": ("matplotlib",),
    "great_expectations": ("great-expectations",),
    "flask": ("flask",),
    "gunicorn": ("gunicorn",),
    "requests": ("requests",),
    "docker": ("docker",),
    "boto3": ("boto3",),
    "jenkins": ("python-jenkins",),
    "yagmail": ("yagmail",),
    "itsdangerous": ("itsdangerous",),
    "rich": ("rich",),
    "orjson": ("orjson",),
    "pytest": ("pytest",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do next when it is not well."""

    state: State
    what: str
    next: str = ""


Check = Callable[[], Finding]


def of_machine() -> Mapping[str, Check]:
    """What can be asked without settings."""
    return {"python": python, "packages": packages, "git": git_version}


def of_config(config: Config) -> Mapping[str, Check]:
    """What the settings ask for."""
    from pipelines.doctor import docker

    home = Path(config.home)
    repositories = {f"repository {name}": partial(repository, config, name) for name in ("code", "dataset", "tests")}
    return (
        repositories
        | {
            "home": partial(folder_is_ours, home),
            "disk": partial(disk, home, config.registry.url),
            "memory": partial(memory, config.runner.memory_mb),
            "registry": partial(registry, config.registry.url),
            "mail": partial(mail, config),
            "approval secret": partial(approvals, home),
            "serving": partial(serving, config),
        }
        | docker.of_config(config)
    )


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """A version that Trainyard was tried with."""
    name, (oldest, newest) = ".".join(map(str, version)), TRIED_PYTHON
    if version < oldest:
        return Finding("fail", f"{name} is too old", "install Python 3.11 or newer, and set up again with it")
    if version > newest:
        return Finding("warn", f"{name} has not been tried", "3.11 to 3.13 have; if packages are missing, use one")
    return Finding("ok", f"{sys.version.split()[0]}, {sys.executable}")


def packages(wanted: Mapping[str, tuple[str, ...]] = PACKAGES) -> Finding:
    """Every package can be imported; none is imported."""
    faults = []
    for module in wanted:
        spec = importlib.util.find_spec(module)
        if spec is None:
            faults.append(f"{module} is missing")
        elif spec.origin is None:  # a folder without __init__.py: `import` would succeed, and bring nothing
            faults.append(f"{module} is hidden by the folder {next(iter(spec.submodule_search_locations or ['?']))}")
    if faults:
        return Finding("fail", "; ".join(faults), INSTALL)
    shown = [f"{names[0]} {_version(names)}" for names in list(wanted.values())[:3]]
    return Finding("ok", f"all {len(wanted)} are there: {', '.join(shown)}, …")


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def git_version() -> Finding:
    """Git is there, and new enough."""
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return Finding("fail", "git is missing", "apt install git")
    numbers = re.search(r"(\d+)\.(\d+)[.\d]*", done.stdout)
    if not numbers:
        return Finding("fail", f"`git --version` says {done.stdout or done.stderr!r}", "apt install git")
    if (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        return Finding("fail", f"{numbers[0]} is older than 2.30", "install a newer git")
    return Finding("ok", numbers[0])


def repository(config: Config, name: str) -> Finding:
    """The repository can be read, and has the watched branch."""
    url, branch = getattr(config.repositories, name), config.repositories.branch
    commit = git.head(url, branch, name, PATIENCE)
    return Finding("ok", f"{git.shown(url)}, {branch} is at {commit[:10]}")


def folder_is_ours(home: Path) -> Finding:
    """The home folder can be written, and nobody else's files stand in the way."""
    place = existing(home)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Finding("fail", f"{place}: {error.strerror}", "set `home` to a folder of yours, or change its owner")
    if place != home:
        return Finding("ok", f"{home} will be made")
    foreign = [path for path in (home, *home.glob("*"), *home.glob("runs/*")) if path.lstat().st_uid != os.geteuid()]
    if foreign:
        what = f"{len(foreign)} files or folders of other users, e.g. {foreign[0]}"
        return Finding("warn", what, f"sudo chown -R {os.geteuid()} {home}; and run it as one user only")
    return Finding("ok", f"{home} can be written")


def disk(home: Path, registry_url: str) -> Finding:
    """Room for runs, and for versions."""
    places = [home]
    if registry_url.startswith("file://"):
        places.append(Path(registry_url.removeprefix("file://")))
    free, place = min((shutil.disk_usage(existing(each)).free, existing(each)) for each in places)
    return room(free, place)


def room(free: int, place: Path) -> Finding:
    """Whether `free` bytes are enough."""
    what, action = f"{free / GIB:.1f} GiB free at {place}", "remove old runs, or move `home` or the registry"
    if free < TOO_LITTLE:
        return Finding("fail", what, action)
    return Finding("warn", f"only {what}", action) if free < LITTLE else Finding("ok", what)


def memory(limit_mb: int, meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """A worker finds as much memory as it may use."""
    rows = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    total, free = (int(rows[name].split()[0]) >> 10 for name in ("MemTotal", "MemAvailable"))
    what = f"{free} of {total} MiB free, a worker may use {limit_mb or total}"
    if limit_mb > total:
        return Finding("warn", what, "lower [runner] memory_mb, so that a worker fails before the machine does")
    return Finding("ok", what) if limit_mb <= free else Finding("warn", what, "end what uses the memory")


def registry(url: str) -> Finding:
    """The registry can be written, and keeps its promise never to overwrite."""
    open_store(url).probe()
    return Finding("ok", f"{url}: can be written, with hard links" if url.startswith("file://") else f"{url}: answers")


def mail(config: Config) -> Finding:
    """The mail server takes our session; without one, there is the outbox."""
    settings = config.mail
    if not settings.host:
        outbox = Path(config.home) / "outbox"
        return Finding("ok", f"no [mail] host: mails are written to {outbox}", "set [mail] host to have them sent")
    password = secret("SMTP_PASSWORD")
    timeout = min(settings.timeout_seconds, PATIENCE)
    if trouble := try_server(replace(settings, timeout_seconds=timeout), password):
        return Finding("fail", trouble, "mails wait in the outbox until this is right; check [mail]")
    where = f"{settings.host}:{settings.port} ({settings.security})"
    if settings.username and not password:
        return Finding("warn", f"{where} answers, but no password is set", "set TRAINYARD_SMTP_PASSWORD or …_FILE")
    return Finding("ok", f"{where} " + ("takes our login" if settings.username else "answers"))


def approvals(home: Path) -> Finding:
    """There is a secret to sign approvals with, or one can be made."""
    given = next((name for name in ("", "_FILE") if os.environ.get(f"TRAINYARD_APPROVAL_SECRET{name}")), None)
    own = home / SECRET_FILE
    if given is None and not own.exists():
        return Finding("ok", f"will be made with the first approval, in {own}")
    approval_secret(home)
    return Finding("ok", str(own) if given is None else f"from TRAINYARD_APPROVAL_SECRET{given}")


def serving(config: Config) -> Finding:
    """Our API answers at the port, or the port is free."""
    if config.serving.deploy == "jenkins":
        return Finding(
            "ok",
            "the API runs where Jenkins' promotion job starts it",
            f"there `trainyard serve {config.model} --status --here` looks at it",
        )
    host, port = config.serving.host, config.serving.port
    api = open_deployment(config)
    if url := api.running():
        release = api.version().get("release")
        return Finding("ok", f"the API runs at {url}, release {release or 'none yet'}")
    if config.serving.deploy == "docker" and not docker_engine.address().startswith("unix://"):
        return Finding(
            "ok", f"no API runs; whether {host}:{port} is free there, the engine at {docker_engine.address()} will tell"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(1)
    except OSError as error:
        what = f"cannot listen on {host}:{port}: {error.strerror}"
        return Finding("fail", what, "set [serving] port (or host), or end the other program")
    return Finding("ok", f"{host}:{port} is free")


def existing(path: Path) -> Path:
    """The path, or the folder in which it would be made."""
    return next(each for each in (path, *path.parents) if each.exists())
