"""`trainyard watch`: for remotes where no hook can be installed. The data here are broken, so that each run is short."""

from __future__ import annotations

import json
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


def test_a_watcher_that_begins_where_a_hook_or_a_person_has_run_the_commits_does_not_run_them_again(broken):
    broken.trainyard("run", "code", code=2)
    assert "new in" not in broken.trainyard("watch", "--once").stderr
    broken.push("code", "while nobody watches")
    (broken.home / "watch.json").unlink(missing_ok=True)
    assert "new in code" in broken.trainyard("watch", "--once", code=2).stderr
    assert len(broken.runs("code")) == 2


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


def scheduled(team, retrain="0 3 * * *", monitor="", until="2026-01-01T00:00:00Z"):
    """Set a daily retraining, or with `monitor` checks, that were last seen to at that time."""
    what, cron = ("monitor", monitor) if monitor else ("retrain", retrain)
    text = team.config.read_text(encoding="utf-8").partition("[schedule]")[0]
    team.config.write_text(f'{text}[schedule]\n{what} = "{cron}"\n', encoding="utf-8")
    team.home.mkdir(exist_ok=True)
    done = {what: {"cron": cron, "timezone": "UTC", "until": until}}
    (team.home / "schedule.json").write_text(json.dumps({"schema": 1, "done": done}), encoding="utf-8")


def test_a_schedule_runs_the_dataset_once_for_all_that_was_missed_though_nothing_is_new(broken):
    broken.trainyard("watch", "--once", code=2)
    scheduled(broken)
    said = broken.trainyard("watch", "--once", code=2).stderr
    assert "retrain by the clock: 0 3 * * * (UTC)" in said
    assert "retrain: due since 2026-01-01 03:00 (UTC), by '0 3 * * *'" in said
    (run,) = (json.loads((path / "run.json").read_text()) for path in broken.runs("dataset"))
    assert (run["started_by"], run["forced"]) == ("the schedule", True)
    assert run["reason"] == "scheduled for 2026-01-01 03:00 (UTC), by '0 3 * * *'"
    assert "due" not in broken.trainyard("watch", "--once").stderr
    assert len(broken.runs("dataset")) == 1


def test_a_scheduled_run_is_not_repeated_by_a_watcher_that_was_killed_before_it_noted_it(broken):
    broken.trainyard("watch", "--once", code=2)
    scheduled(broken)
    broken.trainyard("watch", "--once", code=2)
    scheduled(broken)
    broken.push("dataset", "pushed in between")
    said = broken.trainyard("watch", "--once", code=2).stderr
    assert "of the schedule, 2026-01-01T03:00:00Z has ended" not in said.partition("retrain: due")[0]
    (first,) = [path for path in broken.runs("dataset") if "scheduled" in (path / "run.json").read_text()]
    assert first.name in said.partition("retrain: due")[2]


def test_a_wrong_schedule_is_refused_before_anything_starts(broken):
    scheduled(broken, retrain="H 3 * * 0")
    said = broken.trainyard("watch", "--once", code=2).stderr
    assert "schedule.retrain: 'H 3 * * 0' holds H, which only Jenkins knows; write a number" in said
    assert str(broken.config) in said


def in_one_repository(team):
    """The code repository has all three, in folders; what each push then changes is a file in one of them."""
    text = team.config.read_text(encoding="utf-8")
    for name in ("code", "dataset", "tests"):
        text = text.replace(f"repositories/{name}.git", f"repositories/code.git#{name}")
        work = team.folder / "work" / name
        team.write("code", {f"{name}/{path.name}": path.read_bytes() for path in work.iterdir() if path.is_file()})
        team.write("code", {f"{name}/more.txt": "1"})
    team.config.write_text(text, encoding="utf-8")
    team.push("code", "all of it")


def test_only_the_folders_that_a_push_touched_are_acted_upon(broken):
    in_one_repository(broken)
    assert "new in code" in broken.trainyard("watch", "--once", code=2).stderr
    broken.trainyard("watch", "--once", code=0)
    broken.write("code", {"README.txt": "beside them"})
    broken.push("code", "beside them")
    assert "new in" not in broken.trainyard("watch", "--once").stderr
    broken.write("code", {"dataset/more.txt": "2"})
    broken.push("code", "data")
    said = broken.trainyard("watch", "--once", code=2).stderr
    assert "new in dataset" in said
    assert "code" not in said.partition("new in ")[2].partition("\n")[0]
    assert "new in" not in broken.trainyard("watch", "--once").stderr


def test_the_hook_runs_for_the_folders_that_a_push_touched(broken):
    in_one_repository(broken)
    broken.trainyard("hooks", "install")
    broken.write("code", {"README.txt": "beside them"})
    assert "nothing in code, dataset, tests was changed" in broken.push("code", "beside them")[1]
    broken.write("code", {"dataset/more.txt": "2"})
    said = broken.push("code", "data")[1]
    assert "runs the pipeline for dataset, with this commit as code and tests" in said
    assert (len(broken.runs("code")), len(broken.runs("dataset"))) == (0, 1)
