"""What Jenkins shows of a promotion: before the question what there is to decide about, afterwards what became of it."""

import argparse

import pytest
from promotion_parts import MODEL, Project
from versions import append_release

from pipelines.build_status import BUILD_URL
from pipelines.commands import promote as command
from pipelines.promotion import status
from registry import heads, releases
from registry.checks.signatures import problems_since
from registry.errors import ConfigError, Rejected, TryAgain

BUILD = "http://jenkins/job/digits/job/code/7/"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def texts(folder):
    return [(folder / name).read_text(encoding="utf-8") for name in ("name.txt", "description.txt")]


def release_by_alice(project):
    project.publish()
    releases.copy_to_production(project.store, MODEL, 1)
    append_release(project.store, MODEL, 1, by="alice", reason="too many mistakes")


def test_before_the_question_it_shows_metric_live_version_tests_and_links(project, tmp_path):
    project.publish()
    run = project.config.runs / "run1"
    run.mkdir(parents=True)
    (run / BUILD_URL).write_text(f"{BUILD}\n", encoding="utf-8")
    lines = status.ask(tmp_path / "build", project.config, 1)
    name, description = texts(tmp_path / "build")
    assert name == f"promotion {MODEL} 1\n"
    assert description.splitlines() == [f"promotion {MODEL} 1: waits for an approval", *lines]
    measured, report, tests, passed, commits = lines  # nothing is released: there is no head yet
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
        release_by_alice(project)
        return 0

    assert status.shown(tmp_path / "build", project.config, "rollback", None, act) == 0
    name, description = texts(tmp_path / "build")
    assert name == "rollback thirds 1\n"
    live, reason, head = description.splitlines()
    assert (live, reason) == ("rollback thirds 1: live as release 1, by alice", "too many mistakes")
    assert head == heads.newest(project.store, MODEL).line


@pytest.mark.parametrize("kind", ["promotion", "rollback"])
def test_what_jenkins_keeps_of_a_release_shows_when_the_registry_is_truncated(project, tmp_path, kind):
    def act():
        release_by_alice(project)
        return 0

    status.shown(tmp_path / "build", project.config, kind, None, act)
    (seen,) = heads.find_lines(texts(tmp_path / "build")[1], "the description")
    assert seen.release == 1
    assert problems_since(project.store, seen) == []
    (project.folder / "registry/production/thirds/heads/000001.json").unlink()
    assert "heads/000001.json: is missing, though it was seen" in problems_since(project.store, seen)[0]


def test_the_question_and_a_rejection_have_the_head_whole_whatever_else_is_said(project, tmp_path):
    release_by_alice(project)
    head = heads.newest(project.store, MODEL).line
    status.ask(tmp_path / "asked", project.config, 1)

    def act():
        raise Rejected("no, " * 200)

    with pytest.raises(Rejected):
        status.shown(tmp_path / "refused", project.config, "promotion", 1, act)
    for name in ("asked", "refused"):
        first, *_, last = texts(tmp_path / name)[1].splitlines()
        assert first.startswith("promotion thirds 1: ")
        assert last == head


def test_a_registry_that_cannot_be_read_does_not_hide_why_a_promotion_failed(project, tmp_path):
    release_by_alice(project)
    (project.folder / "registry/keys/000001.json").unlink()

    def act():
        raise Rejected("no")

    with pytest.raises(Rejected):
        status.shown(tmp_path / "build", project.config, "promotion", 1, act)
    assert texts(tmp_path / "build")[1] == "promotion thirds 1: rejected: no\n"


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
