"""`trainyard jenkins status`: the last builds as a table, in one request."""

import json

import pytest

from pipelines.__main__ import main
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.status import status
from registry.errors import ConfigError

NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC, in milliseconds


def build(fake, job, **about):
    made = fake.state.start_build(job)
    made.started = NOON
    for name, value in about.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def jobs(fake):
    code, _, tests = (fake.add_job(f"digits/{name}") for name in ("code", "dataset", "tests"))
    fake.add_job("digits/of-another-team")
    for number in range(5):
        build(fake, code, display_name=f"digits {number + 1}", description="accuracy 0.97", result="UNSTABLE").finish()
    build(fake, code, duration=7_500_000).finish()
    build(fake, tests, description="line one\nline \x1b[31mtwo" + "x" * 200)
    return code


def test_the_newest_builds_come_first_and_no_more_than_asked_for(fake, config, jobs):
    found = status(config, open_jenkins(config), 3)
    assert [(job.job, len(job.builds)) for job in found] == [("code", 3), ("dataset", 0), ("tests", 1)]
    newest, before = found[0].builds[:2]
    assert (newest.number, newest.result, newest.at, newest.seconds) == (6, "SUCCESS", "2026-11-21T12:00:00Z", 7500.0)
    assert (before.result, before.name, before.description) == ("UNSTABLE", "digits 5", "accuracy 0.97")
    assert newest.url == f"{fake.url}job/digits/job/code/6/"


def test_one_that_runs_has_no_result_and_no_duration(fake, config, jobs):
    running = status(config, open_jenkins(config))[2].builds[0]
    assert (running.result, running.seconds) == ("RUNNING", None)


def test_it_is_one_request_that_asks_for_no_more_than_it_shows(fake, config, jobs):
    status(config, open_jenkins(config), 7)
    assert len(fake.requests) == 1
    assert "%7B0%2C7%7D" in fake.requests[0].path


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_count_out_of_bounds_is_refused(fake, config, count):
    with pytest.raises(ConfigError, match="--count"):
        status(config, open_jenkins(config), count)


def test_without_the_folder_it_names_the_command_that_creates_it(fake, config):
    with pytest.raises(ConfigError, match=r"folder digits on .* does not exist") as error:
        status(config, open_jenkins(config))
    assert "trainyard jenkins apply" in error.value.hint


@pytest.fixture
def file(fake, tmp_path):
    file, git = tmp_path / "trainyard.toml", "https://git.example.org/team"
    file.write_text(
        f'model = "digits"\n[repositories]\ncode = "{git}/code.git"\ndataset = "{git}/dataset.git"\n'
        f'tests = "{git}/tests.git"\n[jenkins]\nurl = "{fake.url}"\nuser = "alice"\n'
    )
    return str(file)


def test_the_table_is_for_people(fake, jobs, file, capsys):
    jobs.tree.find("disabled").text = "true"
    assert main(["jenkins", "status", "--count", "2", "--config", file]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["job", "build", "result", "started", "(UTC)", "took", "description"],
        ["code", "disabled"],
        ["code", "#6", "SUCCESS", "2026-11-21", "12:00", "2.1", "h"],
        ["code", "digits", "5", "UNSTABLE", "2026-11-21", "12:00", "4.3", "s", "accuracy", "0.97"],
    ]
    assert lines[4].split() == ["dataset", "no", "build", "yet"]
    assert lines[5].split()[:5] == ["tests", "#1", "RUNNING", "2026-11-21", "12:00"]
    assert "line one line twoxxx" in lines[5]
    assert lines[5].endswith("...")
    assert "\x1b" not in lines[5]
    assert len(lines) == 6


def test_json_is_for_programs(fake, jobs, file, capsys):
    assert main(["jenkins", "status", "--json", "--config", file]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["job"] for each in said] == ["code", "dataset", "tests"]
    assert said[0]["builds"][0]["number"] == 6
    assert said[2]["builds"][0]["seconds"] is None
