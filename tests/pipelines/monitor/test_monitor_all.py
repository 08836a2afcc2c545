"""`trainyard monitor --once` as people call it: a registry with a reference, a prediction log, a mail, an exit code."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from registry_parts import promote
from versions import candidate, digests
from watched_parts import HOURS_AGO, MINUTE, Pets, answered, pet_model, utc, write_log

from pipelines.__main__ import main
from pipelines.config.load import load_config
from pipelines.deploy.serve_job import log_folder
from pipelines.trust import open_registry
from registry import candidates
from retraining.monitoring.names import REFERENCE_FILE
from retraining.monitoring.reference import to_bytes

SETTINGS = """
model = "digits"
home = "home"
[repositories]
code = "code"
dataset = "dataset"
tests = "tests"
[mail]
sender = "trainyard@company.example"
to = "owner@company.example"
[prediction_log]
enabled = true
[serving]
port = 9
"""


@pytest.fixture
def team(tmp_path):
    """The settings' file of a model whose live version has a reference, and whose ages move after 45 minutes of traffic."""
    file = tmp_path / "trainyard.toml"
    file.write_text(SETTINGS)
    config = load_config(file, {})
    model = pet_model(release=1, version=1)
    model.manifest = SimpleNamespace(model="digits", version=1)
    store, source = open_registry(config), tmp_path / "made"
    source.mkdir()
    (source / "model.tflite").write_bytes(b"served")
    (source / REFERENCE_FILE).write_bytes(to_bytes(Pets(4000, 1000).reference()))
    version = candidates.claim(store, "digits", "run")
    made = replace(candidate("digits", version, "run", digests(source)), signature=model.signature)
    candidates.publish(store, made, source)
    promote(store, version, "token")
    answers = [
        answered(
            model, Pets(20, minute, shift=0.9 if minute >= 45 else 0.0), HOURS_AGO + minute * MINUTE, f"r-{minute}"
        )
        for minute in range(90)
    ]
    write_log(log_folder(config), answers)
    return file


def test_a_drift_is_found_mailed_and_shown(team, capsys):
    call = ["monitor", "--once", "--since", utc(HOURS_AGO), "--json", "--config", str(team)]
    assert main(call) == 3
    found = json.loads(capsys.readouterr().out)
    assert [each["alarm"]["cause"] for each in found["raised"]] == ["drift inputs.age"]
    assert found["newest"]["window"]["version"] == 1
    (mail,) = (team.parent / "home" / "outbox" / "pending").iterdir()
    assert b"drift of inputs.age: distribution" in mail.read_bytes()
    assert main(["monitor", "show", "--config", str(team)]) == 0
    assert "inputs.age: on the holdout the median was" in " ".join(capsys.readouterr().out.split())
    assert main(["monitor", "silence", "drift inputs.age", "--until", "2126-01-01", "--config", str(team)]) == 0
    assert main(["monitor", "--once", "--config", str(team)]) == 0
    assert len(list(mail.parent.iterdir())) == 1
