"""Which answers people are asked about."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retraining.labels.choose import Answer, choose, doubt

ROWS = st.lists(
    st.builds(
        Answer,
        request=st.text("abcdef", min_size=1, max_size=4),
        row=st.integers(0, 3),
        shares=st.lists(st.floats(0.01, 1), min_size=2, max_size=4).map(lambda v: tuple(x / sum(v) for x in v)),
        content=st.sampled_from(["", "x", "y", "z"]),
        image_hash=st.none() | st.integers(0, 2**64 - 1),
        labelled=st.booleans(),
        drawn=st.booleans(),
    ),
    unique_by=lambda each: (each.request, each.row),
    max_size=30,
)


def answers(*shares, **facts):
    return [Answer(f"r{place}", 0, each, **facts) for place, each in enumerate(shares)]


@pytest.mark.parametrize(
    ("by", "shares", "expected"),
    [
        ("margin", (0.9, 0.1), 0.2),
        ("margin", (0.5, 0.5), 1.0),
        ("margin", (1.0,), 0.0),
        ("margin", (), 0.0),
        ("entropy", (0.5, 0.5), 1.0),
        ("entropy", (1.0, 0.0), 0.0),
        ("entropy", (0.25, 0.25), (0.5 * math.log(4) + 0.5 * math.log(2)) / math.log(3)),  # half of it is elsewhere
        ("entropy", (0.7,), 0.3),
    ],
)
def test_doubt_is_between_sure_and_at_a_loss(by, shares, expected):
    assert doubt(Answer("r", 0, shares), by) == pytest.approx(expected)


def test_an_answer_that_the_candidate_gives_otherwise_is_doubtful_whatever_its_probability():
    sure = (0.999, 0.001)
    assert doubt(Answer("r", 0, sure, other_class=True), "disagreement") == 1.0
    assert doubt(Answer("r", 0, (0.5, 0.5)), "disagreement") == 0.5


def test_the_most_doubtful_come_first_beside_the_random_share():
    many = answers(*[(0.5 + place / 40, 0.5 - place / 40) for place in range(20)])
    chosen = choose(many, 10, 0.2, "margin")
    assert [each.why for each in chosen] == ["random"] * 2 + ["doubtful"] * 8
    at_random = {each.answer.request for each in chosen[:2]}
    assert [each.answer.request for each in chosen[2:]] == [f"r{n}" for n in range(20) if f"r{n}" not in at_random][:8]


def test_the_random_ones_are_a_uniform_sample_of_all():
    """Each fifth of the answers, by their doubt, gets its share of 4,000 draws, within four standard deviations."""
    many = [Answer(f"request {n}", 0, (0.5 + n / 40_000, 0.5 - n / 40_000)) for n in range(20_000)]
    drawn = [each for each in choose(many, 5_000, 0.8, "margin") if each.why == "random"]
    assert len(drawn) == 4_000
    for fifth in range(5):
        found = sum(fifth * 4_000 <= int(each.answer.request.split()[1]) < (fifth + 1) * 4_000 for each in drawn)
        assert abs(found - 800) < 4 * (4_000 * 0.2 * 0.8 * 0.8) ** 0.5


def test_nothing_sure_is_asked_about_unless_at_random():
    assert {each.why for each in choose(answers(*[(1.0, 0.0)] * 20), 10, 0.1, "margin")} == {"random"}


def test_one_of_several_equal_or_nearly_equal_answers_is_enough():
    same = answers(*[(0.5, 0.5)] * 5, content="c")
    assert len(choose(same, 5, 0.2, "margin")) == 1
    near = [Answer(f"r{n}", 0, (0.5, 0.5), image_hash=0b1111 << 20 | n) for n in (0b00, 0b01, 0b11)]
    assert len(choose(near, 5, 0.2, "margin")) == 1
    far = [Answer(f"r{n}", 0, (0.5, 0.5), image_hash=n) for n in (0b0, 0b1111)]
    assert len(choose(far, 5, 0.2, "margin")) == 2
    known = [Answer("labelled", 0, content="c", labelled=True, drawn=True), *same]
    assert choose(known, 5, 0.2, "margin") == ()


def test_one_that_is_labelled_already_may_be_drawn_and_one_that_was_drawn_is_not_again():
    known = [Answer("a", 0, (0.5, 0.5), labelled=True), Answer("b", 0, (0.5, 0.5), labelled=True, drawn=True)]
    (chosen,) = choose(known, 5, 0.5, "margin")
    assert (chosen.answer.request, chosen.why) == ("a", "random")


@given(ROWS, st.integers(0, 12), st.floats(0.05, 1), st.sampled_from(["margin", "entropy", "disagreement"]))
def test_a_choice_is_bounded_new_without_twins_and_the_same_in_any_order(rows, most, share, by):
    chosen = choose(rows, most, share, by)
    assert len(chosen) <= most
    assert not any(each.answer.drawn for each in chosen if each.why == "random")
    assert all(each.why == "random" for each in chosen if each.answer.labelled), (
        "it counts as drawn, and nobody is asked"
    )
    keys = [(each.answer.request, each.answer.row) for each in chosen]
    assert len(set(keys)) == len(keys)
    contents = [each.answer.content for each in chosen if each.answer.content and not each.answer.labelled]
    assert len(set(contents)) == len(contents)
    assert sum(each.why == "random" for each in chosen) <= math.ceil(most * share)
    if not any(each.content or each.image_hash is not None for each in rows):
        assert choose(rows[::-1], most, share, by) == chosen
