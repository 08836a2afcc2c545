"""Which labels count."""

from registry.label_queue import Item
from registry.records.labels import Label
from retraining.labels.accepted import Accepted, accepted, asked, said, states
from retraining.labels.agreement import Outcome
from retraining.labels.numbers import Numbers


def label(request, by, value, at=1, correct=None, row=0):
    return Label(request, row, value, correct, by, f"2026-11-21T10:00:0{at}Z", "queue")


def test_of_a_person_the_newest_counts_and_who_only_says_wrong_says_nothing_else():
    labels = [
        label("r", "ada", "cat"),
        label("r", "ada", "dog", 2),
        label("r", "bob", "", 3, correct=True),
        label("r", "eve", "", 4, correct=False),
    ]
    assert said(labels) == {"ada": "dog", "bob": ""}
    assert said([label("r", "ada", "cat"), label("r", "ada", "", 2, correct=False)]) == {}


def test_outside_the_queue_the_newest_label_is_taken_whoever_says_it():
    labels = [
        label("a", "ada", "cat"),
        label("a", "bob", "dog", 2),
        label("b", "ada", "", correct=True),
        label("c", "ada", "", correct=False),
    ]
    assert list(accepted(labels, {}, 2)) == [Accepted("a", 0, "dog", ("bob",)), Accepted("b", 0, "", ("ada",))]


def test_in_the_queue_as_many_must_have_labelled_as_the_settings_say():
    labels = [
        label("a", "ada", "cat"),
        label("b", "ada", "cat"),
        label("b", "bob", "cat"),
        label("c", "ada", "cat"),
        label("c", "bob", "dog"),
    ]
    queue = dict.fromkeys([("a", 0), ("b", 0), ("c", 0), ("d", 0)])
    assert list(accepted(labels, queue, 2)) == [Accepted("b", 0, "cat", ("ada", "bob"))]
    assert states(labels, queue, 2, {}) == {
        ("a", 0): Outcome("open"), ("b", 0): Outcome("accepted", "cat", ("ada", "bob")),
        ("c", 0): Outcome("open"), ("d", 0): Outcome("open"),
    }  # fmt: skip


def test_numbers_that_are_near_enough_are_accepted_and_classes_that_look_like_numbers_are_not():
    items = [Item(request, 0, "random", 0.5, answered, 1, "") for request, answered in (("n", ""), ("c", "3"))]
    queue = asked(items, Numbers(tolerance=1.0, kept="first"))
    labels = [label(each, by, value) for each in ("c", "n") for by, value in (("bob", "3"), ("ada", "4"))]
    assert list(accepted(labels, queue, 2)) == [Accepted("n", 0, "3", ("ada", "bob"))]
    assert states(labels, queue, 2, {})["c", 0] == Outcome("open")


def test_an_item_that_two_people_not_sure_is_asked_about_no_more_until_it_is_labelled():
    queue = {("a", 0): None, ("b", 0): None, ("c", 0): None}
    unsure = {("a", 0): {"ann", "bob"}, ("b", 0): {"ann"}, ("c", 0): {"ann", "bob"}, ("gone", 0): {"ann", "bob"}}
    found = states([label("c", "eve", "cat"), label("c", "bob", "cat")], queue, 2, unsure)
    assert {key: each.state for key, each in found.items()} == {
        ("a", 0): "unclear",
        ("b", 0): "open",
        ("c", 0): "accepted",
    }
