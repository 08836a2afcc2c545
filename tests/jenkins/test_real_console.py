"""What the tests on a real Jenkins read in a console."""

from __future__ import annotations

import pytest
from real_jenkins import Build

CONSOLE = """Started by user ann
[Pipeline] Start of Pipeline
[Pipeline] node
Running on agent in /srv/agent/workspace/team/code
[Pipeline] {
[Pipeline] timestamps
[Pipeline] {
[Pipeline] stage
[Pipeline] { (prepare)
[Pipeline] checkout
[Pipeline] load
[Pipeline] { (pipeline/jenkins/trainyard.groovy)
[Pipeline] }
[Pipeline] // load
[Pipeline] sh
+ jenkins/trainyard step resolve (again)
[Pipeline] }
[Pipeline] // stage
[Pipeline] stage
[Pipeline] { (fetch)
Stage "fetch" skipped due to when conditional
[Pipeline] }
[Pipeline] // stage
[Pipeline] stage
[Pipeline] { (Declarative: Post Actions)
[Pipeline] }
[Pipeline] // stage
Finished: SUCCESS
"""


@pytest.mark.parametrize("stamp", ["", "[2026-11-21T12:00:00.000Z] "], ids=["plain", "with timestamps"])
def test_stages_are_distinguished_from_other_named_blocks(monkeypatch, stamp):
    console = "".join(f"{stamp}{line}" for line in CONSOLE.splitlines(keepends=True))
    monkeypatch.setattr(Build, "console", console)
    build = Build(None, "job/team/job/code", 1)
    assert build.stages == ["prepare", "fetch", "Declarative: Post Actions"]
    assert build.skipped == {"fetch"}
