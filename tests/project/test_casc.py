"""jenkins/casc.yaml and jenkins/plugins.txt: what the plugins' sources allow, and the roles that they give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from pipelines.config.load import find_config, load_config
from pipelines.jenkins_server.plugins import JENKINS, REQUIRED

ROOT = Path(__file__).resolve().parents[2]
JENKINS_FOLDER = ROOT / "jenkins"
SCHEMA = json.loads(Path(__file__).with_name("casc.schema.json").read_text(encoding="utf-8"))
PLUGIN = re.compile(r"([a-z0-9-]+):([0-9A-Za-z._-]+)")


@pytest.fixture
def casc():
    return YAML(typ="safe").load((JENKINS_FOLDER / "casc.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plugins():
    """{id: version}; a line that is neither a plugin nor a comment fails."""
    lines = (JENKINS_FOLDER / "plugins.txt").read_text(encoding="utf-8").splitlines()
    found = [PLUGIN.fullmatch(line).groups() for line in lines if line and not line.startswith("#")]
    assert len(dict(found)) == len(found), "a plugin is named twice"
    return dict(found)


def permissions(casc):
    """{user: permissions}."""
    entries = casc["jenkins"]["authorizationStrategy"]["globalMatrix"]["entries"]
    return {each["name"]: set(each["permissions"]) for entry in entries for each in entry.values()}


def credentials(casc):
    (domain,) = casc["credentials"]["system"]["domainCredentials"]
    return {each["id"]: each for credential in domain["credentials"] for each in credential.values()}


def test_it_is_what_the_sources_allow(casc):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(casc, SCHEMA)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("jenkins", "numExecuters"), 0),
        (("jenkins", "numExecutors"), 2),
        (("jenkins", "securityRealm", "local", "allowsSignup"), True),
        (("jenkins", "securityRealm", "local", "users", 0, "password"), "secret"),
        (("jenkins", "authorizationStrategy", "globalMatrix", "entries", 0, "user", "permissions", 0), "Job/Run"),
        (("jenkins", "nodes", 0, "permanent", "launcher"), {"ssh": {}}),
        (("credentials", "system", "domainCredentials", 0, "credentials", 0, "usernamePassword", "scope"), "SYSTEM"),
    ],
    ids=lambda each: str(each[-1]) if isinstance(each, tuple) else "",
)
def test_what_jenkins_would_refuse_or_must_not_have_is_found(casc, place, value):
    part = casc
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(casc, SCHEMA)


def test_everybody_with_a_password_has_a_role_and_the_other_way_round(casc):
    users = {each["id"] for each in casc["jenkins"]["securityRealm"]["local"]["users"]}
    assert users == set(permissions(casc)) == {"admin", "engineer", "owner", "agent"}


def test_the_roles(casc):
    roles = permissions(casc)
    assert roles["admin"] == {"Overall/Administer"}
    assert {"Job/Read", "Job/Build", "Job/Cancel", "Job/Workspace"} <= roles["engineer"]
    assert {"Job/Read", "Job/Build"} <= roles["owner"] < roles["engineer"]
    assert roles["agent"] == {"Overall/Read", "Agent/Connect"}
    powerful = {"Job/Configure", "Job/Create", "Run/Replay", "Overall/Administer", "Agent/Configure"}
    assert not powerful & (roles["engineer"] | roles["owner"] | roles["agent"])


def test_the_agent_is_the_one_that_its_container_connects_as(casc):
    connect = (ROOT / "docker" / "agent" / "connect").read_text(encoding="utf-8")
    (agent,) = [node["permanent"] for node in casc["jenkins"]["nodes"]]
    assert f"AGENT_NAME:-{agent['name']}" in connect
    assert f"AGENT_FOLDER:-{agent['remoteFS']}" in connect
    assert '"agent:%s' in connect
    assert agent["launcher"] == {"inbound": {"webSocket": True}}


def test_the_settings_of_the_installation_fit_to_it(casc, monkeypatch):
    config = load_config(find_config(str(ROOT / "docker" / "jenkins" / "trainyard.toml"), {}), {})
    (agent,) = [node["permanent"] for node in casc["jenkins"]["nodes"]]
    assert config.jenkins.agent in agent["labelString"].split()
    assert config.jenkins.git_credentials in credentials(casc)
    assert set(config.jenkins.submitters) <= set(permissions(casc))


def test_every_secret_is_asked_for_before_jenkins_starts(casc):
    asked = set(re.findall(r"\$\{([A-Z_]+)\}", json.dumps(casc)))  # those without a default
    start = (JENKINS_FOLDER / "start-controller").read_text(encoding="utf-8")
    people, others = re.search(r"in JENKINS_\{([A-Z,]+)\}_PASSWORD ([A-Z_ ]+);", start).groups()
    assert asked <= {f"JENKINS_{each}_PASSWORD" for each in people.split(",")} | set(others.split())


def test_the_plugins_are_those_that_apply_asks_for_in_the_tested_versions(plugins):
    assert {name: plugins.get(name) for name in REQUIRED} == {name: each.tested for name, each in REQUIRED.items()}


def test_casc_has_the_plugins_that_it_speaks_to(plugins):
    assert {"configuration-as-code", "job-dsl", "matrix-auth", "plain-credentials", "credentials"} <= set(plugins)


def test_the_image_has_the_tested_jenkins():
    text = (ROOT / "docker" / "jenkins" / "Dockerfile").read_text(encoding="utf-8")
    assert f"BASE_IMAGE=jenkins/jenkins:{JENKINS}-lts-jdk21\n" in text
