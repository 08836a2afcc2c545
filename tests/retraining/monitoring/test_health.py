"""Findings as checks: outcomes, and sentences with numbers that people know."""

import re

import numpy as np
import pytest

from registry.records.monitoring import Check
from retraining.monitoring.calibration import Estimate
from retraining.monitoring.drift import Limits, check_columns
from retraining.monitoring.health import (
    ServiceLimits,
    Traffic,
    drift_checks,
    estimate_check,
    failed_first,
    names_in_words,
    quality_check,
    sequence_check,
    service_checks,
)
from retraining.monitoring.quality import Measured
from retraining.monitoring.sequences import page_hinkley
from retraining.monitoring.sketches import Categories, categories, numbers

LIMITS = Limits()
RANDOM = np.random.default_rng(1)


def drift(then, now):
    findings = check_columns({"inputs.x": then}, {"inputs.x": now}, LIMITS)
    return list(drift_checks(findings, {"inputs.x": then}, {"inputs.x": now}, LIMITS))


def test_a_column_without_drift_is_one_check():
    (found,) = drift(numbers(RANDOM.normal(size=3000)), RANDOM.normal(size=1000))
    assert (found.kind, found.what, found.outcome, found.column) == ("drift", "distribution", "passed", "inputs.x")
    assert found.reason == "inputs.x: no change that matters, in 1,000 rows"
    assert found.threshold == LIMITS.effect
    assert found.effect < 0.08


def test_a_shift_is_said_with_both_medians():
    (found,) = [
        each
        for each in drift(numbers(RANDOM.normal(100, 1, 3000)), RANDOM.normal(103, 1, 1000))
        if each.what == "distribution"
    ]
    assert found.outcome == "failed"
    assert (round(found.then), round(found.now)) == (100, 103)
    assert found.reason.startswith("inputs.x: on the holdout the median was ")
    assert "8 % on it matters (1,000 rows; chance alone does so in fewer than 1 of 1,000,000 windows)" in found.reason


def test_values_far_away_are_said_with_the_range():
    now = RANDOM.uniform(0, 1, 1000)
    now[:100] = 7
    found = {each.what: each for each in drift(numbers(np.linspace(0, 1, 3000)), now)}["out of range"]
    assert found.outcome == "failed"
    assert (
        "in 10 % of the rows it is outside of the holdout's range, 0 to 1; on the holdout in 0.0667 %" in found.reason
    )


def test_gaps_are_said_with_both_shares():
    now = RANDOM.normal(size=1000)
    now[:250] = np.nan
    found = {each.what: each for each in drift(numbers(RANDOM.normal(size=3000)), now)}["missing"]
    assert (found.then, found.now) == (0.0, 0.25)
    assert found.reason.startswith("inputs.x: in 25 % of the rows it is missing; on the holdout in 0 %; from 2 % on it")


def test_categories_are_said_by_the_value_that_changed_most():
    then, now = categories(["a"] * 500 + ["b"] * 500), categories(["a"] * 900 + ["b"] * 50 + ["new"] * 50)
    found = {each.what: each for each in drift(then, now)}
    assert (
        "on the holdout 'b' was 50 %, and now it is 5 %; 45 % of the rows have another value"
        in found["distribution"].reason
    )
    assert "in 5 % of the rows it has values that the holdout did not have ('new')" in found["new values"].reason


def test_a_column_with_few_values_decides_nothing():
    now = np.full(1000, np.nan)
    now[:50] = 1.0
    (found,) = drift(numbers(np.concatenate([np.ones(100), np.full(3000, np.nan)])), now)
    assert found.outcome == "unknown"
    assert "fewer than 200 rows have a value" in found.reason


def test_a_value_of_any_length_leaves_a_sentence():
    then, now = categories(["a" * 500] * 500), Categories(0, {"\n" * 400: 300, "b" * 400: 300})
    assert all(len(each.reason) < 600 and "\n" not in each.reason for each in drift(then, now))


@pytest.mark.parametrize(
    ("now", "then", "outcome"),
    [
        (Measured(0.7, 0.65, 0.75, 400), 0.9, "failed"),
        (Measured(0.9, 0.87, 0.93, 400), 0.9, "passed"),
        (Measured(0.1, 0.0, 0.3, 10), 0.9, "unknown"),
        (Measured(0.7, 0.65, 0.75, 400), float("nan"), "unknown"),
        ("no label is known yet", 0.9, "unknown"),
    ],
)
def test_quality_with_labels(now, then, outcome):
    found = quality_check("accuracy", now, then, 2000, 0.05)
    assert (found.kind, found.what, found.outcome) == ("decay", "accuracy", outcome)
    if isinstance(now, Measured):
        assert found.reason.startswith(
            f"accuracy is {now.value:.4g} (95 %: {now.low:.4g} to {now.high:.4g}) on {now.rows}"
        )
        assert (found.now, found.low, found.high, found.rows) == (now.value, now.low, now.high, now.rows)
    if outcome in {"failed", "passed"}:
        assert found.threshold == pytest.approx(0.85)
    assert found.then is None or found.then == 0.9


def test_of_an_error_more_is_worse():
    assert quality_check("mae", Measured(3.0, 2.8, 3.2, 400), 2.0, 2000, 0.5).threshold == 2.5


def test_the_sequence_of_errors():
    usual = page_hinkley(100, 1000, 0.05)
    errors = np.concatenate([RANDOM.random(500) < 0.1, RANDOM.random(500) < 0.4])
    found = sequence_check(usual, errors)
    assert found.outcome == "failed"
    since, more = map(
        int, re.search(r"after (\d+) of 1,000 labelled answers: of the next (\d+) ", found.reason).groups()
    )
    assert 400 < since < 550
    assert f"{errors[since : since + more].mean():.1%} were wrong" in found.reason, (
        "what was seen, not what is looked for"
    )
    assert sequence_check(usual, RANDOM.random(1000) < 0.1).outcome == "passed"


@pytest.mark.parametrize(("high", "outcome"), [(0.84, "failed"), (0.86, "passed")])
def test_accuracy_without_labels(high, outcome):
    found = estimate_check(Estimate(0.8, 0.76, high, 500), 0.9, 0.05)
    assert (found.what, found.outcome, found.threshold) == ("estimated accuracy", outcome, pytest.approx(0.85))
    assert "it does not see that" in found.reason


def traffic(**fields):
    defaults = {
        "requests": 100,
        "errors": 0,
        "milliseconds": np.full(100, 4.0),
        "lines": 500,
        "dropped": 0,
        "quiet_hours": 0.1,
    }
    return Traffic(**defaults | fields)


def service(limits=ServiceLimits(0.05, 100, 2), **fields):  # noqa: B008  (frozen)
    return {each.what: each for each in service_checks(traffic(**fields), limits)}


def test_an_api_that_is_well_passes():
    found = service()
    assert {each.outcome for each in found.values()} == {"passed"}
    assert set(found) == {"error share", "latency", "traffic", "dropped lines"}


@pytest.mark.parametrize(
    ("errors", "requests", "outcome"), [(1, 3, "failed"), (1, 10, "passed"), (20, 100, "failed"), (5, 100, "passed")]
)
def test_errors_fail_when_their_share_is_surely_too_large(errors, requests, outcome):
    assert service(errors=errors, requests=requests)["error share"].outcome == outcome


def test_latency_is_that_of_all_but_the_slowest_twentieth():
    times = np.concatenate([np.full(940, 4.0), np.full(60, 500.0)])
    assert service(milliseconds=np.concatenate([np.full(970, 4.0), np.full(30, 500.0)]))["latency"].outcome == "passed"
    assert service(milliseconds=np.concatenate([np.full(900, 4.0), np.full(100, 500.0)]))["latency"].outcome == "failed"
    assert service(milliseconds=times)["latency"].low == 4.0
    assert service(milliseconds=times[:10])["latency"].outcome == "unknown"
    assert service(milliseconds=np.full(100, np.nan))["latency"].outcome == "unknown"


@pytest.mark.parametrize(("quiet", "outcome"), [(1.9, "passed"), (2.0, "failed"), (None, "unknown")])
def test_silence(quiet, outcome):
    assert service(quiet_hours=quiet)["traffic"].outcome == outcome


def test_lost_lines():
    assert service(dropped=5)["dropped lines"].outcome == "passed"
    assert service(dropped=6)["dropped lines"].outcome == "failed"
    assert "could not keep 6 of 506 lines" in service(dropped=6)["dropped lines"].reason


def test_what_is_not_set_is_not_checked():
    assert set(service(ServiceLimits())) == {"error share", "dropped lines"}
    assert service(ServiceLimits(), requests=0, lines=0) == {}


def test_failed_ones_come_first_and_long_lists_are_short():
    found = [*service().values(), *service(dropped=400).values()]
    assert failed_first(found)[0].outcome == "failed"
    assert names_in_words(["a", "b"]) == "a, b"
    assert names_in_words(list("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_the_numbers_of_one_output_are_one_cause():
    causes = {Check("drift", "distribution", "failed", "", column=f"outputs.p[{place}]").cause for place in range(12)}
    assert causes == {"drift outputs.p"}
    assert Check("drift", "missing", "failed", "", column="inputs.a[b]").cause == "drift inputs.a[b]"


def test_a_model_that_was_right_about_all_of_the_holdout_has_no_estimate():
    found = estimate_check(Estimate(1.0, 0.97, 1.0, 150), 1.0, 0.05)
    assert (found.outcome, found.now) == ("unknown", None)
    assert "no confidence is known to mean errors" in found.reason
