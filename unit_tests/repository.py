"""Runs the tests repository's pytest against the staging instance: in a child process, in a copy, under a time limit."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from registry.records import TestCase, TestReport
from unit_tests.job import TESTS
from unit_tests.pytest_log import TestLog, read_log

PASSED = re.compile(
    r"PATH|TZ|LANG|LANGUAGE|LC_\w+|LD_LIBRARY_PATH|PYTHON(PATH|UTF8|FAULTHANDLER)|SSL_CERT_(FILE|DIR)"
    r"|TF_CPP_MIN_LOG_LEVEL|KERAS_HOME|MPL\w+|OMP_NUM_THREADS"
)
"""What the tests may see of the worker's environment. A list of what is allowed, because secrets have any name."""
HABITS = ("--continue-on-collection-errors", "--no-header", "--color=no", "--tb=short")
LAST_LINES = 15
NO_TESTS = "there is no test: the repository needs a test_*.py with a function test_…"


@dataclass(frozen=True, slots=True)
class Repository:
    """Where the tests are, what they are about, where they run."""

    tests: Path
    options: tuple[str, ...]
    """The plugin's own: `--trainyard-url`, …"""
    scratch: Path
    """A folder for the copy, the home folder and the log."""


def run_repository(repository: Repository, seconds: float) -> TestReport:
    """Run all tests; one case each. Whatever keeps a test from being run, from a syntax error to a killed process, is an
    `error` case, so that a report without failures means that every test was run."""
    copy, log = repository.scratch / "tests", repository.scratch / "tests.jsonl"
    for name in ("home", "tmp"):
        (repository.scratch / name).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(copy, ignore_errors=True)
    log.unlink(missing_ok=True)
    shutil.copytree(repository.tests, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    command = [*_command(copy), f"--trainyard-log={log}", *repository.options]
    code, last = _run(command, copy, _environment(repository.scratch), seconds)
    return _report(read_log(log), code, last, seconds)


def _command(copy: Path) -> list[str]:
    """Pytest that reads nothing outside `copy`: its settings come from there, or from nowhere."""
    settings = _settings(copy) or Path(os.devnull)
    isolation = [f"--rootdir={copy}", f"--confcutdir={copy}", "-c", str(settings), "-p", "no:cacheprovider"]
    return [sys.executable, "-P", "-m", "pytest", "-p", "unit_tests.plugin", *isolation, *HABITS]


def _settings(copy: Path) -> Path | None:
    """The repository's own pytest settings, by pytest's rules of precedence."""
    for name, section in (
        ("pytest.toml", ""),
        (".pytest.toml", ""),
        ("pytest.ini", ""),
        (".pytest.ini", ""),
        ("pyproject.toml", "tool.pytest"),
        ("tox.ini", "[pytest]"),
        ("setup.cfg", "[tool:pytest]"),
    ):
        path = copy / name
        if path.is_file() and (not section or _has_section(path, section)):
            return path
    return None


def _has_section(path: Path, section: str) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix != ".toml":
        return section in text
    try:
        return "pytest" in tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError:
        return True  # pytest will say what is wrong with it


def _environment(scratch: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
    own = {"HOME": str(scratch / "home"), "TMPDIR": str(scratch / "tmp"), "PYTHONUNBUFFERED": "1"}
    return kept | own


def _run(command: list[str], cwd: Path, environment: Mapping[str, str], seconds: float) -> tuple[int | None, list[str]]:
    """The exit code, None for too late, and the last lines of the output, which goes to the worker's log as it comes."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        text=True,
        errors="replace",
    )
    assert child.stdout is not None
    reader = Thread(target=_forward, args=(child.stdout, last), daemon=True)
    reader.start()
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _kill(child)
    reader.join(5)  # the pipe stays open when a test's daemon still holds it
    return code, list(last)


def _forward(output: IO[str], last: deque[str]) -> None:
    with output:
        for line in output:
            last.append(line.rstrip())
            sys.stdout.write(f"  | {line.rstrip()}\n")  # so that no test can speak as the worker does
            sys.stdout.flush()


def _kill(child: subprocess.Popen[str]) -> None:
    """End pytest and all that its tests have started and left behind. What made itself a daemon is the runner's to end."""
    tree = below(child.pid)
    child.kill()  # first, so that it starts nothing more
    for pid in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def below(root: int) -> list[int]:
    """The descendants of the process `root`, parents first; none where /proc shows no other processes, as behind a fence."""
    children: dict[int, list[int]] = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return []
    for entry in entries:
        with contextlib.suppress(OSError, ValueError):
            stat = Path(f"/proc/{entry}/stat").read_bytes() if entry.isdigit() else b""
            if stat:
                children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:  # grows on the way
        found += children.get(pid, ())
    return found


def _report(log: TestLog, code: int | None, last: Iterable[str], limit: float) -> TestReport:
    cases = dict(log.cases)
    output = "\n".join(last)
    running = log.started if log.started and log.started not in cases else ""
    if code is None:
        message = f"timed out: all tests together may take {limit:g} s ([acceptance] timeout_seconds)\n{output}"
        cases[running or "pytest"] = TestCase(running or "pytest", "error", limit, message)
    elif log.finished is None and running:
        cases[running] = TestCase(running, "error", message=f"pytest ended in this test, {_how(code)}\n{output}")
    elif log.finished is None or code not in {0, 1, 2, 5} or (code == 2 and not _failed(cases)):
        cases["pytest"] = TestCase("pytest", "error", message=f"pytest could not run, {_how(code)}\n{output}")
    for name in log.collected:
        if name not in cases:
            cases[name] = TestCase(name, "error", message="was not run: pytest stopped before it")
    if not cases:
        cases["pytest"] = TestCase("pytest", "error", message=NO_TESTS)
    elif code == 1 and not _failed(cases):
        cases["pytest"] = TestCase("pytest", "error", message=f"pytest says that tests failed\n{output}")
    return TestReport(TESTS, tuple(cases.values()))


def _failed(cases: Mapping[str, TestCase]) -> bool:
    return any(case.outcome in {"failed", "error"} for case in cases.values())


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
