"""What is dear to make, made once for all processes of a test run: the first that needs it makes it, the others wait."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def made_once(tmp_path_factory, script: str) -> Path:
    """The folder that `tests/helpers/SCRIPT FOLDER` has written; tests copy from it and change nothing in it."""
    base = tmp_path_factory.getbasetemp()
    base = (
        base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    )  # one for each run, and in it one for each process
    folder, done = base / script.removesuffix(".py"), base / f"{script}.done"
    with (base / f"{script}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir()
            made = subprocess.run(
                [sys.executable, "-P", ROOT / "tests" / "helpers" / script, folder],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert made.returncode == 0, made.stderr
            done.touch()
    return folder
