"""`make mutants`: do the quick tests notice small changes to the rules that decide what is released?

Each change is made in a copy of the project, and the tests that modules.toml names for the module run on it, without
TensorFlow and Docker; a change that they let pass is a survivor. Ends with 1 when a module is below the bar.

    run.py [MODULE …] [--jobs N] [--bar 95]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # also with -P

from mutations import Mutation, named

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "registry",
    "training",
    "retraining",
    "unit_tests",
    "serving",
    "pipelines",
    "tests",
    "examples",
    "docs",
    "docker",
    "jenkins",
)
FILES = ("pyproject.toml", "README.md", "requirements.txt", "Jenkinsfile")
OPTIONS = (
    *("-q", "-x", "-p", "no:xdist", "-m", "not slow and not docker and not long and not tensorflow"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is imported before the forks
)
LOADED = "loaded-by-tests"
ROOM = 1 << 30  # bytes
SPARE = 5.0  # seconds over thrice the time of the unchanged module: after that the change has made a loop


class QuickFirst:
    """A plugin of pytest: most changes are noticed before the tests with many examples begin, and without a server of S3.

    The rules of the registry are the same in a folder and in memory; a server takes seconds to start, for each change.
    """

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out what needs a server, and move the tests of Hypothesis to the end."""
        items[:] = [item for item in items if not _needs_server(item)]
        items.sort(key=lambda item: getattr(getattr(item, "obj", None), "is_hypothesis_test", False))


def _needs_server(item: Any) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("store") == "s3" or "s3_place" in item.fixturenames


@dataclass(frozen=True, slots=True)
class Module:
    """One module, its tests, and the changes of it that change nothing."""

    path: str
    tests: tuple[str, ...]
    same: frozenset[str]
    source: str


def modules() -> list[Module]:
    """What modules.toml says."""
    said = tomllib.loads((Path(__file__).parent / "modules.toml").read_text(encoding="utf-8"))["module"]
    return [
        Module(
            each["path"],
            tuple(each["tests"]),
            frozenset(each.get("same", ())),
            (ROOT / each["path"]).read_text(encoding="utf-8"),
        )
        for each in said
    ]


def copy_of_project(folder: Path) -> Path:
    """A copy in which a module can be changed."""
    for name in PACKAGES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, module: Module, seconds: float) -> bool:
    """Whether the tests of the module pass in `tree`; they are a child, forked when pytest is imported already."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        _tests(tree, module)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _end(pid)
            return status == 0
        time.sleep(0.02)
    _end(pid)
    os.waitpid(pid, 0)
    return False


def _tests(tree: Path, module: Module) -> None:
    """In the child: run the tests of the module and end the process."""
    import pytest

    code = 70
    try:
        os.chdir(tree)
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        own = str(ROOT)
        sys.path[:] = [str(tree), *(each for each in sys.path if each not in {own, ""})]
        os.environ["PYTHONPATH"] = str(tree)  # for the processes that tests start
        code = int(pytest.main([*OPTIONS, *module.tests], plugins=[QuickFirst()]))
        (tree / LOADED).write_text("\n".join(_not_ours(tree)), encoding="utf-8")
    finally:
        os._exit(code)


def _not_ours(tree: Path) -> list[str]:
    """What the tests have imported and no change can reach."""
    places = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return [name for name, place in places.items() if place and not Path(place).is_relative_to(tree)]


def _import_once(tree: Path) -> None:
    """Import in this process what the tests of the unchanged module imported: the children that are forked have it."""
    for name in (tree / LOADED).read_text(encoding="utf-8").splitlines():
        if name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child's collections copy it all


def _end(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)  # and what the tests have left running
    except ProcessLookupError:
        return


def survivors(module: Module, trees: SimpleQueue[Path], jobs: int) -> tuple[int, dict[str, Mutation]]:
    """How many changes were tried, and those that the tests let pass."""
    source = module.source
    tried = {name: each for name, each in named(source).items() if name not in module.same and _compiles(each, source)}
    started = time.monotonic()
    tree = trees.get()
    passed = run_tests(tree, module, 600)
    trees.put(tree)
    if not passed:
        sys.exit(f"{module.path}: its tests fail without any change: {' '.join(module.tests)}")
    limit = 3 * (time.monotonic() - started) + SPARE
    _import_once(tree)

    def survives(each: Mutation) -> bool:
        tree = trees.get()
        path = tree / module.path
        try:
            path.write_text(each.apply(source), encoding="utf-8")
            Path(cache_from_source(str(path))).unlink(missing_ok=True)  # Python compares length and second only
            return run_tests(tree, module, limit)
        finally:
            path.write_text(source, encoding="utf-8")
            trees.put(tree)

    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(survives, tried.values()))
    return len(tried), {name: tried[name] for name, lives in zip(tried, verdicts, strict=True) if lives}


def _compiles(each: Mutation, source: str) -> bool:
    try:
        compile(each.apply(source), "changed", "exec")
    except SyntaxError:
        return False
    return each.old != each.new


def report(module: Module, tried: int, alive: dict[str, Mutation], seconds: float) -> float:
    """Print the module's line and its survivors; gives the share that the tests noticed, in percent."""
    score = 100 * (1 - len(alive) / tried) if tried else 100.0
    print(f"{score:5.1f} %  {tried - len(alive):3d} of {tried:3d}  {seconds:4.0f} s  {module.path}", flush=True)
    for name, each in alive.items():
        print(f"         {module.path}:{each.line}: {name}", flush=True)
    return score


def _in_memory() -> Path | None:
    """A folder in memory, if there is room: on a disk, most of the time is spent on syncing what the tests write."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > ROOM else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="paths; default: all of modules.toml")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bar", type=float, default=95.0)
    args = parser.parse_args()
    import hypothesis  # noqa: F401  (before the forks, as what tests import)
    import pytest  # noqa: F401

    low = False
    with tempfile.TemporaryDirectory(dir=_in_memory()) as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch  # also of the tests
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(args.jobs):
            trees.put(copy_of_project(Path(scratch) / str(number)))
        for each in modules():
            if not args.modules or each.path in args.modules:
                started = time.monotonic()
                tried, alive = survivors(each, trees, args.jobs)
                low |= report(each, tried, alive, time.monotonic() - started) < args.bar
    sys.exit(low)
