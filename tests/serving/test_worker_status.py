"""Which server processes run, seen from behind a fence: there /proc shows no other process."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from training.fence import confine
from training.fence.rules import around_python

CODE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from serving import worker_status
child = subprocess.Popen(["sleep", "60"])
for pid in (child.pid, int(sys.argv[1]), 4194300):
    Path(f"{pid}.json").write_text(json.dumps({"pid": pid}))
print([each["pid"] == child.pid for each in worker_status.read_all(Path("."))])
child.kill()
child.wait()
print(worker_status.read_all(Path(".")))
"""


@pytest.mark.skipif(confine.abi() < confine.SCOPE_ABI, reason="needs Landlock of Linux 6.12")
def test_behind_a_fence_the_own_processes_are_listed_and_foreign_ones_are_not(tmp_path):
    fence = dataclasses.replace(around_python(), write=(str(tmp_path),))
    command = [*fence.command(), sys.executable, "-c", CODE, str(os.getpid())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[True]\n[]\n", "")
    assert json.loads((tmp_path / f"{os.getpid()}.json").read_bytes())["pid"] == os.getpid()
