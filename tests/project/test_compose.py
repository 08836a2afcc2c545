"""docker/compose.yaml, read by the real tool: what may reach what, and what it asks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.config.load import find_config, load_config
from registry import codec
from serving.job import ServeJob

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker" / "compose.yaml"
SETTINGS = {
    "TRAINYARD_SERVE_IMAGE": "trainyard-serve:1",
    "TRAINYARD_MODEL": "digits",
    "TRAINYARD_REGISTRY": "/srv/registry",
}
MONITORED = {"api", "prometheus"}
JENKINS = {"jenkins", "agent", "git", "certificate", "mail"}


def config(compose, *options, **settings):
    """What the tool makes of the file; its error when it refuses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TRAINYARD_", "COMPOSE_"))}
    command = [*compose, "-f", str(FILE), *options, "config"]
    return subprocess.run(command, env=environ | settings, capture_output=True, text=True, check=False)


def read(compose, *options, **settings):
    """The services, and the names of the volumes."""
    done = config(compose, *options, **settings)
    assert done.returncode == 0, done.stderr
    parsed = YAML(typ="safe").load(done.stdout)
    return parsed["services"], set(parsed["volumes"])


@pytest.fixture(scope="session")
def services(compose):
    """Without a profile."""
    found, _ = read(compose, **SETTINGS)
    # Compose 1 shows those of profiles, too; it starts them as little as its successor does
    return {name: service for name, service in found.items() if not service.get("profiles")}


@pytest.fixture(scope="session")
def installation(compose):
    """What `make jenkins` starts: the services and the names of the volumes."""
    volume = {"TRAINYARD_REGISTRY_TYPE": "volume", "TRAINYARD_REGISTRY": "registry"}
    return read(compose, "--profile", "jenkins", **SETTINGS | volume)


def published(service):
    for port in service.get("ports", ()):
        if isinstance(port, dict):  # Compose v2
            yield port["host_ip"], int(port["target"])
        else:
            address, _, inside = port.rpartition(":")[0].rpartition(":")[0], 0, port.rpartition(":")[2]
            yield address, int(inside.partition("/")[0])


def test_ports_are_open_to_this_machine_only(services):
    found = {name: list(published(service)) for name, service in services.items()}
    assert found == {"api": [("127.0.0.1", each) for each in (8500, 8501, 8502)], "prometheus": [("127.0.0.1", 9090)]}


def test_the_installation_is_open_to_this_machine_only(installation):
    found = {name: list(published(service)) for name, service in installation[0].items() if name in JENKINS}
    assert found == {
        "jenkins": [("127.0.0.1", 8080)],
        "git": [("127.0.0.1", 8080)],
        "mail": [("127.0.0.1", 8025)],
        "agent": [],
        "certificate": [],
    }


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
    assert writable == (["/state"] if name == "api" else ["/prometheus"])


def test_the_api_is_given_a_job_that_it_understands(services):
    job = codec.from_json(ServeJob, services["api"]["environment"]["TRAINYARD_JOB"].encode(), "compose.yaml")
    given = {"registry": "file:///registry", "state": "/state"}
    assert job == ServeJob("digits", **given, admin_host="0.0.0.0", admin_port=8501, open=True)
    assert services["api"]["healthcheck"]["test"][-1] == "serving.server.health"


def test_the_api_verifies_the_registry_from_a_key_that_it_gets_or_sees_first_and_remembers_it(compose):
    found, volumes = read(compose, **SETTINGS, TRAINYARD_FIRST_KEY="a" * 64)
    job = json.loads(found["api"]["environment"]["TRAINYARD_JOB"])
    assert job["first_key"] == "a" * 64
    assert mounts(found["api"])["state"] == (job["state"], False)
    assert "state" in volumes


def test_jenkins_is_started_when_its_profile_is_asked_for(services, installation):
    assert set(services) == MONITORED
    assert set(installation[0]) == MONITORED | JENKINS
    assert {name for name, service in installation[0].items() if service.get("profiles") == ["jenkins"]} == JENKINS


@pytest.mark.parametrize("name", sorted(JENKINS))
def test_no_container_of_the_installation_has_privileges(installation, name):
    service = installation[0][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)
    assert "docker.sock" not in json.dumps(service)
    if name in {"git", "mail", "certificate"}:
        assert service["user"] == "65532:65532"
        assert service["read_only"] is True


def mounts(service):
    """{volume: (where, read-only)}"""
    found = {}
    for each in service["volumes"]:
        if isinstance(each, dict):
            found[each["source"]] = (each["target"], bool(each.get("read_only")))
        else:
            source, target, mode = (*each.split(":"), "rw")[:3]
            found[source] = (target, mode == "ro")
    return found


def test_the_agent_writes_the_registry_that_the_api_reads(installation):
    services, volumes = installation
    config = load_config(find_config(str(ROOT / "docker" / "jenkins" / "trainyard.toml"), {}), {})
    assert mounts(services["agent"])["registry"] == (config.registry.url.removeprefix("file://"), False)
    assert mounts(services["agent"])["home"] == (config.home, False)
    assert mounts(services["api"])["registry"] == ("/registry", True)
    assert {"registry", "home", "agent", "jenkins", "repositories", "mails", "tls"} <= volumes


def test_addresses_in_the_settings_are_those_of_the_services(installation):
    services, _ = installation
    text = (ROOT / "docker" / "jenkins" / "trainyard.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"http://(\w+):", text)) == {"git", "jenkins"} <= set(services)
    settings = load_config(find_config(str(ROOT / "docker" / "jenkins" / "trainyard.toml"), {}), {})
    assert settings.mail.host in services
    assert str(Path(settings.mail.ca_file).parent) == mounts(services["agent"])["tls"][0]


def test_builds_find_their_files(installation):
    for name in ("jenkins", "agent", "git"):
        build = installation[0][name]["build"]
        context = Path(build["context"])
        file = context / build.get("dockerfile", "Dockerfile")
        for source in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", file.read_text(encoding="utf-8"), re.MULTILINE):
            assert all((context / each).exists() for each in source.split()), source


def test_no_password_is_in_the_file(installation):
    for name in JENKINS:
        environment = installation[0][name].get("environment", {})
        assert not [key for key, value in environment.items() if key.endswith(("PASSWORD", "TOKEN")) and value]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_missing_setting_is_reported_by_name(compose, name):
    done = config(compose, **{key: value for key, value in SETTINGS.items() if key != name})
    assert done.returncode != 0
    assert name in done.stderr
