"""To which release a rollback, or an automatic revert, goes back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from versions import release_draft

from registry.undo import _fold, good_before, has_failed, left_behind, live_before

KINDS = {"P": "promotion", "B": "rollback", "R": "revert", "W": "withdrawal", "D": "demotion"}


def history(text):
    """`P1 P2 B1`: version 1 and 2 were promoted, and then somebody went back to 1; R is an automatic revert, W a withdrawal, D a
    demotion."""
    return [
        replace(release_draft("digits", int(word[1:]) if word[1:] else None, "c"), number=number, kind=KINDS[word[0]])
        for number, word in enumerate(text.split(), 1)
    ]


def number(found):
    return found and found.number


@pytest.mark.parametrize(
    ("releases", "before"),
    [
        ("P1", None),
        ("P1 P2 P3", 2),
        ("P1 P2 P3 B2", 1),
        ("P1 P2 P3 B2 B1", None),
        ("P1 P2 B1 P2 P3", 4),
        ("P1 P1", None),
        ("P1 P2 P3 P1 R3", 2),
        ("P3 P1 P3 R1", None),
        ("P1 P2 W", None),
        ("P1 P2 W P3", None),
        ("P1 P2 D", None),
        ("P1 P2 D P3", None),
        ("P1 P2 D P3 P4", 4),
        ("P1 P2 W P3 P4 B1", 5),
        ("P1 P2 P3 B1 P4 P5 B2", 6),
        ("P1 P2 P3 B2 P4 B3", 5),
        ("P1 P2 P3 P3 B2", 1),
        ("P1 P2 P1 B2 P4 B1", None),
    ],
)
def test_undo_goes_back_through_what_was_live_and_not_through_what_was_undone(releases, before):
    assert number(live_before(history(releases))) == before


@given(
    st.lists(
        st.builds("{}{}".format, st.sampled_from("PBR"), st.integers(1, 4)) | st.sampled_from("WD"),
        min_size=1,
        max_size=9,
    )
)
def test_the_short_way_leads_where_going_through_all_of_history_does(releases):
    made = history(" ".join(releases))
    stack, last = _fold(made)
    stack.push(last)
    assert live_before(made) == stack.newest_but(last.version)


class NewestTwo(list):
    """A history of which only the newest two releases may be decoded."""

    def __getitem__(self, at):
        assert at in {-1, -2}
        return super().__getitem__(at)

    def __iter__(self):
        raise AssertionError("all releases are decoded")


@pytest.mark.parametrize(("releases", "before"), [("P1 P2", 1), ("P1 P2 P1 P3", 3), ("P1 P2 W B2 P1", 4)])
def test_after_a_promotion_of_another_version_only_the_newest_two_are_decoded(releases, before):
    assert number(live_before(NewestTwo(history(releases)))) == before


@pytest.mark.parametrize(
    ("releases", "before"),
    [
        ("P1", None),
        ("P1 P2", 1),
        ("P1 P2 R1 P3", 3),
        ("P1 P2 P1", 2),
        ("P1 P1", None),
        ("P1 P2 W P3", None),
        ("P1 P2 D P3", None),
    ],
)
def test_what_cannot_be_deployed_is_replaced_by_the_release_before_it(releases, before):
    assert number(good_before(history(releases))) == before


def test_a_release_has_failed_when_the_very_next_one_takes_it_back():
    first, second, back, gone = history("P1 P2 R1 W")
    assert [has_failed(second, each) for each in (None, first, back, gone)] == [False, False, True, False]
    assert has_failed(back, gone)
    assert not has_failed(gone, history("P1 P2 R1 W D")[-1])
    assert not has_failed(second, history("P1 P2 D")[-1])  # it has served, and its approval is used up
    assert not has_failed(first, second)


def test_a_history_without_releases_has_nothing_to_go_back_to():
    for search in (live_before, good_before):
        with pytest.raises(ValueError, match="an empty history has no last release"):
            search([])


@pytest.mark.parametrize(
    ("releases", "back"),
    [
        ("P1 P2", None),
        ("P2", None),
        ("P1 P2 P3", None),
        ("P2 P1", None),
        ("P1 P2 B1", 3),
        ("P1 P2 P3 B1", 4),
        ("P1 P2 R1 B1 P3", 3),
        ("P1 P2 B1 P2", None),
        ("P1 P2 B1 P3", 3),
        ("P2 W", 2),
        ("P1 P2 D", 3),
        ("P1", None),
    ],
)
def test_a_version_is_left_behind_by_the_first_release_that_goes_back_from_it(releases, back):
    assert number(left_behind(history(releases), 2)) == back
