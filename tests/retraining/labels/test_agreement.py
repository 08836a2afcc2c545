"""What the labels of several people come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from retraining.labels.agreement import Outcome, agreements, estimated_accuracy, outcome


@pytest.mark.parametrize(
    ("labels", "labellers", "expected"),
    [
        ({}, 1, Outcome("open")),
        ({"ada": "cat"}, 1, Outcome("accepted", "cat", ("ada",))),
        ({"ada": "cat"}, 2, Outcome("open")),
        ({"ada": "cat", "bob": "cat"}, 2, Outcome("accepted", "cat", ("ada", "bob"))),
        ({"ada": "cat", "bob": "dog"}, 2, Outcome("open")),
        ({"ada": "cat", "bob": "dog", "eve": "dog"}, 2, Outcome("accepted", "dog", ("bob", "eve"))),
        ({"ada": "cat", "bob": "dog", "eve": "cow"}, 2, Outcome("tied")),
        ({"ada": "cat", "bob": "dog"}, 1, Outcome("open")),
        ({"ada": "cat", "bob": "dog", "eve": "cat", "dan": "dog"}, 2, Outcome("tied")),
    ],
)
def test_a_label_is_accepted_when_most_who_were_asked_say_it(labels, labellers, expected):
    assert outcome(labels, labellers) == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    (found,) = agreements([{"ada": one, "bob": other} for one, other in pairs])
    assert (found.one, found.other, found.items) == ("ada", "bob", len(pairs))
    assert found.share == pytest.approx(sum(one == other for one, other in pairs) / len(pairs))
    if found.kappa is None:
        assert len({*pairs}) == 1
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def test_people_who_share_no_item_are_not_compared():
    assert agreements([{"ada": "cat"}, {"bob": "cat"}]) == ()
    assert [(each.one, each.other) for each in agreements([{"c": "x", "a": "x", "b": "y"}])] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_accuracy_has_an_interval_that_is_wide_for_a_few():
    assert estimated_accuracy([]) is None
    share, low, high = estimated_accuracy([True] * 9 + [False])
    assert (share, round(low, 3), round(high, 3)) == (0.9, 0.596, 0.982)  # as R's prop.test without its correction
    assert estimated_accuracy([True] * 5)[2] == 1.0
