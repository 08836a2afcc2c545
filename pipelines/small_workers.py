"""Workers that answer a question of a command: a module in a process of its own, with its job as JSON on stdin.

Its result is on stdout. An error with an exit code is its last line, as `{"error": …, "hint": …, "exit_code": …}`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed


def ask(
    module: str, job: Mapping[str, Any] | str, what: str, *, fence: Sequence[str] = (), seconds: float | None = None
) -> str:
    """What the worker prints. `job`: JSON, or what becomes it; `what` names it in errors: "the worker that …"; `fence` are words before its command;
    `seconds`: how long it may take, None: as long as it needs.

    Raises what it reports, as ConfigError or TryAgain; WorkerFailed when it ends without a word, or takes too long.
    """
    command = [*fence, sys.executable, "-P", "-m", module]
    text = job if isinstance(job, str) else json.dumps(job)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise WorkerFailed(f"{what} was still running after {seconds:g} s") from None
    if done.returncode == 0:
        return done.stdout
    last = (done.stdout.splitlines() or [""])[-1]
    try:
        found = json.loads(last)
        kind: type[PipelineError] = TryAgain if found["exit_code"] == TryAgain.exit_code else ConfigError
        error = kind(str(found["error"]), hint=str(found["hint"]))
    except (ValueError, KeyError, TypeError):
        reason = clean((done.stderr.strip().splitlines() or ["no output"])[-1], 300)
        raise WorkerFailed(f"{what} ended with {done.returncode}: {reason}") from None
    raise error
