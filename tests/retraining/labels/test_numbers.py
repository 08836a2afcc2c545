"""Labels that are numbers."""

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.labels.agreement import Outcome, agreements, outcome
from retraining.labels.numbers import Numbers

PEOPLE = ("ada", "bob", "eve", "dan")
SAID = st.lists(st.floats(-1e6, 1e6).map(lambda each: round(each, 3)), min_size=1, max_size=4).map(
    lambda numbers: dict(zip(PEOPLE, map(json.dumps, numbers), strict=False))
)
RULES = st.builds(Numbers, st.floats(0, 1e6), st.floats(0, 1), st.sampled_from(("median", "mean", "first")))


@pytest.mark.parametrize(
    ("labels", "numbers", "expected"),
    [
        ({"ada": "1", "bob": "1.0"}, Numbers(), Outcome("accepted", "1", ("ada", "bob"))),
        ({"ada": "1", "bob": "1.5"}, Numbers(), Outcome("open")),
        ({"ada": "1", "bob": "1.5"}, Numbers(0.5), Outcome("accepted", "1.25", ("ada", "bob"))),
        ({"ada": "1", "bob": "1.5"}, Numbers(0.5, kept="first"), Outcome("accepted", "1", ("ada", "bob"))),
        ({"bob": "1.5", "ada": "1"}, Numbers(0.5, kept="first"), Outcome("accepted", "1.5", ("ada", "bob"))),
        ({"ada": "100", "bob": "98"}, Numbers(0, 0.02), Outcome("accepted", "99.0", ("ada", "bob"))),
        ({"ada": "100", "bob": "97"}, Numbers(0, 0.02), Outcome("open")),
        ({"ada": "0", "bob": "0.1"}, Numbers(0.1, 0.02), Outcome("accepted", "0.05", ("ada", "bob"))),
        ({"ada": "9", "bob": "1", "eve": "2"}, Numbers(1), Outcome("accepted", "1.5", ("bob", "eve"))),
        ({"ada": "1", "bob": "3", "eve": "2.5"}, Numbers(1.5), Outcome("accepted", "2.75", ("bob", "eve"))),
        ({"ada": "1", "bob": "2", "eve": "6"}, Numbers(4, kept="median"), Outcome("accepted", "1.5", ("ada", "bob"))),
        ({"ada": "1", "bob": "2", "eve": "3"}, Numbers(2, kept="mean"), Outcome("accepted", "2", PEOPLE[:3])),
        ({"ada": "1", "bob": "5", "eve": "9"}, Numbers(1), Outcome("tied")),
        ({"ada": "1", "bob": ""}, Numbers(1), Outcome("open")),
        ({"ada": "", "bob": ""}, Numbers(1), Outcome("accepted", "", ("ada", "bob"))),
        ({"ada": "1", "bob": "", "eve": ""}, Numbers(1), Outcome("accepted", "", ("bob", "eve"))),
    ],
)
def test_most_who_were_asked_must_say_numbers_that_are_near_enough(labels, numbers, expected):
    assert outcome(labels, 2, numbers) == expected


@given(SAID, RULES)
def test_all_in_the_group_agree_with_each_other_and_none_is_larger(labels, numbers):
    people = numbers.largest(labels)
    assert all(numbers.agree(labels[one], labels[other]) for one in people for other in people)
    for who in labels:
        near = [other for other in labels if numbers.agree(labels[who], labels[other])]
        assert len(people) <= len(labels)
        assert len(people) >= 1
        if all(numbers.agree(labels[one], labels[other]) for one in near for other in near):
            assert len(near) <= len(people)


@given(SAID, RULES)
def test_what_is_kept_lies_among_them(labels, numbers):
    group = [labels[each] for each in labels if each in numbers.largest(labels)]
    kept = numbers.of(group)
    low, high = min(map(float, group)), max(map(float, group))
    assert low <= float(kept) <= high or math.isclose(float(kept), low) or math.isclose(float(kept), high)
    if numbers.kept == "first":
        assert kept == group[0]
    if numbers.kept == "median":
        assert float(kept) == statistics.median(map(float, group))


def test_no_number_is_too_large():
    assert float(Numbers(kept="mean").of(["1.7e308", "1.7e308"])) == 1.7e308
    assert float(Numbers().of(["1.7e308", "1.6e308"])) == pytest.approx(1.65e308)


def test_people_who_give_numbers_agree_within_the_tolerance_and_differ_by_so_much():
    items = [{"ada": "1", "bob": "1.2"}, {"ada": "5", "bob": "4"}, {"ada": "", "bob": "4"}]
    (found,) = agreements(items, Numbers(0.5))
    assert (found.items, round(found.share, 4), found.kappa, found.difference) == (3, 0.3333, None, pytest.approx(0.6))
    assert agreements(items)[0].difference is None
