"""Whether to retrain, and from where."""

from hypothesis import given
from hypothesis import strategies as st

from registry.records import Policy, Verdict
from retraining.policy import Start, starting_point, worth_it


def test_production_comes_first():
    assert starting_point(live=3, newest=7) == Start(3, "production", "goes on from version 3, which is live")


def test_then_the_newest_candidate():
    start = starting_point(live=None, newest=7)
    assert (start.version, start.area) == (7, "test")
    assert "nothing is live" in start.note


def test_else_it_trains_from_nothing_and_says_so():
    start = starting_point(live=None, newest=None)
    assert (start.version, start.area) == (None, "")
    assert "from nothing" in start.note


@given(st.booleans(), st.booleans(), st.lists(st.text(min_size=1), max_size=3))
def test_a_model_that_still_passes_is_kept_unless_forced(accepted, forced, reasons):
    decision = worth_it(Verdict(accepted, () if accepted else tuple(reasons), Policy()), forced=forced)
    assert decision.retrain == (not accepted or forced)
    if not accepted:
        assert all(reason in decision.note for reason in reasons)


@given(st.booleans())
def test_a_model_that_cannot_be_measured_is_retrained(forced):
    assert worth_it(None, forced=forced).retrain
