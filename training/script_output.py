"""Why a script of the team's own has failed, from its exit code and from what it has printed."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from registry.errors import WorkerFailed
from training.model.contract import missing_package
from training.worker.protocol import OUT_OF_MEMORY, last_words

KEPT = 400
"""Lines: a crash in C prints the stacks of all threads after its reason."""
SHOWN = 8
NOISE = re.compile(
    r"\s*\d+/(\d+|Unknown)\s.*step|\s*Epoch \d+/\d+|[IW]\d{4} [\d:.]+ |\d{4}-\d\d-\d\d [\d:.]+: [IW] "
    r"|WARNING: All log messages before absl|\s*$"
)
"""Progress bars, and what TensorFlow logs at every start."""
EXCEPTION = re.compile(r"((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|Iteration))(?:: (.*))?$")
FRAME = re.compile(r'  File "([^"]+)", line (\d+)')
NO_MODULE = re.compile(r"No module named '([\w.]+)'")
BY_HAND = "run it by hand in the code repository, with the TRAINYARD_ variables set"
SHELL = 128
"""A shell reports a child that a signal has ended as 128 and the signal's number."""


class ScriptFailed(WorkerFailed):
    """The script ended with another exit code than 0."""

    exception = ""
    """The name of the Python exception that ended it, if one did."""


def failure(command: str, code: int, said: Sequence[str], folder: Path) -> ScriptFailed:
    """What to report of `command`, which ran in `folder`: the exception first, then the last lines that are not noise.

    `code` is the exit code, minus the signal's number for one that was killed. `said` are the last lines of its output.
    """
    number = -code if code < 0 else code - SHELL if SHELL < code <= SHELL + signal.NSIG else 0
    how = f"failed with signal {number}{_name(number)}" if number else f"failed with exit code {code}"
    lines = last_words([line for line in said if not NOISE.match(line)], KEPT)
    recent = lines[-40:]
    if memory := next(filter(OUT_OF_MEMORY.search, reversed(recent)), ""):
        return ScriptFailed(f"{command} ran out of memory ({how}): {memory.strip():.300}")
    if number == signal.SIGKILL:
        return ScriptFailed(f"{command} {how}: most often out of memory", hint="see `dmesg`; raise [runner] memory_mb")
    found = _exception(lines)
    tail = "\n".join(lines[-SHOWN:])
    if not found:
        words = f"; its last lines:\n{tail}" if tail else ", without any output"
        return ScriptFailed(f"{command} {how}{words}", hint=_hint(tail))
    name, message = found
    error = ScriptFailed(
        f"{command} {how}: {name.rpartition('.')[2]}{f': {message:.600}' if message else ''}{_place(lines, folder)}; "
        f"its last lines:\n{tail}",
        hint=_hint(f"{name}: {message}"),
    )
    error.exception = name.rpartition(".")[2]
    return error


def _exception(lines: Sequence[str]) -> tuple[str, str] | None:
    """Name and message of the last exception in the output; some of a message's lines may follow it."""
    for line in reversed(lines):
        if found := EXCEPTION.match(line):
            return found[1], found[2] or ""
    return None


def _place(lines: Sequence[str], folder: Path) -> str:
    """The innermost line of the team's own code in the last traceback."""
    for line in reversed(lines):
        if line.startswith("Traceback "):
            break
        found = FRAME.match(line)
        if found and (path := Path(folder, found[1]).resolve()).is_relative_to(folder.resolve()):
            return f", in {path.relative_to(folder.resolve())}, line {found[2]}"
    return ""


def _hint(text: str) -> str:
    if found := NO_MODULE.search(text):
        return missing_package(found[1])
    if "the following arguments are required" in text:
        return "add them to [training] command, or let their defaults come from the TRAINYARD_ variables"
    return BY_HAND


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
