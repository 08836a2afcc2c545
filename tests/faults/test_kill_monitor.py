"""A monitor that is killed anywhere, and several at once: no window is lost, and no alarm is reported twice."""

import os
import subprocess
import sys
from pathlib import Path

HELPERS = Path(__file__).parents[1] / "helpers"

AT_ONCE = """
import sys
from pathlib import Path
from monitor_parts import config, failing, looking
from pipelines.monitor.service import monitor_once
from registry.errors import TryAgain
print("ready", flush=True)
sys.stdin.readline()
try:
    print(monitor_once(config(Path(sys.argv[1])), looking(failing(1), failing(2))).exit_code)
except TryAgain as error:
    print(error.exit_code, error)
"""


def environment():
    return os.environ | {"PYTHONPATH": f"{HELPERS}{os.pathsep}{HELPERS.parents[1]}"}


def test_a_monitor_that_was_killed_anywhere_loses_nothing_and_sends_nothing_twice(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", HELPERS / "monitor_kill_everywhere.py", tmp_path / "team", "2"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60


def test_of_several_monitors_at_once_one_looks_and_the_others_say_so(tmp_path):
    monitors = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", AT_ONCE, tmp_path],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for each in monitors:
        assert each.stdout.readline() == "ready\n"
    for each in monitors:
        each.stdin.write("\n")
        each.stdin.flush()
    said = [each.communicate()[0].strip() for each in monitors]
    assert all(each == "3" or each.startswith("75 another monitor of this model is running") for each in said), said
    assert "3" in said
    assert len(list((tmp_path / "home" / "outbox" / "pending").iterdir())) == 1
    assert [each.name for each in (tmp_path / "home" / "monitor" / "digits" / "alarms").iterdir()] == ["000001.json"]
