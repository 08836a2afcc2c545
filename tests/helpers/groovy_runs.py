"""Starts the real Groovy, and the simulator of a Pipeline that is written in it. TRAINYARD_TEST_GROOVY=1: it must exist."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "jenkinsfiles"
FILES = {
    "code": ROOT / "Jenkinsfile",
    "dataset": ROOT / "jenkins" / "dataset.Jenkinsfile",
    "tests": ROOT / "jenkins" / "unit_tests.Jenkinsfile",
    "promotion": ROOT / "jenkins" / "promotion.Jenkinsfile",
    "batch": ROOT / "jenkins" / "batch.Jenkinsfile",
    "monitor": ROOT / "jenkins" / "monitor.Jenkinsfile",
}
SHARED = ROOT / "jenkins" / "trainyard.groovy"


def missing(reason: str) -> None:
    """What a test says without Groovy or the linter: it is skipped, or in CI fails."""
    if os.environ.get("TRAINYARD_TEST_GROOVY") == "1":
        pytest.fail(f"TRAINYARD_TEST_GROOVY=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def java_home() -> str:
    """Where the system's Java is: Debian's groovy guesses a place that may be empty, and the linter would download one."""
    java = shutil.which("java")
    if not java:
        missing("there is no java")
    assert java
    return str(Path(java).resolve().parents[1])


def groovy(
    script: Path, *arguments: object, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script in tests/jenkinsfiles."""
    if not shutil.which("groovy"):
        missing("there is no groovy (apt install groovy)")
    return subprocess.run(
        ["groovy", str(script), *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False,
        env=os.environ
        | {"JAVA_HOME": java_home(), "JAVA_OPTS": "-Xshare:auto -XX:TieredStopAtLevel=1"}
        | (environment or {}),
    )  # fmt: skip


class Build:
    """What a simulated build did."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        assert outcome["error"] is None, outcome["error"]
        self.events: list[dict[str, Any]] = outcome["events"]
        self.result: str = outcome["build"]["currentResult"]
        self.name: str = outcome["build"]["displayName"]
        self.description: str | None = outcome["build"]["description"]

    def of(self, step: str) -> list[dict[str, Any]]:
        """The calls of one Pipeline step."""
        return [each for each in self.events if each["step"] == step]

    @property
    def started(self) -> list[str]:
        """The stages that ran."""
        return [each["stage"] for each in self.of("started")]

    @property
    def shells(self) -> list[tuple[str, str]]:
        """Stage, and the step of Trainyard or the program that was called there."""
        return [(each["stage"], _what(each)) for each in self.of("sh")]


def _what(event: dict[str, Any]) -> str:
    words = event["script"].split()
    if "notify" in words:
        return "notify"
    return str(event["env"].get("STEP") or words[0].rpartition("/")[2])


def simulate(scenarios: dict[str, dict[str, Any]]) -> dict[str, Build]:
    """All scenarios in one JVM, which takes a second to start."""
    given = [{"name": name, "file": "Jenkinsfile", **scenario} for name, scenario in scenarios.items()]
    done = groovy(HERE / "simulator.groovy", ROOT, stdin=json.dumps(given))
    assert done.returncode == 0, done.stderr
    return {each["name"]: Build(each) for each in json.loads(done.stdout)}
