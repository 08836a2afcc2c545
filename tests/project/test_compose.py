"""docker/compose.yaml, read by the real tool: what may reach what, and what it asks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry import codec
from serving.job import ServeJob

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker" / "compose.yaml"
SETTINGS = {
    "TRAINYARD_SERVE_IMAGE": "trainyard-serve:1",
    "TRAINYARD_MODEL": "digits",
    "TRAINYARD_REGISTRY": "/srv/registry",
}


@pytest.fixture(scope="session")
def compose():
    for tool in (["docker", "compose"], ["docker-compose"]):
        try:
            subprocess.run([*tool, "version"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return tool
    pytest.skip("neither `docker compose` nor `docker-compose` is installed")


def config(compose, **settings):
    """What the tool makes of the file; its error when it refuses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "COMPOSE_"))}
    command = [*compose, "-f", str(FILE), "config"]
    return subprocess.run(command, env=environ | settings, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def services(compose):
    done = config(compose, **SETTINGS)
    assert done.returncode == 0, done.stderr
    # the tool writes YAML; what we need of it is in the packages of neither the project nor its tests
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    for python in ("/usr/bin/python3", sys.executable):
        parsed = subprocess.run([python, "-c", read], input=done.stdout, capture_output=True, text=True, check=False)
        if parsed.returncode == 0:
            return json.loads(parsed.stdout)["services"]
    pytest.skip("no Python here has a YAML parser")


def published(service):
    for port in service["ports"]:
        if isinstance(port, dict):  # Compose v2
            yield port["host_ip"], int(port["target"])
        else:
            address, _, inside = port.rpartition(":")[0].rpartition(":")[0], 0, port.rpartition(":")[2]
            yield address, int(inside.partition("/")[0])


def test_ports_are_open_to_this_machine_only(services):
    found = {name: list(published(service)) for name, service in services.items()}
    assert found == {"api": [("127.0.0.1", 8500)], "prometheus": [("127.0.0.1", 9090)]}


@pytest.mark.parametrize("name", ["api", "prometheus"])
def test_nobody_is_root_or_can_write_but_where_it_must(services, name):
    service = services[name]
    assert re.fullmatch(r"(65532|65534):(65532|65534)", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    writable = [each["target"] for each in service["volumes"] if isinstance(each, dict) and not each.get("read_only")]
    writable += [
        each.split(":")[1] for each in service["volumes"] if isinstance(each, str) and not each.endswith(":ro")
    ]
    assert writable == ([] if name == "api" else ["/prometheus"])


def test_the_api_is_given_a_job_that_it_understands(services):
    job = codec.from_json(ServeJob, services["api"]["environment"]["TRAINYARD_JOB"].encode(), "compose.yaml")
    assert job == ServeJob("digits", registry="file:///registry")
    assert services["api"]["healthcheck"]["test"][-1] == "serving.health"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_missing_setting_is_told_by_name(compose, name):
    done = config(compose, **{key: value for key, value in SETTINGS.items() if key != name})
    assert done.returncode != 0
    assert name in done.stderr
