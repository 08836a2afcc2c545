"""What Jenkins shows of a promotion: before the question what there is to decide about, afterwards what became of it."""

import argparse

import pytest
from promotion_parts import MODEL, Project
from versions import append_release

from pipelines.build_status import BUILD_URL
from pipelines.commands import promote as command
from pipelines.promotion import status
from registry import releases
from registry.errors import ConfigError, Rejected, TryAgain

BUILD = "http://jenkins/job/digits/job/code/7/"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def texts(folder):
    return [(folder / name).read_text(encoding="utf-8") for name in ("name.txt", "description.txt")]


def test_before_the_question_it_shows_metric_live_version_tests_and_links(project, tmp_path):
    project.publish()
    run = project.config.runs / "run1"
    run.mkdir(parents=True)
    (run / BUILD_URL).write_text(f"{BUILD}\n", encoding="utf-8")
    lines = status.ask(tmp_path / "build", project.config, 1)
    name, description = texts(tmp_path / "build")
    assert name == f"promotion {MODEL} 1\n"
    assert description.splitlines() == [f"promotion {MODEL} 1: waits for an approval", *lines]
    measured, report, tests, passed, commits = lines
    assert measured.startswith("version 1: accuracy 0.")
    assert measured.endswith("; nothing is live yet")
    assert report == f"report: {BUILD}artifact/build/report/index.html"
    assert tests == f"metrics and tests: {BUILD}testReport/"
    assert passed == "acceptance tests: passed"
    assert commits.startswith("code ")


def test_it_names_what_is_live_and_a_failed_test_and_leaves_out_a_page_that_does_not_exist(project):
    project.publish()
    releases.copy_to_production(project.store, MODEL, 1)
    append_release(project.store, MODEL, 1)
    project.publish(tests=[("test_dark failed",)])
    measured, tests, _commits = status.ask(None, project.config, 2)
    assert measured.endswith("; version 1 is live")
    assert tests == "acceptance tests: failed: test_dark failed"


@pytest.mark.parametrize("text", ["javascript:alert(1)", "", "\xff"], ids=["no address", "empty", "not text"])
def test_what_is_no_address_of_a_build_is_no_link(project, text):
    project.publish()
    run = project.config.runs / "run1"
    (run / "report").mkdir(parents=True)
    (run / "report" / "index.html").touch()
    (run / BUILD_URL).write_bytes(text.encode("latin-1"))
    assert status.ask(None, project.config, 1)[1] == f"report: {run}/report/index.html"


def test_nobody_is_asked_about_a_version_that_does_not_exist(project, tmp_path):
    with pytest.raises(ConfigError, match="no such version"):
        status.ask(tmp_path / "build", project.config, 9)
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            Rejected("the approval has expired\nat noon"),
            "promotion thirds 3: rejected: the approval has expired at noon",
        ),
        (TryAgain("the registry cannot be reached"), "promotion thirds 3: the registry cannot be reached"),
    ],
)
def test_a_promotion_that_fails_leaves_its_reason_and_the_error_continues(project, tmp_path, error, said):
    def act():
        raise error

    with pytest.raises(type(error)):
        status.shown(tmp_path / "build", project.config, "promotion", 3, act)
    assert texts(tmp_path / "build") == ["promotion thirds 3\n", f"{said}\n"]


def test_a_release_is_named_with_who_made_it(project, tmp_path):
    def act():
        project.publish()
        releases.copy_to_production(project.store, MODEL, 1)
        append_release(project.store, MODEL, 1, by="alice", reason="too many mistakes")
        return 0

    assert status.shown(tmp_path / "build", project.config, "rollback", None, act) == 0
    name, description = texts(tmp_path / "build")
    assert name == "rollback thirds 1\n"
    assert description == "rollback thirds 1: live as release 1, by alice\ntoo many mistakes\n"


def test_without_a_build_nothing_is_written(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert status.shown(None, project.config, "promotion", 3, lambda: 0) == 0
    assert set(tmp_path.rglob("*")) == before


def test_a_dry_run_shows_the_candidate_and_releases_nothing(project, capsys):
    project.publish()
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    assert command.main(parser.parse_args([MODEL, "1", "--dry-run"]), project.config) == 0
    assert "acceptance tests: passed" in capsys.readouterr().out
    assert releases.latest(project.store, MODEL) is None
    with pytest.raises(ConfigError, match="about model"):
        command.main(parser.parse_args(["another", "1", "--dry-run"]), project.config)
