"""jenkins/plugins.txt against what each plugin declares that it needs (jenkins_plugins.toml): they must load together."""

from __future__ import annotations

import re
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

from pipelines.jenkins_server.plugins import JENKINS

ROOT = Path(__file__).resolve().parents[2]
ROWS = tomllib.loads(Path(__file__).with_name("jenkins_plugins.toml").read_text(encoding="utf-8"))
READ = re.compile(r"jenkinsci/[a-z0-9-]+@[0-9a-f]{12} (?:[\w-]+/)?pom\.xml")


def pinned() -> dict[str, str]:
    """{plugin: version} of jenkins/plugins.txt."""
    lines = (ROOT / "jenkins" / "plugins.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(":") for line in lines if line and not line.startswith("#"))


def order(version: str) -> list[int]:
    """What decides which of two versions of one plugin is newer: the numbers before the commit."""
    found = [int(each) for each in takewhile(str.isdecimal, re.split(r"[.-]", version))]
    assert found, f"{version} does not begin with a number"
    return found


def conflicts(pins: dict[str, str], jenkins: str = JENKINS) -> list[str]:
    """Why Jenkins would not load one of them, or jenkins-plugin-cli would refuse the list."""
    found = []
    for name, version in pins.items():
        row = ROWS.get(name, {})
        if row.get("version") != version:
            found.append(f"{name} {version}: its row is for {row.get('version', 'no version')}")
        if order(row.get("jenkins", jenkins)) > order(jenkins):
            found.append(f"{name} needs Jenkins {row['jenkins']}")
        for kind in ("needs", "optional"):
            for other, least in (each.split(":") for each in row.get(kind, ())):
                if other in pins and order(pins[other]) < order(least):
                    found.append(f"{name} needs {other} {least}, pinned is {pins[other]}")
                elif other not in pins and kind == "needs":
                    found.append(f"{name} needs {other} {least}, which is not pinned")
    return found


def test_the_pinned_plugins_load_together():
    assert conflicts(pinned()) == []


def test_every_row_is_of_a_pinned_plugin_and_says_where_it_was_read():
    assert ROWS.keys() == pinned().keys()
    for name, row in ROWS.items():
        assert READ.fullmatch(row.get("read", "")) or row.get("seen"), name
        assert row.keys() <= {"version", "jenkins", "read", "near", "seen", "needs", "optional"}, name


def test_a_row_was_read_from_the_pinned_release_unless_it_says_otherwise():
    """A version like 551.vdff487c5998c ends with its commit, with `_` after letters."""
    for name, row in ROWS.items():
        commit = re.search(r"(?:^|[.-])v([0-9a-f_]{10,})$", row["version"])
        if commit and "read" in row and "near" not in row:
            assert f"@{commit[1].replace('_', '')[:12]} " in row["read"], name


@pytest.mark.parametrize(
    ("change", "conflict"),
    [
        (
            {"configuration-as-code": "1995.v540b_50a_eb_0c1"},
            "git needs configuration-as-code 2031.veb_a_fdda_b_3ffd, pinned is 1995.v540b_50a_eb_0c1",
        ),
        (
            {"prism-api": "1.30.0-703.v116fb_3b_5b_b_a_a_"},
            "configuration-as-code needs prism-api 1.30.0-717.vb_f8360844b_53, pinned is 1.30.0-703.v116fb_3b_5b_b_a_a_",
        ),
        ({"scm-api": None}, "git needs scm-api 724.v7d839074eb_5c, which is not pinned"),
        ({"ansicolor": "1.0.2"}, "ansicolor 1.0.2: its row is for no version"),
        ({"git": "5.10.2"}, "git 5.10.2: its row is for 5.10.1"),
    ],
    ids=["optional, too old", "too old", "missing", "without a row", "raised without its row"],
)
def test_a_pin_that_would_not_load_is_found(change, conflict):
    pins = {name: version for name, version in (pinned() | change).items() if version}
    assert conflict in conflicts(pins)


def test_an_older_jenkins_is_found():
    assert "configuration-as-code needs Jenkins 2.541.1" in conflicts(pinned(), "2.528.3")
