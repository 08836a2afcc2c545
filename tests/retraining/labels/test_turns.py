"""Whose turn it is in the review queue, and what of others' labels somebody may see."""

from hypothesis import given
from hypothesis import strategies as st

from registry.records.labels import Label
from retraining.labels.accepted import said
from retraining.labels.agreement import Outcome, outcome
from retraining.labels.turns import may_be_asked, next_of, visible

PEOPLE = ("ann", "bob", "eve", "kim")
KEYS = [(f"r-{n}", 0) for n in range(4)]
OPEN = Outcome("open")


def label(by, value="cat", correct=None, request="r-0"):
    return Label(request, 0, value, correct, by, "2026-11-30T10:00:00Z", "queue")


def test_nobody_is_asked_again_who_has_said_anything_of_an_item():
    assert may_be_asked("ann", OPEN, [], (), 1)
    assert not may_be_asked("ann", OPEN, [label("ann")], (), 2)
    assert not may_be_asked("ann", OPEN, [label("ann", "", correct=False)], (), 2)
    assert not may_be_asked("ann", OPEN, [], ("ann",), 2)
    assert not may_be_asked("ann", Outcome("accepted", "cat"), [], (), 1)


def test_a_third_decides_where_two_differ():
    labels = [label("ann"), label("bob", "dog")]
    found = outcome(said(labels), 2)
    assert [who for who in PEOPLE if may_be_asked(who, found, labels, (), 2)] == ["eve", "kim"]
    labels.append(label("eve", "dog"))
    assert [who for who in PEOPLE if may_be_asked(who, outcome(said(labels), 2), labels, (), 2)] == []


def test_an_answer_that_is_known_to_be_wrong_is_asked_about_no_more():
    assert not may_be_asked("bob", OPEN, [label("ann", "", correct=False)], (), 1)
    assert may_be_asked("bob", OPEN, [label("ann", "", correct=False)], (), 2)


@given(st.lists(st.sampled_from(KEYS), unique=True), st.sets(st.sampled_from(KEYS)), st.sampled_from([None, *KEYS]))
def test_as_long_as_something_waits_something_comes_and_rather_what_nobody_looks_at(waiting, held, after):
    found = next_of(waiting, held, after)
    free = [each for each in waiting if each not in held]
    assert (found is None) == (not waiting)
    assert not free or found in free
    if after in free and len(free) > 1:
        assert found != after, "who passes over one gets another"
    if after is None and free:
        assert found == free[0]


LABELS = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(PEOPLE), st.sampled_from(["cat", "dog", "cow"])))


@given(LABELS, st.sampled_from([1, 2]), st.sets(st.sampled_from(KEYS)))
def test_of_what_somebody_may_still_be_asked_nothing_is_visible(given_labels, labellers, held):
    labels = {}
    for (request, _), by, value in given_labels:
        labels.setdefault((request, 0), []).append(label(by, value, request=request))
    outcomes = {key: outcome(said(labels.get(key, ())), labellers) for key in KEYS}
    for who in PEOPLE:
        seen = visible(who, outcomes, labels, held)
        for key in KEYS:
            own = any(each.by == who for each in labels.get(key, ()))
            if not own and (key in held or may_be_asked(who, outcomes[key], labels.get(key, ()), (), labellers)):
                assert key not in seen
            if own:
                assert key in seen
