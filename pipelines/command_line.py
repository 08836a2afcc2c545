"""Commands as a person on this machine can copy them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from pipelines.config.schema import Config


def command_line(config: Config, *words: str) -> str:
    """`trainyard WORDS… --config FILE`, quoted for a shell; it works from any folder."""
    program = "trainyard" if shutil.which("trainyard") else str(Path(sys.executable).parent / "trainyard")
    return shlex.join([program, *words, "--config", config.file])
