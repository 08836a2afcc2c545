"""Runs in a container: prints, as JSON, what a test wants to know about the image."""

import importlib.metadata
import importlib.util
import json
import os
import stat
import sys
from pathlib import Path

HOME = Path(sys.prefix)
LIBRARY = Path(os.__file__).parent
CODE = (HOME, LIBRARY)


def python_files():
    for top in CODE:
        for path in top.rglob("*.py"):
            if top == HOME or not {"test", "tests", "lib2to3", "dist-packages"} & set(path.parts):
                yield path


def bytecode(path):
    """`none`, `checked` when its source is looked at each time, else `unchecked`."""
    compiled = Path(importlib.util.cache_from_source(path))
    if not compiled.exists():
        return "none"
    return "unchecked" if compiled.read_bytes()[4] == 1 else "checked"


def writable(top):
    for path in top.rglob("*"):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and (status.st_uid or status.st_mode & 0o022):
            yield str(path)


def programs(names):
    folders = os.environ["PATH"].split(":")
    return sorted(each for each in names if any(Path(folder, each).exists() for folder in folders))


def leftovers():
    patterns = [
        "/build",
        "/root/.cache",
        "/tmp/pip*",
        "/var/lib/apt/lists/*_dists_*",
        "/usr/local/share/ca-certificates/*",
    ]
    return [str(path) for pattern in patterns for path in Path("/").glob(pattern[1:])]


files = list(python_files())
sys.stdout.write(
    json.dumps(
        {
            "user": [os.getuid(), os.getgid()],
            "prefix": sys.prefix,
            "home": os.environ.get("HOME"),
            "path": sys.path,
            "packages": {each.name: each.version for each in importlib.metadata.distributions()},
            "found": [each for each in ("tensorflow", "keras", "pip", "docker") if importlib.util.find_spec(each)],
            "no bytecode": [str(path) for path in files if bytecode(path) == "none"],
            "looked at": [str(path) for path in files if path.is_relative_to(HOME) and bytecode(path) == "checked"],
            "files": len(files),
            "writable": list(writable(HOME)),
            "compilers": programs(["gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "cmake", "rustc", "pip"]),
            "headers": [str(path) for path in HOME.rglob("*.a")],
            "leftovers": leftovers(),
        }
    )
    + "\n"
)
