"""Text from repositories and workers reaches people as one line of plain text."""

from __future__ import annotations

import io
import json

import pytest

from pipelines import execute, flows
from pipelines.__main__ import report
from pipelines.config.schema import Config, Repositories
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.runs import RunFolder, StepRecord
from registry import codec
from registry.errors import Corrupt, Rejected
from registry.records import Policy, Run, Sources, Verdict, utc_now
from training.worker.protocol import load_failure

FORGED = "bad name\x1b[8m\r\nACCEPTED: push to code\u2028\u202e\x07"


def test_a_failure_that_a_worker_left_is_one_line(tmp_path):
    (tmp_path / "error.json").write_text(json.dumps({"error": "Corrupt", "message": FORGED, "hint": FORGED}))
    failure = load_failure(tmp_path)
    assert type(failure) is Corrupt
    for words in (str(failure), failure.hint):
        assert words.startswith("bad name")
        assert words.isprintable()


def test_an_error_is_reported_on_one_line(capsys):
    assert report(Corrupt(FORGED, hint=FORGED), "step") == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["trainyard step", "  hint"]
    assert all(line.isprintable() for line in said)


def test_what_is_recorded_of_a_step_is_one_line(tmp_path):
    run = Run("1a2b", "digits", "code", Sources("1" * 40, "2" * 40, "3" * 40), "", None, None, utc_now())
    folder = RunFolder(tmp_path)
    codec.save(run, tmp_path / "run.json")
    for step in flows.names("code")[: flows.names("code").index("register")]:
        folder.keep(StepRecord(step, "done", "", utc_now(), 0.0))
    for path in (path for step in flows.STEPS.values() for path in step.outputs):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    no = Verdict(False, (FORGED,), Policy(metric="accuracy", threshold=0.9, min_samples=1))
    codec.save(no, tmp_path / "gate" / "verdict.json")
    seen = io.StringIO()
    context = Context(Config("digits", Repositories("", "", "")), open_progress(seen, live=False))
    with pytest.raises(Rejected):
        execute.run_step(context, folder, "register")
    assert folder.record("register").outcome == "rejected"
    assert folder.record("register").note.isprintable()
    assert not [line for line in seen.getvalue().splitlines() if line.startswith("ACCEPTED")]
