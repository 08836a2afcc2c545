"""The gate: every reason, never a yes by accident."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate import (
    ROUNDING,
    decide,
    gate_report,
    not_compared_on_recent,
    recent_in_words,
    recent_note,
    worse_than_live,
)
from registry import codec
from registry.records import ClassMetrics, Comparison, Evaluation, Metrics, Policy, Recent, Rule, SliceMetrics, Verdict
from training.metric_table import METRICS, better

ALWAYS = [name for name, row in METRICS.items() if row.always]

REGRESSION = {"mae": 2.0, "rmse": 3.0, "r2": 0.8, "loss": 9.0}


def classifier(accuracy=0.95, samples=100, recalls=(0.9, 0.95), supports=(50, 50), **values):
    values = {"accuracy": accuracy, "loss": 0.2, "macro_f1": 0.9, "brier": 0.1, "ece": 0.02} | values
    classes = {
        str(i): ClassMetrics(0.9, recall, 0.9, support)
        for i, (recall, support) in enumerate(zip(recalls, supports, strict=True))
    }
    return Metrics("classification", samples, values, classes)


def test_a_good_candidate_is_accepted_with_the_policy_on_record():
    policy = Policy(threshold=0.9, class_floor=0.8)
    assert decide(Evaluation(classifier(), live=classifier(0.94)), policy) == Verdict(True, (), policy)


def test_every_failed_criterion_is_reported_not_only_the_first():
    bad = classifier(accuracy=0.5, samples=3, recalls=(0.1, math.nan), supports=(3, 0))
    reasons = decide(Evaluation(bad, live=classifier(0.9)), Policy(class_floor=0.8)).reasons
    assert reasons == (
        "accuracy 0.5000 is under the threshold 0.9000",
        "measured on 3 holdout samples, the policy wants at least 30",
        "class '0': recall 0.1000 is under the floor 0.8000 (3 samples)",
        "class '1' has no sample in the holdout, so its recall is not known",
        "accuracy 0.5000 is worse than the live release's 0.9000, by more than 0.01",
    )


@pytest.mark.parametrize(
    ("values", "policy", "reason"),
    [
        ({"mae": 2.5}, Policy("mae", 2.0), "mae 2.5000 is over the threshold 2.0000"),
        ({"r2": 0.7}, Policy("r2", 0.8), "r2 0.7000 is under the threshold 0.8000"),
        ({"loss": math.nan}, Policy("loss", 9.0), "loss is not a number"),
        ({"rmse": math.inf}, Policy("rmse", 9.0), "rmse inf is over the threshold 9.0000"),
        ({}, Policy("accuracy"), "accuracy is not measured for regression; measured: mae, rmse, r2, loss"),
        ({}, Policy("acuracy"), f"[gate] metric: 'acuracy' is not known; known: {', '.join(METRICS)}"),
        (
            {},
            Policy("mae", 5.0, class_floor=0.5),
            "[gate] class_floor is set, but there are no classes (regression)",
        ),
        ({"r2": 0.79999999}, Policy("r2", 0.8), "r2 0.799999990 is under the threshold 0.800000000"),
    ],
)
def test_the_reason_names_the_number_and_the_limit(values, policy, reason):
    assert reason in decide(Evaluation(Metrics("regression", 50, REGRESSION | values)), policy).reasons


SAID = Policy(
    rule=(Rule("script:val auc", min=0.8, max_drop=0.05, better="more"), Rule("script:err", max=2, better="less"))
)


def test_a_rule_goes_by_what_the_script_says():
    assert decide(Evaluation(classifier(), reported={"val auc": 0.8, "err": 2.0}), SAID).accepted
    assert decide(Evaluation(classifier(), reported={"val auc": 0.7, "err": 2.5}), SAID).reasons == (
        'script:val auc(better="more") 0.7000 is under the minimum 0.8000',
        'script:err(better="less") 2.5000 is over the maximum 2.0000',
    )
    (reason,) = decide(Evaluation(classifier(), reported={"val auc": 0.9}), SAID).reasons
    assert reason == 'script:err(better="less") is not among the numbers that the training script has reported'


def test_what_the_script_says_is_compared_with_what_one_said_of_the_live_release():
    said = {"val auc": 0.85, "err": 1.0}
    worse = Evaluation(classifier(), classifier(), reported=said, live_reported={"val auc": 0.91})
    assert decide(worse, SAID).reasons == worse_than_live(worse, SAID)
    assert (
        'script:val auc(better="more") 0.8500 is worse than the live release\'s 0.9100'
        in decide(worse, SAID).reasons[0]
    )
    near = dataclasses.replace(worse, live_reported={"val auc": 0.89, "err": 0.0})
    assert decide(near, SAID).accepted
    silent = dataclasses.replace(worse, live_reported={})
    assert decide(silent, SAID).accepted
    assert "no script has reported val auc of the live release" in {
        each.message for each in gate_report(silent, SAID).cases
    }


def test_no_script_is_asked_about_recent_predictions():
    found = Evaluation(classifier(), classifier(), reported={"val auc": 0.9, "err": 1.0}, recent=Recent(0))
    policy = dataclasses.replace(SAID, recent=True)
    assert sum("recent predictions" in each.name for each in gate_report(found, policy).cases) == 1


def test_what_the_team_measures_may_be_no_number():
    measure = 'own:profit(better="more")'
    policy = Policy(rule=(Rule("own:profit", min=0, max_drop=1, better="more"),))
    assert decide(Evaluation(classifier(**{measure: 0.0}), classifier(**{measure: 1.0})), policy).accepted
    (reason,) = decide(Evaluation(classifier(**{measure: math.nan})), policy).reasons
    assert reason == f"{measure} is not a number: profit of metrics.py has returned that"


@pytest.mark.parametrize(("metric", "threshold"), [("mae", 2.0), ("r2", 0.8), ("rmse", 3.5)])
def test_a_threshold_that_is_just_reached_is_reached(metric, threshold):
    assert decide(Evaluation(Metrics("regression", 50, REGRESSION)), Policy(metric, threshold)).accepted


def test_a_recall_exactly_at_the_floor_is_enough():
    assert decide(Evaluation(classifier(recalls=(0.8, 0.95))), Policy(class_floor=0.8)).accepted
    assert not decide(Evaluation(classifier(recalls=(0.8 - 1e-9, 0.95))), Policy(class_floor=0.8)).accepted


def test_without_a_live_release_the_report_says_that_nothing_is_live():
    case = gate_report(Evaluation(classifier()), Policy()).cases[-1]
    assert (case.outcome, case.message) == ("skipped", "nothing is live")


@pytest.mark.parametrize(
    ("new", "live", "whose"),
    [(0.95, math.nan, "the live release"), (math.nan, 0.95, "the candidate"), (math.inf, 0.95, ""),
     (math.nan, math.nan, "the candidate")],
    ids=["the live one's", "the candidate's", "infinite", "both"],
)  # fmt: skip
def test_the_number_that_is_none_is_named(new, live, whose):
    said = f"accuracy of {whose} is not a number on this holdout, so they cannot be compared"
    reasons = decide(Evaluation(classifier(new), live=classifier(live)), Policy()).reasons
    assert (said in reasons) == bool(whose)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.89, "0.8900 is under the threshold 0.9000"), (0.899995, "0.899995 is under the threshold 0.900000"),
     (0.8999999, "0.899999900 is under the threshold 0.900000000"),
     (0.9 - 1e-12, "0.899999999999 is under the threshold 0.9")],
)  # fmt: skip
def test_as_many_digits_are_shown_as_are_needed_to_see_the_difference(value, shown):
    assert decide(Evaluation(classifier(value)), Policy()).reasons == (f"accuracy {shown}",)


def test_a_drop_of_exactly_the_allowed_size_is_allowed():
    assert decide(Evaluation(classifier(0.94), live=classifier(0.95)), Policy(max_drop=0.01)).accepted


def test_a_rounding_error_is_no_drop_and_more_is_one():
    policy = Policy(threshold=0.0, max_drop=0.0)
    assert decide(Evaluation(classifier(0.0), live=classifier(ROUNDING)), policy).accepted
    assert not decide(Evaluation(classifier(0.0), live=classifier(1.1 * ROUNDING)), policy).accepted


def test_as_many_samples_as_the_policy_wants_are_enough():
    assert decide(Evaluation(classifier(samples=30)), Policy(min_samples=30)).accepted
    assert not decide(Evaluation(classifier(samples=29)), Policy(min_samples=30)).accepted


def test_at_the_promotion_only_the_comparison_with_the_live_release_counts():
    live, policy = classifier(0.95), Policy(threshold=0.99)
    reason = "accuracy 0.9000 is worse than the live release's 0.9500, by more than 0.01"
    assert worse_than_live(Evaluation(classifier(0.9), live=live), policy) == (reason,)
    assert worse_than_live(Evaluation(classifier(0.95), live=live), policy) == ()
    assert worse_than_live(Evaluation(classifier(0.9), live_note="it takes other inputs"), policy) == ()


def test_a_lower_error_than_the_live_release_is_not_a_drop():
    new, live = (Metrics("regression", 50, REGRESSION | {"mae": mae}) for mae in (1.0, 9.0))
    assert decide(Evaluation(new, live), Policy("mae", 5.0, max_drop=0.0)).accepted
    reasons = decide(Evaluation(live, new), Policy("mae", 99.0, max_drop=0.5)).reasons
    assert reasons == ("mae 9.0000 is worse than the live release's 1.0000, by more than 0.5",)


def test_one_metric_that_is_nan_is_rejected_even_if_the_policy_names_another():
    reasons = decide(Evaluation(classifier(loss=math.nan)), Policy("accuracy")).reasons
    assert reasons == ("not a number: loss; the model answers NaN or infinity on the holdout",)


def test_a_live_release_that_answers_nothing_comparable_is_reported():
    reasons = decide(Evaluation(classifier(), live=classifier(math.nan)), Policy()).reasons
    assert reasons == ("accuracy of the live release is not a number on this holdout, so they cannot be compared",)


def test_the_report_has_one_case_per_check_and_says_why_one_was_skipped():
    report = gate_report(Evaluation(classifier(), live_note="it takes other inputs"), Policy(class_floor=0.5))
    assert [(case.name, case.outcome) for case in report.cases] == [
        ("accuracy at least 0.9", "passed"),
        ("at least 30 samples", "passed"),
        ("every metric is a number", "passed"),
        ("class '0': recall at least 0.5", "passed"),
        ("class '1': recall at least 0.5", "passed"),
        ("at most 0.01 worse than the live release", "skipped"),
    ]
    assert report.cases[-1].message == "it takes other inputs"


def test_a_verdict_is_the_same_after_the_file():
    verdict = decide(Evaluation(classifier(0.1)), Policy(class_floor=0.5))
    assert codec.from_json(Verdict, codec.to_json(verdict), "verdict.json") == verdict


numbers = st.floats(0, 1) | st.sampled_from([math.nan, math.inf, -math.inf])
metrics = st.builds(
    lambda names, values, samples, recalls, supports: Metrics(
        "classification",
        samples,
        dict(zip(names, values, strict=False)),
        {str(i): ClassMetrics(0.5, r, 0.5, s) for i, (r, s) in enumerate(zip(recalls, supports, strict=False))},
    ),
    st.permutations(ALWAYS),
    st.lists(numbers, min_size=3, max_size=8),
    st.integers(0, 60),
    st.lists(numbers, max_size=3),
    st.lists(st.integers(0, 5), max_size=3),
)


def rule(metric, limit, drop):
    """One that a better model never fails where a worse one passes."""
    return Rule(metric, limit, None, drop) if better(metric) > 0 else Rule(metric, None, limit, drop)


rules = st.builds(rule, st.sampled_from(ALWAYS), st.none() | st.floats(0, 1), st.none() | st.floats(0, 1))
policies = st.builds(
    Policy,
    metric=st.sampled_from([*ALWAYS, "nonsense"]),
    threshold=st.floats(0, 1),
    class_floor=st.none() | st.floats(0, 1),
    min_samples=st.integers(0, 60),
    max_drop=st.floats(0, 1),
    rule=st.lists(rules, max_size=3).map(tuple),
)
evaluations = st.builds(Evaluation, candidate=metrics, live=st.none() | metrics)


@given(evaluations, policies)
def test_reasons_are_empty_exactly_when_it_is_accepted(evaluation, policy):
    verdict = decide(evaluation, policy)
    assert verdict.accepted == (not verdict.reasons)
    assert all(reason and "\n" not in reason for reason in verdict.reasons)


@given(evaluations, policies, st.sampled_from(ALWAYS))
def test_nan_is_never_accepted(evaluation, policy, name):
    values = evaluation.candidate.values | {name: math.nan}
    altered = dataclasses.replace(evaluation.candidate, values=values)
    assert not decide(dataclasses.replace(evaluation, candidate=altered), policy).accepted


@given(evaluations, policies, st.floats(0, 2), st.floats(0, 1), st.integers(0, 10))
def test_worse_metrics_are_never_accepted_where_better_ones_are_rejected(evaluation, policy, by, recall, fewer):
    new = evaluation.candidate
    worse = dataclasses.replace(
        new,
        samples=new.samples - fewer,
        values={name: value - by * better(name) for name, value in new.values.items()},
        classes={name: dataclasses.replace(each, recall=each.recall - recall) for name, each in new.classes.items()},
    )
    if decide(dataclasses.replace(evaluation, candidate=worse), policy).accepted:
        assert decide(evaluation, policy).accepted


@given(evaluations, policies, st.floats(0, 2))
def test_a_stricter_policy_never_accepts_what_a_laxer_one_rejects(evaluation, policy, by):
    stricter = dataclasses.replace(
        policy,
        threshold=policy.threshold + by * (1 if policy.metric == "nonsense" else better(policy.metric)),
        max_drop=policy.max_drop - by,
        min_samples=policy.min_samples + int(by * 10),
    )
    if decide(evaluation, stricter).accepted:
        assert decide(evaluation, policy).accepted


def on_recent(difference, low, high, samples=200, notes=()):
    """An evaluation whose candidate is fine on the holdout, with this difference on recent predictions."""
    comparison = Comparison(3, "accuracy", difference, low, high, samples)
    recent = Recent(samples, classifier(), classifier(), comparison, notes)
    return Evaluation(classifier(), live=classifier(), recent=recent)


RECENT = Policy(recent=True)


@pytest.mark.parametrize(
    ("difference", "low", "high", "accepted"),
    [
        (0.3, 0.2, 0.4, True),
        (0.0, -0.02, 0.02, True),
        (-0.01, -0.019, -0.001, True),  # not by more than max_drop
        (-0.05, -0.11, 0.01, True),  # two equal models differ as much now and then
        (-0.05, -0.09, -0.01, False),
        (math.nan, math.nan, math.nan, False),
        (-0.05, math.nan, math.nan, True),
    ],
)
def test_a_candidate_must_not_be_worse_on_recent_predictions_by_more_than_chance(difference, low, high, accepted):
    verdict = decide(on_recent(difference, low, high), RECENT)
    assert verdict.accepted == accepted
    assert decide(on_recent(difference, low, high), Policy()).accepted, "nobody has asked for it"


def test_what_is_worse_on_recent_predictions_is_said_with_its_interval():
    (reason,) = decide(on_recent(-0.0512, -0.09, -0.0124), RECENT).reasons
    assert reason == (
        "accuracy is worse than the live release's by 0.0512 on 200 labelled recent predictions, more than 0.01 "
        "(95 % interval of the difference: -0.0900 to -0.0124)"
    )


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        (Evaluation(classifier()), "nothing is live that could be compared on recent predictions"),
        (
            on_recent(-0.9, -0.95, -0.8, samples=29, notes=("4 left out: they are samples of the dataset",)),
            "29 labelled recent predictions that no training saw, 30 are needed; 4 left out: they are samples of the dataset",
        ),
        (
            Evaluation(classifier(), live=classifier(), recent=Recent(200, notes=("they take other inputs",))),
            "200 labelled recent predictions were not compared; they take other inputs",
        ),
    ],
)
def test_too_few_recent_predictions_are_said_and_no_failure(evaluation, words):
    assert decide(evaluation, RECENT).accepted
    case = gate_report(evaluation, RECENT).cases[-1]
    assert (case.outcome, case.message) == ("skipped", words)
    assert recent_note(evaluation, RECENT) == f"recent predictions: {words}"
    assert recent_note(evaluation, Policy()) == ""
    assert not_compared_on_recent(evaluation, RECENT) == words


def test_what_passes_on_recent_predictions_was_compared_there_and_without_the_setting_nothing_was():
    good = on_recent(0.01, -0.01, 0.03)
    assert not_compared_on_recent(good, RECENT) == ""
    assert not_compared_on_recent(good, Policy()).startswith("[gate] recent was false")


def test_what_was_compared_on_recent_predictions_is_said_of_what_is_accepted():
    assert (
        recent_note(on_recent(0.1, 0.0, 0.2), RECENT)
        == "not worse than the live release on 200 labelled recent predictions"
    )


@pytest.mark.parametrize(
    ("evaluation", "policy", "words"),
    [
        (on_recent(0.1, 0.02, 0.2), Policy(), ""),
        (on_recent(-0.9, -0.95, -0.8), RECENT, ""),
        (on_recent(-0.9, -0.95, -0.8, samples=29), RECENT, "Not compared on recent predictions: 29 labelled"),
        (Evaluation(classifier()), RECENT, "Not compared on recent predictions: nothing is live"),
        (on_recent(0.1, 0.02, 0.2), RECENT, "On 200 labelled recent predictions that no training saw, accuracy is "),
        (on_recent(0.1, 0.02, 0.2), RECENT, "That is better by 0.1, and more than chance explains"),
    ],
)
def test_mail_and_card_have_a_sentence_about_recent_predictions_unless_the_verdict_says_it(evaluation, policy, words):
    found = recent_in_words(evaluation, policy)
    assert words in found
    assert bool(words) is bool(found)


@given(st.floats(-1, 1), st.floats(0, 1), st.integers(1, 500), st.floats(0, 0.2))
def test_recent_predictions_only_ever_add_a_reason(difference, width, samples, max_drop):
    evaluation = on_recent(difference, difference - width, difference + width, samples)
    without, with_them = (decide(evaluation, Policy(max_drop=max_drop, recent=each)).reasons for each in (False, True))
    assert with_them[: len(without)] == without
    worse = samples >= 30 and -difference > max_drop + ROUNDING and difference + width < 0
    assert len(with_them) - len(without) == worse


def test_a_policy_and_an_evaluation_of_before_are_read():
    text = codec.to_json(Evaluation(classifier(), live=classifier())).decode()
    older = json.loads(text)
    del older["recent"]
    assert codec.from_json(Evaluation, json.dumps(older).encode(), "older").recent is None
    verdict = json.loads(codec.to_json(decide(Evaluation(classifier()), Policy())))
    del verdict["policy"]["recent"]
    assert codec.from_json(Verdict, json.dumps(verdict).encode(), "older").policy == Policy()


RECALL = 'recall(positive="1")'


def with_rules(*rules, **more):
    return Policy(rule=rules, **more)


def test_each_rule_is_a_criterion_of_its_own():
    new, live = classifier(**{RECALL: 0.8, "mcc": 0.5}), classifier(0.95, **{RECALL: 0.9, "mcc": 0.5})
    policy = with_rules(Rule("recall", 0.9, positive="1", max_drop=0.05), Rule("ece", max=0.01), Rule("mcc"))
    report = gate_report(Evaluation(new, live), policy)
    assert [(case.name, case.outcome) for case in report.cases[3:]] == [
        (f"{RECALL} at least 0.9", "failed"),
        ("ece at most 0.01", "failed"),
        ("at most 0.01 worse than the live release", "passed"),
        (f"{RECALL}: at most 0.05 worse than the live release", "failed"),
    ]
    assert decide(Evaluation(new, live), policy).reasons == (
        f"{RECALL} 0.8000 is under the minimum 0.9000",
        "ece 0.0200 is over the maximum 0.0100",
        f"{RECALL} 0.8000 is worse than the live release's 0.9000, by more than 0.05",
    )
    assert worse_than_live(Evaluation(new, live), policy) == (decide(Evaluation(new, live), policy).reasons[2],)


def test_a_metric_that_a_rule_names_is_not_a_number_for_a_reason_of_its_own():
    new = classifier(roc_auc=math.nan)
    assert decide(Evaluation(new), with_rules(Rule("roc_auc"))).accepted, "it is only shown"
    assert decide(Evaluation(new), with_rules(Rule("roc_auc", 0.5))).reasons == (
        "roc_auc is not a number: the holdout has no sample of a class that it is about",
    )


def test_the_gates_own_metric_may_have_arguments():
    new = classifier(**{"f_beta(beta=2)": 0.7})
    policy = Policy("f_beta", 0.8, beta=2.0)
    assert decide(Evaluation(new), policy).reasons == ("f_beta(beta=2) 0.7000 is under the threshold 0.8000",)
    assert policy.more == ()


def test_a_rule_that_was_not_measured_fails():
    (reason,) = decide(Evaluation(classifier()), with_rules(Rule("mcc", 0.1))).reasons
    assert reason.startswith("mcc is not measured for classification; measured: accuracy")


def test_rules_are_compared_on_recent_predictions_too():
    worse = Comparison(3, RECALL, -0.2, -0.3, -0.1, 200)
    both = dataclasses.replace(on_recent(0.0, -0.01, 0.01).recent, comparisons=(worse,))
    new = classifier(**{RECALL: 0.9})
    found = Evaluation(new, live=new, recent=both)
    policy = with_rules(Rule("recall", positive="1", max_drop=0.1), recent=True)
    (reason,) = decide(found, policy).reasons
    assert reason.startswith(f"{RECALL} is worse than the live release's by 0.2000 on 200 labelled recent predictions")
    assert decide(found, with_rules(Rule("recall", positive="1"), recent=True)).accepted, "it compares with nothing"


def test_a_policy_without_rules_is_read_and_a_verdict_with_them_is_the_same_after_the_file():
    policy = with_rules(Rule("pinball", max=2.0, quantile=0.9), costs={"a": {"b": 2.0}})
    verdict = decide(Evaluation(classifier()), policy)
    assert codec.from_json(Verdict, codec.to_json(verdict), "verdict.json") == verdict
    older = json.loads(codec.to_json(decide(Evaluation(classifier()), Policy())))
    for name in ("rule", "costs", "positive", "beta", "k", "quantile"):
        del older["policy"][name]
    assert codec.from_json(Verdict, json.dumps(older).encode(), "older").policy == Policy()


def sliced(*slices, **more):
    return Evaluation(classifier(), live=classifier(), slices=slices, **more)


def compared(difference, low, high):
    return Comparison(3, "accuracy", difference, low, high, 50)


def test_each_slice_has_a_floor_and_one_with_few_samples_decides_nothing():
    found = sliced(
        SliceMetrics("island=Dream", 50, 0.7, 0.9, compared(-0.2, -0.3, -0.1)),
        SliceMetrics("island=Biscoe", 50, 0.85, 0.9, compared(-0.05, -0.2, 0.1)),
        SliceMetrics("island=Torgersen", 3, 0.0, 0.9, compared(-0.9, -1.0, -0.8)),
        SliceMetrics("mass=..3", 0, math.nan, math.nan, None),
    )
    policy = Policy(slice_floor=0.8, slice_floors={"island=Dream": 0.75}, slice_max_drop=0.01)
    report = gate_report(found, policy)
    assert decide(found, policy).reasons == (
        "slice island=Dream: accuracy 0.7000 is under the floor 0.7500 (50 samples)",
        (
            "slice island=Dream: accuracy is worse than the live release's by 0.2000 on 50 samples, more than 0.01 "
            "(95 % interval of the difference: -0.3000 to -0.1000)"
        ),
    )
    outcomes = {case.name: case.outcome for case in report.cases if case.name.startswith("slice ")}
    assert len(outcomes) == 8
    assert outcomes["slice island=Biscoe: accuracy at least 0.8"] == "passed"
    assert outcomes["slice island=Biscoe: not worse than the live release, by more than 0.01"] == "passed", "by chance"
    skipped = [case.message for case in report.cases if case.outcome == "skipped"]
    assert skipped == ["3 samples of the holdout, 20 are needed", "0 samples of the holdout, 20 are needed"] * 2
    assert worse_than_live(found, policy) == decide(found, policy).reasons[1:]


def test_slices_without_limits_are_shown_only():
    assert decide(sliced(SliceMetrics("island=Dream", 50, 0.0, 0.9, compared(-0.9, -1, -0.8))), Policy()).accepted


def test_a_slice_of_an_error_has_a_ceiling_and_nan_is_under_no_limit():
    new = Metrics("regression", 50, REGRESSION)
    found = Evaluation(new, slices=(SliceMetrics("a=1", 50, 3.0), SliceMetrics("a=2", 50, math.nan)))
    policy = Policy("mae", 9.0, slice_floor=2.5, slice_max_drop=1.0)
    assert decide(found, policy).reasons == (
        "slice a=1: mae 3.0000 is over the floor 2.5000 (50 samples)",
        "slice a=2: mae is not a number on 50 samples",
    )
    assert gate_report(found, policy).cases[-2].message == "nothing is live"


def test_slices_come_back_from_the_file():
    found = sliced(SliceMetrics("island=Dream", 50, 0.7, 0.9, compared(-0.2, -0.3, -0.1)))
    assert codec.from_json(Evaluation, codec.to_json(found), "result.json") == found
