"""What Trainyard needs of this machine, one function per check. None imports what it looks for."""

from __future__ import annotations

import grp
import importlib.metadata
import importlib.util
import os
import platform
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.doctor.finding import PATIENCE, Finding, disk_space, existing
from training.fence.rules import lacks

TESTED_PYTHON = ((3, 11), (3, 13))
OLDEST_GIT = (2, 30)
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
    "simdjson": ("pysimdjson",),
    "pytest": ("pytest",),
}


def python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """A version that Trainyard is tested with."""
    name, (oldest, newest) = ".".join(map(str, version)), TESTED_PYTHON
    if version < oldest:
        return Finding("fail", f"{name} is too old", "install Python 3.11 or newer, and set up again with it")
    if version > newest:
        return Finding(
            "warn",
            f"{name} is untested",
            "Trainyard is tested with 3.11 to 3.13: if packages are missing, use one of them",
        )
    return Finding("ok", f"{sys.version.split()[0]}, {sys.executable}")


def packages(wanted: Mapping[str, tuple[str, ...]] = PACKAGES) -> Finding:
    """Every package can be imported; none is imported."""
    problems = []
    for module in wanted:
        spec = importlib.util.find_spec(module)
        if spec is None:
            problems.append(f"{module} is missing")
        elif spec.origin is None:  # a folder without __init__.py: `import` would succeed, and bring nothing
            problems.append(f"{module} is hidden by the folder {next(iter(spec.submodule_search_locations or ['?']))}")
    if problems:
        return Finding("fail", "; ".join(problems), INSTALL)
    shown = [f"{names[0]} {_version(names)}" for names in list(wanted.values())[:3]]
    return Finding("ok", f"all {len(wanted)} are there: {', '.join(shown)}, …")


def fence(*, required: bool, missing: tuple[str, ...] | None = None) -> Finding:
    """The kernel can keep a worker, and the API, from all that it was not given."""
    missing = lacks() if missing is None else missing
    if not missing:
        return Finding(
            "ok",
            "workers and the API are kept from files, TCP ports, signals, modes of files and system calls that are not theirs",
        )
    what = f"this kernel ({platform.release()}) cannot keep a worker or the API from {', '.join(missing)}"
    hint = 'Linux 6.12 with Landlock, and user namespaces; or [runner] kind and [serving] deploy = "docker"'
    return Finding("fail" if required else "warn", what, hint)


def _version(distributions: tuple[str, ...]) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def git_version() -> Finding:
    """Git is installed, and new enough."""
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return Finding("fail", "git is missing", "install git 2.30 or newer")
    numbers = re.search(r"(\d+)\.(\d+)[.\d]*", done.stdout)
    if not numbers:
        return Finding("fail", f"`git --version` prints {done.stdout or done.stderr!r}", "install git 2.30 or newer")
    if (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        return Finding("fail", f"{numbers[0]} is older than 2.30", "install a newer git")
    return Finding("ok", numbers[0])


def home_folder(home: Path) -> Finding:
    """The home folder can be written, and holds no files of other users."""
    parent = existing(home)
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        return Finding("fail", f"{parent}: {error.strerror}", "set `home` to a folder of yours, or change its owner")
    if parent != home:
        return Finding("ok", f"{home} will be created")
    foreign = [path for path in (home, *home.glob("*"), *home.glob("runs/*")) if path.lstat().st_uid != os.geteuid()]
    if foreign:
        what = f"{len(foreign)} files or folders belong to other users, e.g. {foreign[0]}"
        return Finding("warn", what, f"sudo chown -R {os.geteuid()} {home}; and run it as one user only")
    if who := _others_who_may_write(home):
        return Finding(
            "warn",
            f"{home} can be written by {who}, who can replace what a run reads",
            f"chmod go-w {home}; docs/how-to/operate.md says how several people use one home",
        )
    return Finding("ok", f"{home} can be written")


def _others_who_may_write(folder: Path) -> str:
    """Who can add and remove files beside its owner, in words; empty when nobody can."""
    status = folder.stat()
    if status.st_mode & stat.S_IWOTH:
        return "everybody on this machine"
    if not status.st_mode & stat.S_IWGRP:
        return ""
    try:
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return f"group {status.st_gid}"
    others = sorted({*group.gr_mem} - {pwd.getpwuid(os.geteuid()).pw_name})  # a user's own group has nobody else
    return f"the group {group.gr_name} ({', '.join(others[:5])})" if others else ""


def disk(home: Path, registry_url: str) -> Finding:
    """Free space for runs, and for versions."""
    folders = [home]
    if registry_url.startswith("file://"):
        folders.append(Path(registry_url.removeprefix("file://")))
    free, folder = min((shutil.disk_usage(existing(each)).free, existing(each)) for each in folders)
    return disk_space(
        free,
        folder,
        "`trainyard clean` removes what old runs have left, as far as [keep] allows; or move `home` or the registry",
    )


def memory(limit_mb: int, meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """As much memory is free as a worker may use."""
    rows = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    total, free = (int(rows[name].split()[0]) >> 10 for name in ("MemTotal", "MemAvailable"))
    what = f"{free} of {total} MiB free, a worker may use {limit_mb or total}"
    if limit_mb > total:
        return Finding("warn", what, "lower [runner] memory_mb, so that a worker fails before the machine does")
    return (
        Finding("ok", what)
        if limit_mb <= free
        else Finding("warn", what, "stop other programs, or lower [runner] memory_mb")
    )
