"""The step that decides: what it writes, and that nothing is registered without its yes."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pipelines.config.schema import Config, Repositories
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.runs import RunFolder
from pipelines.steps import gate, register
from registry import codec
from registry.errors import Rejected
from registry.records import Evaluation, Metrics, Policy, Run, Sources, Verdict

POLICY = Policy("mae", 2.0, min_samples=10)


@pytest.fixture
def context(tmp_path):
    config = Config("digits", Repositories("code", "dataset", "tests"), home=str(tmp_path), gate=POLICY)
    return Context(
        dataclasses.replace(config, registry=dataclasses.replace(config.registry, url=f"file://{tmp_path}/registry")),
        open_progress(),
    )


@pytest.fixture
def folder(tmp_path):
    run = Run("r1", "digits", "code", Sources("a" * 40, "b" * 40, "c" * 40), "", None, None, "2026", False, "")
    codec.save(run, tmp_path / "run" / "run.json")
    return RunFolder(tmp_path / "run")


def measured(folder, mae, samples=50, live_note="", live=None):
    values = {"mae": mae, "rmse": 1.0, "r2": 0.5, "loss": 1.0}
    evaluation = Evaluation(
        Metrics("regression", samples, values),
        live=None if live is None else Metrics("regression", samples, values | {"mae": live}),
        live_note=live_note,
    )
    codec.save(evaluation, folder.job("evaluate") / "result.json")


def test_a_candidate_that_meets_every_criterion_is_accepted(context, folder):
    measured(folder, 1.5, live=1.5)
    assert gate.main(context, folder) == "accepted: mae 1.5000 on 50 samples"
    assert codec.read(Verdict, folder.root / "gate/verdict.json") == Verdict(True, (), POLICY)
    assert 'failures="0"' in (folder.root / "gate/junit.xml").read_text()


def test_what_kept_the_live_release_from_being_measured_is_said(context, folder):
    measured(folder, 1.5, live_note="nothing is live")
    assert gate.main(context, folder).endswith("on 50 samples; nothing is live")


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        ({"mae": 2.5, "samples": 3}, ("mae 2.5000 is over the threshold 2.0000", "measured on 3 holdout samples")),
        ({"mae": math.nan}, ("mae is not a number", "not a number: mae")),
        ({"mae": 1.5, "live": 1.0}, ("mae 1.5000 is worse than the live release's 1.0000",)),
    ],
)
def test_one_that_fails_a_criterion_is_rejected_with_every_reason_and_the_verdict_says_so(
    context, folder, values, reasons
):
    measured(folder, **values)
    with pytest.raises(Rejected) as error:
        gate.main(context, folder)
    assert all(each in str(error.value) for each in reasons)
    verdict = codec.read(Verdict, folder.root / "gate/verdict.json")
    assert not verdict.accepted
    assert "; ".join(verdict.reasons) == str(error.value)
    assert 'failures="0"' not in (folder.root / "gate/junit.xml").read_text()


def test_nothing_is_registered_without_an_accepted_verdict(context, folder):
    codec.save(Verdict(False, ("too bad", "too few"), POLICY), folder.job("gate") / "verdict.json")
    with pytest.raises(Rejected, match="the gate did not accept this candidate: too bad; too few"):
        register.main(context, folder)
    assert list(context.store.names("")) == []


def test_nothing_is_registered_without_a_verdict(context, folder):
    with pytest.raises(FileNotFoundError):
        register.main(context, folder)
    assert list(context.store.names("")) == []
