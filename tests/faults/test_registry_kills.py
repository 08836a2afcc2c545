"""SIGKILL before and after each file-system call of a registry's writer, and in the middle of each write.

It leaves nothing or the whole, and the same work, done again, completes it."""

import subprocess
import sys

import pytest
from faults_parts import HERE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("scenario", "at_least"),
    [("first", 50), ("publish", 80), ("accept", 25), ("promote", 90), ("rollback", 20)],
    ids=str,
)
def test_killed_anywhere_it_resumes(tmp_path, scenario, at_least):
    done = subprocess.run(
        [sys.executable, "-W", "error", "registry_kill_everywhere.py", scenario, tmp_path],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= at_least
