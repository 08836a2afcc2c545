"""The clock is set back and forward by a day: in the middle of a run, and between a mail and its promotion.

The tests are one story, in this order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from digits_model import MODEL
from faults_parts import HERE, begin, check_whole, epochs, follow, killed_after

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
DAY = 86_400


@pytest.fixture
def clock(tmp_path):
    """A clock for `trainyard`: `clock.write_text` sets it, in seconds from now; it begins a day late."""
    offset = tmp_path / "offset"
    offset.write_text(str(-DAY))
    return offset


def begin_by(clock: Path, team, *arguments):
    """`trainyard` with that clock."""
    return begin(team, *arguments, program=(sys.executable, "-P", str(HERE / "shifted_clock.py"), str(clock)))


def run_by(clock: Path, team, *arguments) -> subprocess.CompletedProcess:
    process = begin_by(clock, team, *arguments)
    said = process.communicate(timeout=300)[0]
    return subprocess.CompletedProcess(process.args, process.returncode, said)


def hours_off(iso: str) -> float:
    """How far a time in a record is from now."""
    return (datetime.fromisoformat(iso) - datetime.now(UTC)).total_seconds() / 3600


def records(run):
    return [json.loads(path.read_bytes()) for path in (run / "steps").glob("[!.]*.json")]


def test_a_clock_that_jumps_in_the_middle_of_a_run_changes_nothing(team, clock):
    clock.write_text(str(DAY))
    code, said = follow(
        begin_by(clock, team, "run", "code"), lambda line: "epoch 2/4" in line and clock.write_text(str(-DAY))
    )
    assert code == 0, said
    (run,) = team.runs("code")
    made = {each["step"]: each for each in records(run)}
    assert hours_off(made["fetch"]["started_at"]) > 20, "the clock was not moved"
    assert hours_off(made["evaluate"]["started_at"]) < -20, "the clock was not moved"
    assert all(0 <= each["seconds"] < 600 for each in made.values())
    assert "nothing new" in team.trainyard("run", "code").stderr
    check_whole(team.home)


def test_an_approval_of_yesterday_holds_and_one_of_tomorrow_blames_the_clock(team, clock):
    command = team.promotion_command()
    clock.write_text(str(-3 * DAY))
    early = run_by(clock, team, *command)
    assert early.returncode == 3
    assert "in the future" in early.stdout
    assert "clock" in early.stdout
    team.promote()


def test_records_that_are_made_with_a_clock_set_back_follow_those_before(team, clock):
    team.push("tests", "new tests")
    done = run_by(clock, team, "run", "tests")
    assert done.returncode == 0, done.stdout
    acceptances = sorted((team.home / "registry/test/digits/1/acceptances").iterdir())
    _first, second = (json.loads(path.read_bytes()) for path in acceptances)
    assert second["number"] == 2
    assert hours_off(second["at"]) < -20
    assert run_by(clock, team, "registry", "verify").returncode == 0
    check_whole(team.home)


def test_a_run_that_was_killed_resumes_a_day_earlier(team, clock):
    team.write("code", {"model.py": MODEL + "# another idea\n"})
    team.push("code")
    killed_after(team, "epoch 2/4", "run", "code")
    done = run_by(clock, team, "run", "code")
    assert done.returncode == 0, done.stdout
    (run,) = [each for each in team.runs("code") if each.name == team.cards()[-1]["run"]]
    reported = epochs(run)
    assert len(reported) == len(set(reported))
    assert {1, 2, 4} <= set(reported)  # 3 may be kept, and its line lost
    history = json.loads((run / "train/outputs/history.json").read_bytes())
    assert [len(each["epochs"]) for each in history["rounds"]] == [4]
    assert [card["version"] for card in team.cards()] == [1, 2]
    check_whole(team.home)
