"""The Jenkinsfiles and the flows have the same steps in the same order, and Jenkins can parse the Jenkinsfiles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest
from groovy_runs import FILES, HERE, ROOT, SHARED, groovy, java_home, missing

from pipelines.flows import FLOWS, names

LINTER = ROOT / "build" / "node" / "node_modules" / ".bin" / "npm-groovy-lint"
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
GROOVY = {**TEXTS, "shared": SHARED.read_text(encoding="utf-8")}
each_flow = pytest.mark.parametrize("trigger", FLOWS)
each_text = pytest.mark.parametrize("name", GROOVY)


@each_flow
def test_its_stages_are_the_steps_in_their_order(trigger):
    prepare, *stages = re.findall(r"stage\('([\w-]+)'\)", TEXTS[trigger])
    steps = re.findall(r"perform\('(\w+)'", TEXTS[trigger])
    assert prepare == "prepare"
    assert tuple(stages) == tuple(steps) == names(trigger)
    assert f"perform('resolve', '{trigger}')" in TEXTS[trigger]


@each_flow
def test_a_stage_is_one_call(trigger):
    steps = re.findall(r"^ +steps (.+)$", TEXTS[trigger], re.MULTILINE)
    assert len(steps) == len(names(trigger)) + 1
    assert all(re.fullmatch(r"\{ script \{ trainyard\(\)\.\w+\([\w', ]*\) \} \}", each) for each in steps)


def test_what_the_jenkinsfiles_share_is_the_same_in_all():
    def part(name, start, end):
        return re.search(rf"^{start}.*?^{end}", TEXTS[name], re.MULTILINE | re.DOTALL)[0]

    for start, end in (("pipeline", "    parameters"), ("    post", "}")):
        assert len({part(name, start, end) for name in FLOWS}) == 1
    loaders = {re.sub(r" // .*", "", part(name, "Object trainyard", "}")) for name in TEXTS}
    assert len(loaders) == 1


@each_text
def test_groovy_puts_no_text_into_a_shell_command(name):
    text = GROOVY[name]
    for call in re.findall(r"\bsh\b[ (].*", text):
        assert re.match(r"sh\(script: (script|'[^']*'), returnStatus: true\)", call), call
    for value in re.findall(r"(?:shWithRetries\(|script = )(.*)", text):
        assert value.startswith(("'", "String script", "script)")), value
    assert not re.search(r"\"[^\"\n]*pipeline/jenkins", text)


@each_text
def test_no_secret_comes_near_a_string_of_groovy(name):
    assert not re.search(r"params\.APPROVAL|TRAINYARD_\w*(PASSWORD|TOKEN|APPROVAL)=\$\{", GROOVY[name])
    for secret in re.findall(r"\$\{?(?:env\.)?(APPROVAL|\w*PASSWORD|\w*TOKEN)\b", GROOVY[name]):
        assert f'\'set +x; export TRAINYARD_APPROVAL="${secret}";' in GROOVY[name]


def test_the_scripts_of_an_agent_can_be_executed():
    for name in ("prepare", "trainyard"):
        listed = subprocess.check_output(["git", "ls-files", "--stage", f"jenkins/{name}"], cwd=ROOT, text=True)
        assert listed.startswith("100755"), "git update-index --chmod=+x"


def test_there_is_no_python_that_would_hide_the_package_jenkins():
    assert not [*(ROOT / "jenkins").rglob("*.py")]


def test_the_declarative_parser_accepts_every_file():
    done = groovy(HERE / "declarative.groovy", *FILES.values())
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    {
        "when { expression { true } } steps { script { x() } }": "may not appear here",
        "steps { sh 'x' }": "steps holds [script] only",
        "options { quietPeriod(5) }\n steps { script { x() } }": "quietPeriod is not a valid option of a stage",
        "options { timeout(minutes: 5) }\n steps { script { x() } }": "timeout has no [minutes]",
        "steps { script { x() } }\n steps { script { x() } }": "steps twice",
        "agent { docker 'x' }\n steps { script { x() } }": "only label is known",
        "when { branch 'x' }\n steps { script { x() } }": "when holds [expression] only",
    }.items(),
)
def test_that_check_refuses_what_groovy_alone_would_accept(tmp_path, line, message):
    file = tmp_path / "Jenkinsfile"
    file.write_text(f"pipeline {{\n agent any\n stages {{\n  stage('a') {{\n {line}\n  }}\n }}\n}}\n", encoding="utf-8")
    done = groovy(HERE / "declarative.groovy", file)
    assert done.returncode == 1, done.stderr
    assert message in done.stdout


def test_npm_groovy_lint_reports_nothing(tmp_path):
    if not LINTER.exists():
        missing(f"there is no {LINTER} (see jenkins/README.md)")
    for name, path in (*FILES.items(), ("shared", SHARED)):
        (tmp_path / name).mkdir()  # it knows Jenkinsfiles by their whole name
        shutil.copy(path, tmp_path / name / ("Jenkinsfile" if name in FILES else path.name))
    command = [LINTER, "--noserver", "--output", "json", "--config", HERE / ".groovylintrc.json", "--path", tmp_path]
    environment = os.environ | {"JAVA_HOME": java_home()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert report["summary"]["totalFilesLinted"] == len(FILES) + 1
    assert not {file: found["errors"] for file, found in report["files"].items() if found["errors"]}
