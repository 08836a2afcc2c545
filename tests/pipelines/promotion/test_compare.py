"""The gate at the promotion: a candidate that was compared with another release is measured beside the live one."""

from dataclasses import replace

import pytest
from versions import candidate, measured_beside, release_draft

from pipelines import gate
from pipelines.promotion.compare import Compared, compare_with_live, must_hold
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain, WorkerFailed
from registry.records import Comparison, Evaluation, Metrics, Policy, Verdict

LIVE = release_draft("digits", 2, "b" * 64)


def never(_candidate, _live):
    raise AssertionError("nothing is to be measured")


def made(compared_with, **policy):
    verdict = Verdict(accepted=True, reasons=(), policy=Policy(**policy))
    return candidate(version=3, evaluation=measured_beside(compared_with), verdict=verdict)


def found(new, live):
    """What the worker finds, by the two accuracies."""
    metrics = [Metrics("classification", 100, {"accuracy": each}) for each in (new, live)]
    return lambda _candidate, release: Evaluation(
        *metrics, Comparison(release.version, "accuracy", new - live, -0.1, 0.1, 100)
    )


@pytest.mark.parametrize(
    ("compared_with", "live"),
    [(2, LIVE), (None, None), (1, None), (None, release_draft("digits", None)), (1, release_draft("digits", None))],
    ids=["the live one", "the first", "none any more", "the first after a withdrawal", "one that was withdrawn"],
)
def test_what_needs_no_measurement_is_not_measured(compared_with, live):
    assert compare_with_live(made(compared_with), live, never, anyway=False) == Compared()
    must_hold(made(compared_with), live, Compared(), "")


@pytest.mark.parametrize("compared_with", [1, 3, None])
def test_one_that_is_as_good_passes_and_the_comparison_is_kept(compared_with):
    subject = made(compared_with)
    result = compare_with_live(subject, LIVE, found(0.95, 0.96), anyway=False)
    assert (result.comparison.live_version, result.failed) == (2, ())
    must_hold(subject, LIVE, result, "")


@pytest.mark.parametrize(
    ("compared_with", "said"),
    [
        (1, "digits version 3 was compared with version 1"),
        (None, "digits version 3 was compared with no live version (nothing was live)"),
    ],
)
def test_one_that_is_worse_is_rejected_with_the_numbers(compared_with, said):
    subject = made(compared_with)
    result = compare_with_live(subject, LIVE, found(0.9, 0.95), anyway=False)
    with pytest.raises(Rejected) as no:
        must_hold(subject, LIVE, result, "")
    assert str(no.value) == (
        f"{said}, and would replace version 2: "
        "accuracy 0.9000 is worse than the live release's 0.9500, by more than 0.01"
    )
    assert '--although "why"' in no.value.hint
    must_hold(subject, LIVE, result, "the old one leaks")
    assert result.comparison.difference == pytest.approx(-0.05)


def test_the_drop_that_the_manifest_allows_is_the_one_that_is_applied():
    """The thresholds with which it was accepted, not those of the machine on which somebody promotes."""
    for allowed, failed in ((0.05, 0), (0.04, 1)):
        result = compare_with_live(made(1, max_drop=allowed), LIVE, found(0.9, 0.95), anyway=False)
        assert len(result.failed) == failed


def test_the_other_criteria_were_decided_at_the_gate():
    assert gate.worse_than_live(found(0.1, 0.1)(None, LIVE), Policy(threshold=0.9, min_samples=1000)) == ()
    nan = found(float("nan"), 0.9)(None, LIVE)
    assert gate.worse_than_live(nan, Policy())
    other = replace(nan, live=Metrics("regression", 100, {"mae": 1.0}))
    assert gate.worse_than_live(other, Policy())


@pytest.mark.parametrize("error", [ConfigError, WorkerFailed])
def test_what_cannot_be_measured_is_rejected_unless_somebody_says_why_not(error):
    def broken(_candidate, _live):
        raise error("[repositories] dataset: does not have commit ddd")

    result = compare_with_live(made(1), LIVE, broken, anyway=False)
    assert result.failed == ("it could not be measured beside it: [repositories] dataset: does not have commit ddd",)
    with pytest.raises(Rejected, match="could not be measured"):
        must_hold(made(1), LIVE, result, "")
    must_hold(made(1), LIVE, result, "the dataset is gone")


def test_what_may_be_measured_later_is_tried_again_unless_somebody_says_why_not():
    def out_of_reach(_candidate, _live):
        raise TryAgain("did not answer in 60 s")

    with pytest.raises(TryAgain):
        compare_with_live(made(1), LIVE, out_of_reach, anyway=False)
    assert "60 s" in compare_with_live(made(1), LIVE, out_of_reach, anyway=True).failed[0]


def test_altered_bytes_pass_for_no_reason():
    def altered(_candidate, _live):
        raise Corrupt("production/digits/2/model.tflite: checksum mismatch")

    for anyway in (False, True):
        with pytest.raises(Corrupt):
            compare_with_live(made(1), LIVE, altered, anyway=anyway)


def test_a_live_release_of_another_kind_can_be_replaced_and_it_is_noted():
    """As at the gate: a new kind of model must be able to replace the old one."""
    note = "live version 2 was not measured: the split is another one"
    result = compare_with_live(
        made(1), LIVE, lambda *_: Evaluation(measured_beside().candidate, live_note=note), anyway=False
    )
    assert result == Compared(note=note)
