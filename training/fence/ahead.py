"""Interpreters that are started before it is known what they are to fence.

One takes 15 ms to start, on another core than ours while we have modules to import. What it waits for on its stdin: the number of
the bytes that follow, in 8 hexadecimal digits; then, with a NUL between each two, its folder, the number of its variables, these,
and the arguments of `start.py`. Light: it is imported before all else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "start.py")
START = [sys.executable, "-I", "-S", PROGRAM]
_idle: list[subprocess.Popen[bytes]] = []


def start(number: int) -> None:
    """Have so many wait. One that nobody takes ends with us."""
    pipe = subprocess.PIPE
    for _ in range(number):
        process = subprocess.Popen([*START, "--later"], start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe)
        _idle.append(process)


def take(words: Sequence[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """One that becomes the command of these words, as `Fence.command` has them, with all else that is given; its three streams
    are pipes. None when the words are others, or none waits."""
    if list(words[: len(START)]) != START:
        return None
    variables = [f"{name}={value}" for name, value in environment.items()]
    parts = [folder, str(len(variables)), *variables, *words[len(START) :]]
    data = b"\0".join(map(os.fsencode, parts))
    with suppress(IndexError):  # none waits
        process = _idle.pop()
        assert process.stdin
        with suppress(BrokenPipeError):  # somebody has ended it
            process.stdin.write(b"%08x" % len(data) + data)
            process.stdin.flush()
            return process
    return None
