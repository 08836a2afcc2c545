"""`python -P -m pipelines.console.decisions.carry_out FOLDER LOCK WORDS…`: runs `trainyard WORDS…`, and writes down how it has ended.

LOCK is the descriptor of the folder's lock, which the command holds, too, so that it counts as running whoever is killed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.console.decisions.promoting import Outcome
from registry import codec
from registry.records import utc_now


def main(folder: Path, lock: int, words: Sequence[str]) -> int:
    """The exit code of the command."""
    command = [sys.executable, "-P", "-m", "pipelines", *words]
    code = subprocess.run(command, check=False, pass_fds=(lock,)).returncode
    codec.save(Outcome(code, utc_now()), folder / "outcome.json")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
