"""The table of steps: its order is the one that runs are read in, and a step is imported when it runs, not before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import flows
from pipelines.runs import ORDER, RunFolder, StepRecord
from registry import codec
from registry.records import Run, Sources

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {"retrain": {"evaluate", "train"}, "accept": {"validate"}}
"""What a step asks of other steps."""


def test_all_flows_keep_one_order():
    for trigger in flows.FLOWS:
        *names, last = flows.names(trigger)
        assert last == "notify"
        assert names == [step for step in ORDER if step in names]
        assert names[-1] == ORDER[-1]
    assert set(flows.STEPS) == {*ORDER, "notify"}


def test_each_step_is_a_module_of_its_name():
    modules = {path.stem for path in (ROOT / "pipelines" / "steps").glob("*.py")} - {"__init__"}
    assert set(flows.STEPS) == modules
    for name in modules:
        assert f"return {name}.main(context, folder)" in Path(flows.__file__).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", flows.STEPS)
def test_a_step_is_imported_when_it_runs_and_no_other_is(name):
    code = f"""
import contextlib, json, sys
import pipelines.__main__, pipelines.commands.step, pipelines.execute
from pipelines import flows
steps = lambda: sorted(each for each in sys.modules if each.startswith("pipelines.steps."))
before = steps()
with contextlib.suppress(AttributeError, TypeError):
    flows.STEPS[{name!r}].run(None, None)
print(json.dumps([before, steps()]))
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before == []
    assert {each.rpartition(".")[2] for each in after} == {name} | NEEDED.get(name, set())


@pytest.fixture
def folder(tmp_path):
    run = Run("0" * 12, "digits", "tests", Sources("1" * 40, "2" * 40, "3" * 40), "", None, 1, "2026-11-21T00:00:00Z")
    codec.save(run, tmp_path / "run.json")
    return RunFolder(tmp_path)


def keep(folder, *steps, outcome="done"):
    for step in steps:
        folder.keep(StepRecord(step, outcome, "", "2026-11-21T00:00:00Z", 1.0))


def test_a_run_is_decided_by_its_last_step_and_ended_by_its_mail(folder):
    keep(folder, "resolve", "fetch")
    assert folder.decided() is None
    keep(folder, "accept")
    assert folder.decided() == folder.record("accept")
    assert folder.ended() is None
    keep(folder, "notify")
    assert folder.ended() == folder.record("accept")


@pytest.mark.parametrize(("outcome", "decided"), [("enough", True), ("rejected", True), ("failed", False)])
def test_a_step_that_stops_the_run_decides_it(folder, outcome, decided):
    keep(folder, "resolve")
    keep(folder, "fetch", outcome=outcome)
    assert bool(folder.decided()) == decided


def test_a_record_of_an_earlier_version_says_no_where_we_say_rejected(folder):
    keep(folder, "gate", outcome="rejected")
    path = folder.root / "steps" / "gate.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"rejected"', '"no"'), encoding="utf-8")
    assert folder.record("gate").outcome == "rejected"
    assert folder.decided()
