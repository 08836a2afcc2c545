"""A process of its own, which outlives the console."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pipelines.config.held import environment_with_held


def detached(
    command: Sequence[str], output: BinaryIO, *, folder: Path | None = None, lock: int | None = None
) -> subprocess.Popen[bytes]:
    """Start it with the secrets that this process was started with; what it prints goes to `output`.

    `folder`: where it works. `lock`: the descriptor of a lock that it holds from then on, whoever is killed. Raises OSError.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=dict(environment_with_held(os.environ)),
        pass_fds=() if lock is None else (lock,),
        start_new_session=True,
    )
