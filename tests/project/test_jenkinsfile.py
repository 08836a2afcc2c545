"""The Jenkinsfile says when, the Python pipeline says what: they name the same steps in the same order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.flow import FLOWS

JENKINSFILE = Path(__file__).parents[2] / "Jenkinsfile"
TEXT = JENKINSFILE.read_text(encoding="utf-8")


def test_its_stages_are_the_steps_in_their_order():
    set_up, *stages = re.findall(r"stage\('([\w-]+)'\)", TEXT)
    steps = re.findall(r"runStep\('(\w+)'", TEXT)
    assert set_up == "set-up"
    assert (*stages, "notify") == FLOWS["code"]
    assert tuple(steps) == FLOWS["code"]


def test_no_shell_command_is_put_together_by_groovy():
    assert 'script: "' not in TEXT
    assert not re.search(r"\bsh\s*\(?\s*\"", TEXT)


@pytest.mark.skipif(not (shutil.which("groovy") and shutil.which("java")), reason="there is no groovy to parse it with")
def test_a_real_groovy_parses_it():
    java_home = Path(shutil.which("java")).resolve().parents[1]  # Debian's groovy guesses a place that may be empty
    code = f"new GroovyShell().parse(new File('{JENKINSFILE}')); println 'parsed'"
    environment = os.environ | {"JAVA_HOME": str(java_home)}
    done = subprocess.run(["groovy", "-e", code], env=environment, capture_output=True, text=True, check=False)
    assert "parsed" in done.stdout, done.stderr
