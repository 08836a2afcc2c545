"""A run that is stopped resumes: the same run, nothing done twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from team import TRAINYARD, clean_environment

pytestmark = pytest.mark.tensorflow


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def started(team, *arguments):
    return subprocess.Popen(
        [*TRAINYARD, *arguments, "--config", str(team.config)],
        cwd=team.folder, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def working_in(folder):
    """The processes whose working folder is in `folder`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it has ended
            if link.readlink().is_relative_to(folder):
                found.append(link.parent.name)
    return found


def epochs_begun(team):
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in team.home.glob("runs/*/train/worker.log")]
    return [
        int(json.loads(line.partition("@trainyard ")[2])["epoch"])
        for log in logs
        for line in log.splitlines()
        if '"event": "epoch"' in line
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
@pytest.mark.slow
def test_a_run_stopped_while_training_resumes_from_its_last_epoch(new_team, how):
    text = new_team.config.read_text(encoding="utf-8").replace("epochs = 8", "epochs = 60\npatience = 60", 1)
    new_team.config.write_text(text, encoding="utf-8")
    process = started(new_team, "run", "code")
    wait_for(lambda: len(epochs_begun(new_team)) >= 3)
    os.kill(process.pid, how)
    process.communicate(timeout=60)
    (run,) = new_team.runs("code")
    wait_for(lambda: not working_in(run))
    done_before = max(epochs_begun(new_team))
    assert done_before < 60
    new_team.trainyard("run", "code")
    seen = epochs_begun(new_team)
    assert len(seen) == len(set(seen)), f"an epoch was repeated: {seen}"
    assert max(seen) == 60
    assert [path.name for path in new_team.runs("code")] == [run.name]
    assert [card["version"] for card in new_team.cards()] == [1]


def test_a_second_process_on_the_same_run_is_sent_away(new_team):
    process = started(new_team, "run", "code")
    wait_for(lambda: list(new_team.home.glob("runs/*/validate")))
    done = new_team.trainyard("run", "code", code=75)
    assert "in use by another process" in done.stderr
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.slow
def test_steps_one_by_one_are_the_pipeline_and_each_is_done_once(new_team, tmp_path):
    folder = str(tmp_path / "workspace" / "run")
    new_team.trainyard("step", "resolve", "--run", folder, "--trigger", "code", "--reason", "by hand")
    for step in ("fetch", "validate", "train", "evaluate", "gate", "register", "accept", "notify"):
        new_team.trainyard("step", step, "--run", folder)
    written = (tmp_path / "workspace/run/train/result.json").stat().st_mtime_ns
    new_team.trainyard("step", "train", "--run", folder)
    assert (tmp_path / "workspace/run/train/result.json").stat().st_mtime_ns == written
    assert [card["version"] for card in new_team.cards()] == [1]
    assert len(list((new_team.home / "registry/test/digits/1/acceptances").iterdir())) == 1
    assert len(new_team.mails()) == 1
