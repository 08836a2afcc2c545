"""Two at once: pushes, runs, steps, the watcher, the first start of a home folder, the copies of the repositories.

The data here are broken, so that each run ends after a moment, with 2; what matters is who does what, and how often.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from faults_parts import (
    TRAINYARD,
    begin,
    check_whole,
    clean_environment,
    command_line,
    left_over,
    message_ids,
    small_team,
    step_records,
    wait_for,
)

from pipelines.runners.supervisor.output import LOG_PREFIX

CROWD = 4


@pytest.fixture
def team(tmp_path):
    team = small_team(tmp_path)
    team.write("dataset", {"1/broken.png": b"not a image"})
    team.push("dataset", "broken")
    return team


def together(*starts):
    """Start all, then wait for all; gives exit codes and what was said."""
    processes = [start() for start in starts]
    said = [process.communicate(timeout=300)[0] for process in processes]
    for each in said:
        assert "Traceback" not in each, each
    return [process.returncode for process in processes], said


def outcomes(team, trigger):
    """Commit → how its run ended in validate."""
    found = {}
    for run in team.runs(trigger):
        commit = json.loads((run / "run.json").read_bytes())["sources"][trigger]
        assert commit not in found, "two runs of the same sources"
        found[commit] = json.loads(step_records(run)["validate"])["outcome"]
    return found


def install_hooks(team):
    for repository in ("code", "dataset"):
        team.trainyard("hooks", "install", repository)


def clone(team, repository, number):
    """A clone of another person's."""
    folder = team.folder / "others" / f"{repository}{number}"
    team.git("clone", "--quiet", f"repositories/{repository}.git", str(folder))
    (folder / f"note{number}").write_text("something new", encoding="utf-8")
    team.git("add", "--all", cwd=folder)
    team.git("commit", "--quiet", "-m", f"from person {number}", cwd=folder)
    return folder, team.git("rev-parse", "HEAD", cwd=folder).stdout.strip()


def test_pushes_at_once_to_one_and_to_two_repositories_each_have_their_run(team):
    install_hooks(team)
    clones = [(name, *clone(team, name, number)) for name in ("code", "dataset") for number in range(2)]
    said = []

    def push(folder):
        done = subprocess.run(
            ["git", "push", "--force", "origin", "HEAD:main"],
            cwd=folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        said.append((done.returncode, done.stderr))

    threads = [threading.Thread(target=push, args=(folder,)) for _, folder, _ in clones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("code", "dataset"):
        landed = {sha for repository, _, sha in clones if repository == name and pushed(team, name, sha)}
        assert landed, said
        assert outcomes(team, name) == dict.fromkeys(landed, "failed")
    assert len(message_ids(team)) == len(set(message_ids(team))) == len([*team.runs("code"), *team.runs("dataset")])
    assert not any("Traceback" in each for _, each in said)
    check_whole(team.home)


def pushed(team, repository, sha):
    """Whether the push was taken: of two at the same moment git itself may refuse one."""
    bare = team.folder / "repositories" / f"{repository}.git"
    return sha in team.git("--git-dir", str(bare), "rev-list", "--all", "--reflog").stdout or any(
        sha in (run / "run.json").read_text() for run in team.runs(repository)
    )


def test_those_who_start_the_same_run_at_once_in_a_new_home_do_it_once(team):
    codes, said = together(
        *[lambda: begin(team, "run", "code")] * CROWD, *[lambda: begin(team, "run", "dataset")] * CROWD
    )
    assert set(codes) <= {2, 75}, said
    assert len(team.runs("code")) == len(team.runs("dataset")) == 1
    for code, each in zip(codes, said, strict=True):
        assert code == 2 or "in use by another process" in each
    assert len(message_ids(team)) == 2
    for run in (*team.runs("code"), *team.runs("dataset")):
        assert set(at_work(run)) == {0, 1}, "two were at work in one folder"
    check_whole(team.home)
    assert left_over(team.home) == []


def at_work(run):
    """How many workers of the run's validate were at work, from moment to moment."""
    log = (run / "validate" / "worker.log").read_text(encoding="utf-8")
    count, found = 0, []
    for line in log.splitlines():
        if line.startswith(LOG_PREFIX):
            count += 1 if line.endswith("validate: training.data.prepare") else -1
            found.append(count)
    return found


def test_a_run_and_a_watcher_do_the_same_run_once(team):
    codes, said = together(lambda: begin(team, "watch", "--once"), lambda: begin(team, "run", "code"))
    assert set(codes) <= {2, 75}, said
    assert "new in" not in team.trainyard("watch", "--once").stderr  # whichever of the two has run it
    assert len(team.runs("code")) == 1
    assert len(message_ids(team)) == 1


def test_steps_of_one_run_at_once_are_done_one_after_the_other(team, tmp_path):
    folder = str(tmp_path / "workspace" / "run")
    resolve = ("step", "resolve", "--run", folder, "--trigger", "code")
    codes, said = together(*[lambda: begin(team, *resolve)] * CROWD)
    assert codes == [0] * CROWD, said
    codes, said = together(*[lambda: begin(team, "step", "fetch", "--run", folder)] * CROWD)
    assert set(codes) <= {0, 75}, said
    assert 0 in codes
    assert set(step_records(Path(folder))) == {"resolve", "fetch"}
    assert left_over(Path(folder)) == []


def test_who_waits_for_another_run_to_fetch_hears_sigterm(team):
    team.trainyard("run", "code", code=2)
    team.push("code", "something new")
    locks = [path.open("w") for path in (team.home / "git").glob("*.lock")]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    process = begin(team, "run", "code")
    wait_for(lambda: len(team.runs("code")) == 2)
    wait_for(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > len(locks))  # each has its thread
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    for lock in locks:
        lock.close()
    team.trainyard("run", "code", code=2)


def test_a_fetch_that_hangs_ends_with_the_run_that_is_killed(team, tmp_path):
    started = tmp_path / "started"
    hanging = tmp_path / "ssh"
    hanging.write_text(f"#!/bin/sh\necho $$ >{started}\nexec sleep 1000\n", encoding="utf-8")
    hanging.chmod(0o755)
    text = team.config.read_text(encoding="utf-8").replace(
        'code = "repositories', 'code = "ssh://nowhere.invalid/repositories'
    )
    team.config.write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [*TRAINYARD, "run", "code", "--config", str(team.config)], cwd=team.folder,
        env=clean_environment() | {"GIT_SSH_COMMAND": str(hanging)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(started.exists)
    git = [pid for pid in children(process.pid) if b"ls-remote" in command_line(pid)]
    assert git
    process.kill()
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in git))
    subprocess.run(["kill", started.read_text().strip()], check=False, capture_output=True)


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return found
