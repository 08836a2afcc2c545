"""`trainyard jenkins export`, and jenkins/jobs.groovy, which creates folder and jobs from it on a new controller."""

from __future__ import annotations

import dataclasses
import json

import pytest
from groovy_runs import HERE, ROOT, groovy

from pipelines.__main__ import main
from pipelines.config.schema import Config, JenkinsServer, Repositories
from pipelines.jenkins_server import job_xml
from pipelines.jenkins_server.export import export
from pipelines.jenkins_server.jobs import jobs_of
from registry.errors import ConfigError

# What a config may hold and must not be lost between two programs that write XML.
SERVER = JenkinsServer(
    repository="https://git.example.org/a&b.git", folder="ml/vision", agent='linux && "gpu" <1>', git_credentials="gît ☃",
    schedule="H 3 * * 0\nH 4 * * 1", submitters=("ann", "po"),
)  # fmt: skip
CONFIG = Config(
    "digits", Repositories(*(f"https://git.example.org/{each}.git" for each in "cdt")), home="/srv/t", jenkins=SERVER
)
NAMES = ["ml", "ml/vision", *(f"ml/vision/{job}" for job in ("code", "dataset", "tests", "promotion"))]


@pytest.fixture
def exported(tmp_path):
    return export(CONFIG, tmp_path / "jobs")


def created(tmp_path):
    """{full name: config.xml} of what the script creates from `jobs` on a controller whose home is `home`."""
    done = groovy(
        HERE / "job_dsl.groovy", ROOT / "jenkins" / "jobs.groovy",
        environment={"TRAINYARD_JOBS": str(tmp_path / "jobs"), "JENKINS_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_file_for_each_parents_first(tmp_path, exported):
    assert exported == [tmp_path / "jobs" / f"{name}.xml" for name in NAMES]


def test_a_new_controller_has_what_apply_would_create(tmp_path, exported):
    found = created(tmp_path)
    assert list(found)[:2] == NAMES[:2]
    assert sorted(found) == sorted(NAMES)
    for name in NAMES[:2]:
        assert job_xml.owner(job_xml.parse(found[name], name)) == ("folder", "digits")
    for job in jobs_of(CONFIG):
        tree = job_xml.parse(found[f"ml/vision/{job.name}"], job.name)
        assert job_xml.merge(tree, job) == []  # apply finds nothing to change
        assert tree.find("definition").get("class") == job_xml.FROM_SCM
        assert job_xml.is_pending(tree) == job.has_triggers  # and starts the builds that register triggers


def test_existing_jobs_are_left_alone(tmp_path, exported):
    (tmp_path / "home" / "jobs" / "another").mkdir(parents=True)
    assert created(tmp_path) == {}


def test_a_damaged_file_keeps_no_controller_from_starting(tmp_path, exported):
    (tmp_path / "home" / "jobs").mkdir(parents=True)
    exported[-1].write_text("<flow-definition>")
    assert created(tmp_path) == {}


def test_without_files_nothing_is_created(tmp_path):
    assert created(tmp_path) == {}


def test_settings_that_cannot_work_leave_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"jenkins\.repository: empty"):
        export(dataclasses.replace(CONFIG, jenkins=JenkinsServer()), tmp_path / "jobs")
    assert not (tmp_path / "jobs").exists()


def test_the_command(tmp_path, capsys, monkeypatch):
    settings = str(ROOT / "docker" / "jenkins" / "trainyard.toml")
    assert main(["jenkins", "export", "--config", settings]) == 2
    assert "--to FOLDER" in capsys.readouterr().err
    assert main(["jenkins", "export", "--config", settings, "--to", str(tmp_path / "jobs")]) == 0
    assert str(tmp_path / "jobs" / "digits" / "code.xml") in capsys.readouterr().out.splitlines()
