"""The exit code of `trainyard run`: that of the run, and of a mail that could not be written."""

import pytest

from pipelines import execute, flows
from pipelines.commands import run
from pipelines.config.schema import Config, Repositories
from pipelines.runs import RunFolder, StepRecord
from pipelines.steps.resolve import Request
from registry import codec
from registry.errors import ConfigError, TryAgain
from registry.records import Run, Sources, utc_now


def record(step, outcome="done", code=0):
    return StepRecord(step, outcome, "", utc_now(), 0.1, "", code)


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """The exit code of a run whose last step and mail ended like this; None: without a record."""

    def code(last, mail):
        folder = RunFolder(tmp_path / "run")
        of_run = Run("r", "m", "code", Sources("a" * 40, "b" * 40, "c" * 40), "", None, None, utc_now(), False, "")
        codec.save(of_run, folder.root / "run.json")
        for step in flows.names("code")[:-2]:
            folder.keep(record(step))
        folder.keep(last)
        folder.forget("notify")
        if mail:
            folder.keep(mail)
        monkeypatch.setattr(run, "resolve", lambda _context, _request: folder)
        monkeypatch.setattr(execute, "run_flow", lambda _context, _folder: last)
        config = Config("m", Repositories("a", "b", "c"), home=str(tmp_path))
        return run.run_pipeline(config, Request("code", {}, False, "", ""))[2]

    return code


def test_a_run_that_went_well_and_was_mailed_is_done(ended):
    assert ended(record("accept"), record("notify")) == 0


def test_a_mail_that_cannot_be_written_is_not_done_and_what_to_do_is_said(ended, capsys):
    assert ended(record("accept"), record("notify", "failed", ConfigError.exit_code)) == ConfigError.exit_code
    assert "nobody was mailed: the same command writes the mail" in capsys.readouterr().err
    assert ended(record("accept"), None) == TryAgain.exit_code


def test_why_a_run_failed_comes_before_its_mail(ended):
    assert ended(record("accept", "rejected", 3), record("notify", "failed", 2)) == 3
