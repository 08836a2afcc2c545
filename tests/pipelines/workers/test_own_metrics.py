"""The team's `metrics.py` over the answers of an evaluation: what its functions measure, and the errors they can have."""

import json
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from pipelines.own_metrics import merge
from pipelines.workers.answers import keep, keep_classes, kept, without_kept
from pipelines.workers.jobs import OwnJob, OwnNumbers, OwnResult
from pipelines.workers.metrics_file import must_define
from pipelines.workers.own_metrics import main
from registry import codec
from registry.errors import ConfigError, Corrupt, WorkerFailed
from registry.records import Comparison, Evaluation, Metrics, Recent
from training.metrics import Answers, Estimates, Wanted, grade
from training.worker.protocol import load_failure

CLASSES = ("cat", "dog", "owl")
PROFIT = 'own:profit(better="more")'
COST = 'own:cost(better="less")'
GOOD = """
from beside import HALF

def profit(truth, probabilities):
    assert truth.dtype == "int64" and probabilities.dtype == "float32"
    return (probabilities.argmax(axis=1) == truth).sum() * HALF

def cost(truth, probabilities, classes, each=2):
    return each * float((probabilities[:, classes.index("owl")] > 0.5).mean())
"""


def graded(seed, samples=200, right=0.9):
    """Answers of which so many are right."""
    random = np.random.default_rng(seed)
    truth = np.arange(samples) % 3
    said = np.where(random.random(samples) < right, truth, (truth + 1) % 3)
    return grade(np.eye(3)[said] * 0.94 + 0.02, truth, CLASSES, CLASSES, Wanted(probabilities=True))


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job folder; called with the text of `metrics.py` it gives what the worker finds, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    answers, tests = tmp_path / "inputs" / "answers", tmp_path / "inputs" / "tests"
    tests.mkdir(parents=True)
    keep_classes(answers, CLASSES)
    keep(answers, "holdout", "candidate", graded(1))

    def run(text, *measures, **more):
        (tests / "metrics.py").write_text(textwrap.dedent(text))
        codec.save(OwnJob(measures or (PROFIT,), **({"seconds": 60.0} | more)), tmp_path / "job.json")
        try:
            return main(tmp_path)
        finally:
            for each in ("metrics", "beside"):
                sys.modules.pop(each, None)

    run.answers, run.tests, run.folder = answers, tests, tmp_path
    return run


def test_each_function_measures_the_candidate_and_the_live_release(job):
    (job.tests / "beside.py").write_text("HALF = 0.5\n")
    keep(job.answers, "holdout", "live", graded(2, right=0.5))
    found = job(GOOD, PROFIT, COST, live_version=7).holdout
    new, live = graded(1), graded(2, right=0.5)
    assert found.candidate == {
        PROFIT: (new.predicted == new.truth).sum() / 2,
        COST: pytest.approx(2 * (new.predicted == 2).mean()),
    }
    assert found.live[PROFIT] == (live.predicted == live.truth).sum() / 2
    profit, cost = found.comparisons
    assert (profit.metric, profit.live_version, profit.samples) == (PROFIT, 7, 200)
    assert 0 < profit.low < profit.difference < profit.high
    assert cost.difference == pytest.approx(found.live[COST] - found.candidate[COST]), "less is better"
    assert not (job.folder / "error.json").exists()


def test_without_a_live_release_and_recent_predictions_there_is_the_candidate_alone(job):
    found = job("def profit(truth, probabilities): return 1")
    assert found == OwnResult(OwnNumbers({PROFIT: 1.0}), OwnNumbers())


def test_numbers_are_given_as_they_are(job):
    keep_classes(job.answers, ())
    for whose, said in (("candidate", [1.0, 2.5]), ("live", [1.0, 3.0])):
        keep(job.answers, "holdout", whose, Estimates(np.array([1.0, 2.0]), np.array(said)))
    found = job("def profit(truth, numbers, classes): return -abs(truth - numbers).sum() - len(classes)").holdout
    assert (found.candidate, found.live) == ({PROFIT: -0.5}, {PROFIT: -1.0})


@pytest.mark.parametrize("value", ["float('nan')", "float('-inf')", "10 ** 400"])
def test_what_is_not_finite_is_kept_as_no_number_for_the_gate_to_reject(job, value):
    keep(job.answers, "holdout", "live", graded(2))
    found = job(f"def profit(truth, probabilities): return {value}").holdout
    assert math.isnan(found.candidate[PROFIT])
    assert math.isnan(found.comparisons[0].low)


def test_a_resample_may_lack_what_the_function_needs(job):
    keep(job.answers, "holdout", "live", graded(2))
    found = job("""
        def profit(truth, probabilities):
            if len(set(truth[:3])) < 3:
                raise ValueError("a class is missing among the first")
            return 1.0
        """).holdout
    assert (found.candidate, found.live) == ({PROFIT: 1.0}, {PROFIT: 1.0})
    assert math.isnan(found.comparisons[0].high), "nothing is known of the interval, and nothing has failed"


def test_a_slow_function_is_not_called_hundreds_of_times(job):
    keep(job.answers, "holdout", "live", graded(2))
    found = job("""
        import time
        calls = []
        def profit(truth, probabilities):
            calls.append(time.sleep(0.06))
            assert len(calls) < 3
            return 1.0
        """, seconds=30.0).holdout  # fmt: skip
    assert math.isnan(found.comparisons[0].low)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("def cost(): pass", "own:profit: metrics.py of the tests repository defines no profit", "(truth, answers)"),
        ("def profit(truth:", "metrics.py, line 1: ", "correct it in the tests repository"),
        ("import nothing_of_this_name as profit", "metrics.py, line 1, in <module>: ModuleNotFoundError", "in the tests repository"),
        ("profit = 5", "metrics.py: profit is a int, not a function", "define profit(truth, answers)"),
        ("def profit(truth): pass", "metrics.py: profit(truth) cannot be called with (truth, answers)", "defaults"),
        ("def profit(t, p): raise ValueError('no owls')", "metrics.py, line 1, in profit: ValueError: no owls", ""),
        ("def profit(t, p): raise SystemExit(0)", "metrics.py, line 1, in profit: SystemExit: 0", ""),
        ("def profit(t, p): return None", "metrics.py: profit returned nothing, not a number", "return a float"),
        ("def profit(t, p): return '1'", "metrics.py: profit returned a str, not a number", ""),
        ("def profit(t, p): return True", "metrics.py: profit returned a bool, not a number", ""),
        ("def profit(t, p): return p[:, 0]", "metrics.py: profit returned a ndarray of shape (200,), not a number", ""),
        ("def profit(t, p): p *= 2", "metrics.py, line 1, in profit: ValueError: output array is read-only", "copy()"),
        ("def profit(t, p): t[0] = 1", "metrics.py, line 1, in profit: ValueError: assignment destination", "copy()"),
        ("from beside import profit", "metrics.py: profit: beside.py, line 1, in profit: ZeroDivisionError", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_file_and_the_function(job, text, words, hint):
    (job.tests / "beside.py").write_text("def profit(t, p): return 1 / 0")
    with pytest.raises((ConfigError, WorkerFailed)) as error:
        job(text)
    assert words in str(error.value)
    assert hint in error.value.hint


def test_a_repository_without_the_file_is_said_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"own:profit: the tests repository has no metrics\.py") as error:
        must_define(tmp_path, [PROFIT])
    assert "a function profit(truth, answers)" in error.value.hint
    (tmp_path / "metrics.py").write_text("from beside import *\n")
    (tmp_path / "beside.py").write_text("def profit(t, p): pass\n")
    must_define(tmp_path, [PROFIT])
    with pytest.raises(ConfigError, match="defines no cost"):
        must_define(tmp_path, [PROFIT, COST])


def test_on_recent_predictions_what_fails_is_a_note(job):
    for which, whose in (("recent", "candidate"), ("recent", "live")):
        keep(job.answers, which, whose, graded(3, samples=30))
    found = job("def profit(t, p):\n if len(t) < 100: raise ValueError('too few')\n return 1.0")
    assert found.holdout.candidate == {PROFIT: 1.0}
    assert found.recent == OwnNumbers(notes=("metrics.py, line 2, in profit: ValueError: too few",))


@pytest.mark.parametrize(
    ("body", "words", "seconds"),
    [
        ("while True: pass", "metrics.py: profit took longer than 1 s", 1.0),
        ("os._exit(0)", "metrics.py: the process was ended in profit", 60.0),
        ("print('x' * 100_000); os.kill(os.getpid(), 9)", "metrics.py: the process was ended in profit", 60.0),
    ],
)
def test_a_worker_that_is_ended_has_said_in_which_function(job, body, words, seconds):
    with pytest.raises(WorkerFailed):
        job("def profit(t, p): raise ValueError", seconds=seconds)  # writes the files
    (job.tests / "metrics.py").write_text(f"import os\ndef profit(t, p):\n    {body}\n")
    command = [sys.executable, "-P", "-m", "pipelines.workers.own_metrics"]
    done = subprocess.run(command, cwd=job.folder, env=os.environ, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0 or not (job.folder / "result.json").exists()
    assert str(load_failure(job.folder)) == words


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    keep(tmp_path, "holdout", "candidate", graded(1, samples=9))
    assert kept(tmp_path, "recent") is None
    assert not kept(tmp_path, "holdout").candidate.flags.writeable
    np.save(tmp_path / "holdout" / "truth.npy", np.zeros(3))
    with pytest.raises(Corrupt):
        kept(tmp_path, "holdout")


def test_probabilities_that_were_only_kept_do_not_slow_what_is_measured():
    answers, numbers = graded(1, samples=9), Estimates(np.ones(2), np.ones(2))
    assert isinstance(answers, Answers)
    assert without_kept(answers, Wanted(("accuracy",), probabilities=True)).scores is None
    assert without_kept(answers, Wanted(("roc_auc",), probabilities=True)) is answers
    assert without_kept(numbers, Wanted(probabilities=True)) is numbers


def test_the_numbers_are_kept_among_those_of_the_evaluation():
    measured, compared = Metrics("regression", 5, {"mae": 1.0}), Comparison(1, PROFIT, 1.0, 0.5, 1.5, 5)
    own = OwnResult(
        OwnNumbers({PROFIT: 2.0}, {PROFIT: 1.0}, (compared,)),
        OwnNumbers({PROFIT: 4.0}, {PROFIT: 3.0}, (compared,), ("one note",)),
    )
    recent = Recent(3, measured, measured, notes=("first",))
    found = merge(Evaluation(measured, measured, recent=recent), own)
    assert found.candidate.values == {"mae": 1.0, PROFIT: 2.0}
    assert found.live.values == {"mae": 1.0, PROFIT: 1.0}
    assert found.comparisons == found.recent.comparisons == (compared,)
    assert (found.recent.candidate.values[PROFIT], found.recent.live.values[PROFIT]) == (4.0, 3.0)
    assert found.recent.notes == ("first", "one note")
    alone = merge(Evaluation(measured), OwnResult(OwnNumbers({PROFIT: 2.0}), OwnNumbers()))
    assert (alone.live, alone.recent, alone.comparisons) == (None, None, ())
    assert json.loads(codec.to_json(alone))["candidate"]["values"][PROFIT] == 2.0
