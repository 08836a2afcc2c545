"""Whether to retrain, and from where."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records import Policy, Signature, TensorSpec, Verdict
from retraining.policy import (
    LEARNED_UNKNOWN,
    RESPLIT,
    Base,
    choose_base,
    decide,
    has_learned,
    obstacle,
    other_classes,
)
from training.data.spec import DataSpec

LIVE = Base(3, "production")
INPUTS = tuple(TensorSpec(name, (None, 1), "float32") for name in ("mass", "size"))
OLD = Signature("classification", "table", INPUTS, (TensorSpec("p", (None, 2), "float32"),), ("a", "b"), target="kind")
NEW = DataSpec("table", "classification", INPUTS, ("a", "b"), target="kind", split="by key")


def test_production_comes_first():
    assert choose_base(live=3, newest=7) == LIVE
    assert "starts from version 3, which is live" in decide(LIVE, None, forced=False).reasons


def test_then_the_newest_candidate():
    base = choose_base(live=None, newest=7)
    assert base == Base(7, "test")
    assert "nothing is live" in decide(base, None, forced=False).reasons[0]


def test_else_it_trains_from_scratch_and_says_so():
    decision = decide(choose_base(live=None, newest=None), None, forced=False)
    assert (decision.retrain, decision.base) == (True, None)
    assert "from scratch" in decision.reasons[0]


@given(st.booleans(), st.booleans(), st.lists(st.text(min_size=1), max_size=3))
def test_a_model_that_still_passes_is_kept_unless_forced(accepted, forced, reasons):
    decision = decide(LIVE, Verdict(accepted, () if accepted else tuple(reasons), Policy()), forced=forced)
    assert decision.base == LIVE
    assert decision.retrain == (not accepted or forced)
    if not accepted:
        assert all(reason in decision.reasons for reason in reasons)


def test_a_model_that_still_passes_and_is_retrained_all_the_same_says_for_what():
    decision = decide(LIVE, Verdict(True, (), Policy()), forced=True, why="for the schedule, 2026-11-29T03:00:00Z")
    assert decision.retrain
    assert decision.reasons[-1].endswith("retrained for the schedule, 2026-11-29T03:00:00Z")


@given(st.booleans())
def test_a_model_that_cannot_be_measured_is_retrained(forced):
    assert decide(LIVE, None, forced=forced).retrain


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"split": "by file"}, RESPLIT),
        ({"task": "regression"}, "it was made for classification, the data are for regression"),
        ({"classes": ("a", "c")}, "the classes have changed (new: c; gone: b)"),
        ({"classes": ("b", "a")}, "the classes have changed (another order)"),
        ({"target": "sex"}, "it predicts 'kind', the data ask for 'sex'"),
        ({"target": "", "targets": ("kind", "sex")}, "the targets have changed (new: kind, sex)"),
    ],
)
def test_a_model_is_fine_tuned_on_data_like_its_own_alone(change, why):
    assert obstacle(OLD, "by key", replace(NEW, **change), ["mass", "size"]) == why


def test_several_targets_in_another_order_are_an_obstacle_to_fine_tuning():
    old, new = replace(OLD, targets=("a", "b")), replace(NEW, targets=("b", "a"))
    assert obstacle(old, "by key", new, ["mass", "size"]) == "the targets have changed (another order)"


def test_other_inputs_are_an_obstacle_to_fine_tuning():
    assert obstacle(OLD, "by key", NEW, ["mass", "age"]) == "the inputs have changed (new: age; gone: size)"


def test_of_many_other_inputs_the_first_ten_are_named():
    many = [f"column{i:02}" for i in range(12)]
    named = ", ".join(many[:10])
    assert obstacle(OLD, "by key", NEW, ["mass", "size", *many]) == f"the inputs have changed (new: {named})"


@pytest.mark.parametrize(
    ("had", "have", "why"),
    [
        (("a", "b"), ("a", "b"), ""),
        (("a", "b"), ("b", "a"), ""),
        ((), ("a", "b"), ""),
        (("a", "b"), (), ""),
        ((), (), ""),
        (("a", "b"), ("a", "b "), "not comparable: its classes are spelled otherwise ('b' is now 'b ')"),
        (("1", "2"), ("1.0", "2"), "not comparable: its classes are spelled otherwise ('1' is now '1.0')"),
        (("a", "b"), ("a", "c"), "not comparable: it has other classes than the data (new: c; gone: b)"),
        (("a",), ("a", "b"), "not comparable: it has other classes than the data (new: b)"),
    ],
    ids=[
        "the same",
        "another order",
        "it has none",
        "the data have none",
        "neither",
        "a blank",
        "a number",
        "another",
        "more",
    ],
)
def test_metrics_of_a_model_with_other_classes_say_nothing_on_the_data(had, have, why):
    assert other_classes(had, have) == why


@pytest.mark.parametrize(
    ("moving", "rows", "why"),
    [
        (False, None, ""),
        (True, [False, False], ""),
        (True, [True, False, True], "it has learned from 2 of the 3 samples that are the holdout now"),
        (True, None, LEARNED_UNKNOWN),
    ],
)
def test_a_model_that_knows_the_holdout_is_not_fine_tuned(moving, rows, why):
    assert has_learned(moving, rows) == why
