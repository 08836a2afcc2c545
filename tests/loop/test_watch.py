"""`trainyard watch`: for remotes where no hook can be installed. The data here are broken, so that each run is short."""

from __future__ import annotations

import signal
import subprocess
import time

from team import TRAINYARD, clean_environment


def test_each_new_commit_is_acted_upon_once_over_restarts_too(broken):
    broken.trainyard("watch", "--once", code=2)
    assert len(broken.runs("code")) == 1
    assert "new in" not in broken.trainyard("watch", "--once").stderr
    broken.push("dataset", "more of it")
    done = broken.trainyard("watch", "--once", code=2)
    assert "new in dataset" in done.stderr
    assert (len(broken.runs("code")), len(broken.runs("dataset"))) == (1, 1)
    broken.trainyard("watch", "--once")
    assert (len(broken.runs("code")), len(broken.runs("dataset"))) == (1, 1)


def test_new_tests_are_run_even_when_a_run_for_data_has_taken_them_along(broken):
    broken.trainyard("watch", "--once", code=2)
    broken.push("dataset", "more data")
    broken.push("tests", "and new tests")
    assert "new in dataset" in broken.trainyard("watch", "--once", code=2).stderr
    done = broken.trainyard("watch", "--once", code=2)
    assert "new in tests" in done.stderr
    assert "push to code first" in done.stderr  # there is no candidate yet
    assert "new in" not in broken.trainyard("watch", "--once").stderr


def test_a_remote_that_is_down_does_not_stop_the_others(broken):
    broken.trainyard("watch", "--once", code=2)
    hidden = broken.folder / "repositories/tests.away"
    (broken.folder / "repositories/tests.git").rename(hidden)
    broken.push("dataset", "while the tests repository is away")
    done = broken.trainyard("watch", "--once", code=2)
    assert "still watching, but: [repositories] tests" in done.stderr
    assert len(broken.runs("dataset")) == 1
    hidden.rename(broken.folder / "repositories/tests.git")
    assert "new in" not in broken.trainyard("watch", "--once").stderr


def test_it_reacts_while_it_runs_and_stops_cleanly_on_sigterm(broken):
    command = [*TRAINYARD, "watch", "--interval", "0.2", "--config", str(broken.config)]
    watcher = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: len(broken.runs("code")) == 1 and (broken.home / "watch.json").exists())
        broken.push("dataset", "while it watches")
        wait_until(lambda: len(broken.runs("dataset")) == 1)
        second = broken.trainyard("watch", "--once", code=75)
        assert "another watcher is running" in second.stderr
        watcher.send_signal(signal.SIGTERM)
        said = watcher.communicate(timeout=30)[1]
    finally:
        watcher.kill()
    assert watcher.returncode == 0
    assert "Traceback" not in said
    assert "new in dataset" in said


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
