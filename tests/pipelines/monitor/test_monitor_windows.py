"""What the controller adds to a look: releases and references from the registry, and what the server processes answer with."""

import dataclasses
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from promotion_parts import MODEL, Project
from watched_parts import CLASSES, MINUTE, Pets, pet_model, traffic, write_log

from pipelines.config.schema import Monitoring, PredictionLog
from pipelines.deploy.serve_job import log_folder
from pipelines.monitor import windows
from pipelines.monitor.windows import look
from registry.errors import ConfigError, TryAgain, WorkerFailed
from retraining.monitoring.names import REFERENCE_FILE
from retraining.monitoring.reference import to_bytes

NOW = float(int(time.time()))
BEGIN = NOW - 70 * MINUTE


def at(seconds):
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    log = PredictionLog(enabled=True)
    project.config = dataclasses.replace(project.config, prediction_log=log, monitoring=Monitoring(min_rows=200))
    return project


def release(project, *, reference=True):
    extra = ()
    if reference:
        path = project.folder / REFERENCE_FILE
        path.write_bytes(to_bytes(Pets(4000, 99).reference()))
        extra = ((REFERENCE_FILE, path),)
    version = project.publish(extra=extra)
    return project.release_by_hand(version)


def log(project, minutes=60, number=1, **more):
    model = pet_model(number, classes=CLASSES)
    model.manifest.model = MODEL
    write_log(log_folder(project.config), traffic(model, minutes, start=BEGIN, **more))


def test_windows_end_a_little_in_the_past_and_resume_where_the_last_one_ended(project):
    release(project)
    log(project)
    first = look(project.config, {}, at(BEGIN + 31 * MINUTE), since=at(BEGIN))
    assert [each.window.rows for each in first.health] == [300, 300]
    assert first.health[0].window.since == at(BEGIN).replace("Z", ".000Z")
    early = look(project.config, {"1": first.health[0].window.until}, at(BEGIN + 30 * MINUTE))
    assert early.health == ()  # a line may still come
    positions = {each.window.release: each.window.until for each in first.health}
    second = look(project.config, {str(each): until for each, until in positions.items()}, at(BEGIN + 61 * MINUTE))
    assert second.health[0].window.since == first.health[-1].window.until
    assert [each.window.rows for each in second.health] == [300, 300]
    assert {each.what for each in second.health[0].checks} >= {"distribution", "estimated accuracy"}
    assert second.histograms
    assert all(each.failed == () for each in (*first.health, *second.health))


def test_the_first_time_what_is_old_is_left_out(project):
    release(project)
    log(project)
    rules = dataclasses.replace(project.config.monitoring, longest_hours=0.5)
    config = dataclasses.replace(project.config, monitoring=rules)
    found = look(config, {}, at(BEGIN + 61 * MINUTE))
    assert len(found.health) == 2


def test_with_nothing_live_there_is_nothing_to_check(project):
    assert look(project.config, {}, at(NOW)).health == ()


def test_without_a_prediction_log_it_is_an_error(project):
    config = dataclasses.replace(project.config, prediction_log=PredictionLog())
    with pytest.raises(ConfigError, match="enabled is false"):
        look(config, {}, at(NOW))


def test_a_version_without_a_reference_is_a_note(project):
    release(project, reference=False)
    log(project, 20)
    (health,) = look(project.config, {}, at(BEGIN + 16 * MINUTE), since=at(BEGIN)).health
    assert any("version 1 has no reference: it was made before versions had one" in each for each in health.notes)


@pytest.mark.parametrize("damage", ["changed", "gone", "version gone"])
def test_a_registry_that_lacks_something_is_a_note(project, damage):
    release(project)
    log(project, 20)
    folder = project.folder / "registry" / "production" / MODEL / "1"
    folder.chmod(0o755)
    path = folder / ("card.json" if damage == "version gone" else REFERENCE_FILE)
    path.chmod(0o644)
    path.write_bytes(b"x") if damage == "changed" else path.unlink()
    (health,) = look(project.config, {}, at(BEGIN + 16 * MINUTE), since=at(BEGIN)).health
    wanted = {
        "changed": "is not the file with the SHA-256",
        "gone": "version 1 has no reference",
        "version gone": "version 1 cannot be read: ",
    }
    assert any(wanted[damage] in each for each in health.notes), health.notes
    assert health.window.rows == 300


def test_a_log_that_is_sent_elsewhere_is_not_compacted_and_says_so(project):
    release(project)
    log(project, 20)
    sent = dataclasses.replace(project.config.prediction_log, sink="http", url="http://127.0.0.1:9/")
    config = dataclasses.replace(project.config, prediction_log=sent)
    (health,) = look(config, {}, at(BEGIN + 16 * MINUTE), since=at(BEGIN)).health
    assert windows.SENT in health.notes
    assert health.window.rows == 300
    assert not (log_folder(config) / "parquet").exists()


def test_a_release_and_all_after_it_are_known(project):
    first = release(project)
    second = release(project, reference=False)
    store, known = (
        project.store,
        lambda begin: [each.number for each in windows._releases_since(project.store, second, begin)],
    )
    assert store
    made = datetime.fromisoformat(first.at)
    assert known(made.replace(year=made.year - 1)) == [1, 2]
    assert known(made.replace(year=made.year + 1)) == [2]


class Api:
    def __init__(self, *releases):
        self.workers = [
            {"pid": i, "state": "ready", "release": each, "wanted": each, "error": ""}
            for i, each in enumerate(releases)
        ]

    def version(self):
        if not self.workers:
            raise TryAgain("no API is running")
        return {"workers": self.workers}


@pytest.mark.parametrize(("releases", "outcome"), [((1, 1), "passed"), ((1, 0), "failed"), ((), "")])
def test_a_server_process_on_another_release_fails_a_check(project, monkeypatch, releases, outcome):
    release(project)
    log(project, 20)
    monkeypatch.setattr(windows, "open_deployment", lambda _: Api(*releases))
    now = at(BEGIN + 16 * MINUTE)
    (health,) = look(project.config, {}, now, since=at(BEGIN)).health
    found = [each.outcome for each in health.checks if each.what == "other release"]
    assert found == ([outcome] if outcome else [])
    if not outcome:
        assert "what the server processes answer with is not known: no API is running" in health.notes
    if outcome == "failed":
        assert health.checks[0].what == "other release"


def test_errors_of_the_worker_are_errors_of_the_look(project, monkeypatch):
    release(project)
    log(project, 20)
    folder = log_folder(project.config) / "parquet"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        look(project.config, {}, at(BEGIN + 16 * MINUTE), since=at(BEGIN))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkerFailed, match="ended with 1: no output"):
        look(project.config, {}, at(BEGIN + 16 * MINUTE), since=at(BEGIN))


def test_looking_loads_nothing_heavy():
    code = "import sys, pipelines.monitor.windows; print('numpy' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
