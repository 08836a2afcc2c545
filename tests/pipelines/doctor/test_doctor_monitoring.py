"""`trainyard doctor` on `[monitoring]`: what cannot work as it is set, and what the monitor has come to."""

from dataclasses import replace

import pytest
from monitor_parts import config, failing, looking, passing
from registry_parts import promote
from versions import candidate, digests

from pipelines.config.schema import PredictionLog, Registry, Schedule
from pipelines.doctor.monitoring import monitoring
from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore
from pipelines.trust import open_registry
from registry import candidates
from registry.errors import Corrupt
from registry.records.monitoring import Silence

LOGGED = PredictionLog(enabled=True)


@pytest.fixture
def team(tmp_path):
    """A config whose registry has a live version."""

    def make(**settings):
        found = replace(
            config(tmp_path, **settings), prediction_log=LOGGED, registry=Registry(f"file://{tmp_path / 'registry'}")
        )
        store, files = open_registry(found), tmp_path / "files"
        files.mkdir()
        (files / "model.tflite").write_bytes(b"served")
        version = candidates.claim(store, "digits", "run")
        candidates.publish(store, candidate("digits", version, "run", digests(files)), files)
        promote(store, version, "token")
        return found

    return make


def test_without_a_prediction_log_nothing_is_monitored_and_that_is_no_problem(tmp_path):
    found = monitoring(config(tmp_path))
    assert (found.state, found.next) == ("ok", "see docs/how-to/monitor.md")


@pytest.mark.parametrize(
    "settings",
    [lambda found: replace(found, schedule=Schedule(monitor="*/15 * * * *")), lambda found: found],
    ids=["a schedule", "a webhook"],
)
def test_a_monitor_that_is_wanted_needs_a_prediction_log(tmp_path, settings):
    found = monitoring(settings(config(tmp_path, webhook="https://hooks.company.example/x")))
    assert (found.state, found.next) == ("warn", "set it to true, and start the API again")


def test_before_the_first_window_the_next_action_is_named(tmp_path):
    found = monitoring(replace(config(tmp_path), prediction_log=LOGGED))
    assert (found.state, found.what) == ("ok", "no window was checked yet")


def test_what_the_monitor_has_come_to_is_shown(tmp_path):
    settings = replace(config(tmp_path), prediction_log=LOGGED)
    monitor_once(settings, looking(passing(1)))
    assert monitoring(settings).what.endswith("0 alarms open, 0 causes silenced")
    monitor_once(settings, looking(failing(2), failing(3)))
    MonitorStore(settings).silence(Silence("drift inputs.mass", "2126-01-01T00:00:00Z", "ada"))
    found = monitoring(settings)
    assert (found.state, found.next) == ("ok", "`trainyard monitor show` says more")
    assert found.what.endswith("1 alarm open, 1 cause silenced")


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("http://hooks.company.example/x", "warn"),
        ("https://hooks.company.example/x", "ok"),
        ("http://127.0.0.1:9/x", "ok"),
    ],
)
def test_a_webhook_that_is_not_encrypted_is_named(tmp_path, url, state):
    found = monitoring(replace(config(tmp_path, webhook=url), prediction_log=LOGGED))
    assert found.state == state
    assert ("is not encrypted" in found.what) == (state == "warn")


def test_notices_that_wait_are_named(tmp_path):
    settings = replace(config(tmp_path, webhook="http://127.0.0.1:1/x"), prediction_log=LOGGED)
    monitor_once(settings, looking(failing(1), failing(2)))
    assert "1 notices wait for the webhook" in monitoring(settings).what


def test_ignored_names_that_the_live_model_has_not_are_named(team):
    names = ("image", "inputs.image", "image.brightness", "outputs.probabilities[3]", "confidence", "mass")
    found = monitoring(team(ignore=names))
    assert found.state == "warn"
    assert found.what == "[monitoring] ignore: the live model has no 'mass'"
    assert "image" in found.next


def test_a_corrupted_file_fails(tmp_path):
    settings = replace(config(tmp_path), prediction_log=LOGGED)
    monitor_once(settings, looking(passing(1)))
    (MonitorStore(settings).folder / "state.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"state\.json"):
        monitoring(settings)
