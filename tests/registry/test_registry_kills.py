"""A kill at any file operation leaves nothing or the whole, and the same work, done again, completes it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("scenario", "at_least"), [("first", 40), ("register", 40), ("accept", 10), ("promote", 50)], ids=lambda each: each
)
def test_killed_anywhere_it_goes_on(tmp_path, scenario, at_least):
    done = subprocess.run(
        [sys.executable, "-W", "error", "kill_everywhere.py", scenario, tmp_path],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= at_least
