"""`python -P -m serving.preflight`: loads and warms one release as a worker would, in a process that nobody will miss.

A damaged file can end the process that loads it, and a large one can take all memory: what happens here does not happen
to a worker. stdin is a Preflight as JSON. Exit code 0: it has answered, and stdout has the memory that it took as JSON.
3: it has not, and stdout is a Refusal as JSON.
Whatever else ends the process, a signal above all, is for `serving.preflights` to put into words.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry import codec
from registry.errors import PipelineError
from serving.job import ServeJob
from serving.known_good import Live
from serving.model_source import open_source
from serving.protocols.dialects import predictor_for
from training.heavy import import_tensorflow

REFUSED = 3
PR_SET_PDEATHSIG = 1
MB = 1 << 20


def main() -> int:
    """Try what stdin asks for."""
    _go_first()
    asked = json.load(sys.stdin)
    answer, sys.stdout = os.dup(1), sys.stderr
    os.dup2(2, 1)  # a library that prints does not answer for us
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if limit_mb := asked["memory_mb"]:
        _limit_memory(limit_mb * MB)
    if asked["has_tensorflow"]:  # so does the worker, which needs it once
        import_tensorflow()
    try:
        before = private_mb()
        job = replace(codec.from_json(ServeJob, asked["job"].encode(), "job"), batch_ms=0.0)  # measured where it serves
        predictor = predictor_for(open_source(job, Path(asked["copies"])).load(Live(**asked["live"])))
        _answer(answer, {"memory_mb": max(0, private_mb() - before)})
        del predictor
    except Exception as error:  # whatever is wrong with it, the worker reports it
        known = isinstance(error, (PipelineError, OSError))
        if not known:
            logging.getLogger(__name__).exception("the model cannot be loaded")
        _answer(answer, {"reason": reason(error), "memory": isinstance(error, MemoryError)})
        return REFUSED
    return 0


def _limit_memory(most: int) -> None:
    """A runner has perhaps set a limit already, which may be less than what is free on the machine."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def reason(error: Exception) -> str:
    """An error in words, with its type where it is not Trainyard's."""
    if isinstance(error, MemoryError):
        return "there is not enough memory to load it"
    return str(error) if isinstance(error, (PipelineError, OSError)) else f"{type(error).__name__}: {error}"


def _go_first() -> None:
    """End with the worker that waits, and be what the kernel ends when memory is short, instead of a worker."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def private_mb() -> int:
    """Memory of this process that it shares with no other and that no file holds, in MB; 0: unknown."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.partition("RssAnon:")[2].split()[0]) >> 10
    except (OSError, ValueError, IndexError):
        return 0


def _answer(fd: int, said: dict[str, Any]) -> None:
    os.write(fd, json.dumps(said).encode()[: 32 << 10])


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # at once: TensorFlow takes a second to end in order
