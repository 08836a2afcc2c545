"""An alarm of the monitor is followed by a run of the dataset's pipeline. The data here are broken, so that each run is short."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alarming_team import Monitor

from pipelines.commands.monitor_retrain import follow
from pipelines.commands.watch import Watcher
from pipelines.config.schema import Schedule
from pipelines.monitor.service import monitor_once


@pytest.fixture
def alarming(broken):
    return Monitor(broken)


def test_an_alarm_starts_one_run_with_its_reason_and_keeps_how_it_ended(alarming):
    assert alarming.once() == 3
    (run,) = alarming.runs()
    assert run["id"] == alarming.store.alarm(1).run == alarming.store.state().asked.run
    assert (run["started_by"], run["forced"]) == ("the monitor", True)
    assert run["reason"].startswith("alarm 1, drift inputs.mass, since ")
    done = " ".join(alarming.store.alarm(1).done)
    assert f"retraining: run {run['id']} of the dataset's pipeline" in done
    assert f"run {run['id']} has ended: validate: " in done
    first, second = (mail.get_body(("plain",)).get_content() for mail in alarming.team.mails())
    assert f"run {run['id']}" in " ".join(first.split()), "the notice of the alarm comes first"
    assert "Reason given: alarm 1, drift inputs.mass, since " in " ".join(second.split())
    assert alarming.once() == 3
    assert len(alarming.runs()) == 1


def test_a_monitor_that_was_killed_before_the_run_began_starts_it_with_the_next_call(alarming):
    monitor_once(alarming.config, alarming.look)  # the decision and the notices, without what follows
    assert alarming.runs() == []
    asked = alarming.store.state().asked
    alarming.once()
    assert [each["id"] for each in alarming.runs()] == [asked.run]


def test_a_monitor_that_was_killed_before_it_noted_the_run_finds_it_again(alarming):
    monitor_once(alarming.config, alarming.look)
    file = alarming.store.folder / "state.json"
    kept = file.read_bytes()
    alarming.once()
    file.write_bytes(kept)
    alarming.team.push("dataset", "pushed in between")
    alarming.once()
    assert len(alarming.runs()) == 1
    assert alarming.store.state().asked.over


def test_on_jenkins_the_build_is_asked_to_start_it_until_it_has_begun(alarming, tmp_path):
    build = tmp_path / "build"
    for _ in range(2):
        assert alarming.once("--build", str(build), "--junit", str(build / "report/junit/monitor.xml")) == 3
        asked = alarming.store.state().asked
        assert (build / "retrain/occasion.txt").read_text().strip() == asked.occasion
        assert (build / "retrain/reason.txt").read_text().strip() == asked.reason
    assert (build / "name.txt").read_text() == "digits, 1 alarm open\n"
    assert "drift of inputs.mass: distribution" in (build / "description.txt").read_text()
    assert (build / "report/index.html").exists()
    assert alarming.runs() == []
    step = ("step", "resolve", "--build", str(tmp_path / "other"), "--trigger", "dataset", "--force")
    alarming.team.trainyard(*step, "--occasion", asked.occasion, "--started-by", "the monitor")
    assert [each["id"] for each in alarming.runs()] == [asked.run]
    alarming.team.push("dataset", "pushed in between")
    alarming.team.trainyard(*step, "--occasion", asked.occasion, "--started-by", "the monitor")
    assert len(alarming.runs()) == 1
    again = tmp_path / "another build"
    assert alarming.once("--build", str(again)) == 3
    assert not (again / "retrain").exists()


def test_watch_checks_by_the_clock_and_no_check_is_no_alarm(alarming, capsys):
    config = replace(alarming.config, schedule=Schedule(monitor="*/15 * * * *"))
    watcher = Watcher(config)
    begun = datetime(2026, 11, 30, 12, 1, tzinfo=UTC)
    with alarming.looking():
        assert watcher.keep_time(begun) == 0
        assert watcher.keep_time(begun + timedelta(minutes=13)) == 0
        assert watcher.keep_time(begun + timedelta(minutes=14)) == 3
        assert "monitor: due since 2026-11-30 12:15 (UTC), by '*/15 * * * *'" in capsys.readouterr().err
        assert len(alarming.runs()) == 1, "and what follows an alarm is done there, too"
        with alarming.store.alone():
            assert watcher.keep_time(begun + timedelta(minutes=29)) == 75
        assert watcher.keep_time(begun + timedelta(minutes=29)) == 3, "another monitor was running: it stays due"
        assert watcher.keep_time(begun + timedelta(minutes=29)) == 0


def test_runs_that_cannot_be_written_leave_it_for_the_next_call(alarming, capsys):
    monitor_once(alarming.config, alarming.look)
    runs = alarming.config.runs
    runs.parent.mkdir(exist_ok=True)
    runs.symlink_to("/dev/null")
    with alarming.store.alone():
        follow(alarming.config, alarming.store, None)
    assert "cannot retrain now: " in capsys.readouterr().err
    runs.unlink()
    alarming.once()
    assert len(alarming.runs()) == 1
