"""SIGKILL before and after each file-system call of a registry's writer, and in the middle of each write.

It leaves nothing or the whole, and the same work, done again, completes it. CI kills it at a sample of these moments, `make
fuzz` at all."""

import subprocess
import sys

import pytest
from faults_parts import HERE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("which", ["sample", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("scenario", "at_least"),
    [("first", 50), ("publish", 80), ("accept", 25), ("promote", 90), ("rollback", 20), ("archive", 60)],
    ids=str,
)
def test_killed_anywhere_it_resumes(tmp_path, scenario, at_least, which):
    done = subprocess.run(
        [sys.executable, "-W", "error", "registry_kill_everywhere.py", scenario, tmp_path, which],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills, moments = map(int, done.stdout.split())
    assert moments >= at_least
    assert kills >= 0.95 * moments if which == "all" else kills >= moments / 5, "threads change only a few moments"
