"""The frame of a worker that answers a question of a command (pipelines.small_workers): its job and its result are JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from registry.errors import PipelineError, from_os_error


def answer(act: Callable[[Mapping[str, Any]], Any], where: str) -> int:
    """Print what `act` makes of the job on stdin, as the last line; an exit code as `trainyard` has it.

    An error with an exit code is the last line, as `{"error": …, "hint": …, "exit_code": …}`. `where`: the field of the job with the
    folder that errors of files are about.
    """
    job = json.load(sys.stdin)
    try:
        try:
            found = act(job)
        except OSError as error:
            raise from_os_error(error, job[where]) or error from None
    except PipelineError as error:
        sys.stdout.write(json.dumps({"error": str(error), "hint": error.hint, "exit_code": error.exit_code}) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(found) + "\n")
    return 0
