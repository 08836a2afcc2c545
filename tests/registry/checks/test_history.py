"""The rules of a model's releases and approvals, without a registry."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from versions import approval_draft, release_draft

from registry.checks.findings import SKEW
from registry.checks.history import Versions, released_before_approval, wrong_approvals, wrong_releases

VERSIONS = Versions({1: "a", 2: "b", 3: "c"}, {1: "a", 2: "b"}, frozenset({1, 2}))
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def release(number, version, *, card=None, kind="", approval=None, model="digits", also=()):
    card = VERSIONS.test.get(version, "") if card is None else card
    draft = release_draft(model, version, card, kind=kind, approval=approval, also_approved=also)
    return replace(draft, number=number)


def approval(number, version, *, card=None, token="", model="digits", **fields):
    card = VERSIONS.test.get(version, "") if card is None else card
    return replace(approval_draft(model, version, card, token or f"token {number}", **fields), number=number)


APPROVALS = {1: approval(1, 1), 2: approval(2, 2), 3: approval(3, 1)}


def problems(*releases, approvals=APPROVALS, versions=VERSIONS):
    return list(wrong_releases("digits", releases, approvals, versions))


def test_a_history_of_every_kind_is_as_it_should_be():
    assert not problems(
        release(1, 1, approval=1),
        release(2, 2, approval=2),
        release(3, 1, kind="revert"),
        release(4, 2, approval=2),
        release(5, 1, kind="rollback"),
        release(6, None),
        release(7, 1, approval=3),
    )


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (release(2, 1, approval=3, model="letters"), "is a release of letters"),
        (release(2, 1, kind="withdrawal"), "is a withdrawal of version 1"),
        (release(2, None, kind="rollback"), "is a rollback of version none"),
        (release(2, 1, kind="rollback", approval=3), "is a rollback with an approval"),
        (release(2, 1, kind="promotion"), "is a promotion without an approval"),
        (release(2, 1, approval=2), "names approval 2, which is not about this manifest"),
        (release(2, 1, approval=9), "names approval 9, which is not about this manifest"),
        (release(2, 1, approval=1), "names approval 1, which was used before"),
        (release(2, 1, approval=3, also=(1,)), "names approval 1, which was used before"),
        (release(2, 1, approval=3, also=(2,)), "names approval 2, which is not about this manifest"),
        (release(2, 2, kind="rollback"), "goes back to version 2, which was never released with an approval"),
    ],
)
def test_what_is_wrong_with_a_release_is_said_once(wrong, what):
    assert problems(release(1, 1, approval=1), wrong) == [(2, what)]


def test_a_release_is_of_the_manifest_in_production_and_of_one_that_was_accepted():
    versions = replace(VERSIONS, production={1: "a", 2: "b", 3: "c"})
    approvals = {1: approval(1, 3), 2: approval(2, 2, card="x")}
    accepted = "releases version 3, which no acceptance test has accepted"
    assert problems(release(1, 3, approval=1), approvals=approvals, versions=versions) == [(1, accepted)]
    absent = "releases a manifest that production/…/3 does not have"
    assert problems(release(1, 3, approval=1), approvals=approvals) == [(1, absent), (1, accepted)]
    other = "releases a manifest that production/…/2 does not have"
    assert problems(release(1, 2, card="x", approval=2), approvals=approvals) == [(1, other)]


def test_a_version_that_is_gone_from_test_is_not_also_said_to_be_untested():
    versions = replace(VERSIONS, test={}, accepted=frozenset())
    assert not problems(release(1, 1, approval=1), versions=versions)


def test_an_approval_is_used_up_unless_its_release_failed():
    again = release(3, 2, approval=2)
    before = (release(1, 1, approval=1), release(2, 2, approval=2))
    used = [(3, "names approval 2, which was used before")]
    assert problems(*before, again) == used
    assert problems(*before, replace(release(3, 1, kind="rollback"), number=3), replace(again, number=4)) == [
        (4, used[0][1])
    ]
    assert not problems(*before, release(3, 1, kind="revert"), replace(again, number=4))
    assert not problems(*before, release(3, None), replace(again, number=4))


def test_a_rollback_is_no_approval_for_the_next_one():
    back = "goes back to version 2, which was never released with an approval"
    assert problems(release(1, 1, approval=1), release(2, 2), release(3, 2)) == [(2, back), (3, back)]


def test_what_goes_back_goes_to_the_very_manifest_that_was_approved():
    assert problems(release(1, 1, approval=1), release(2, 1, card="x", kind="revert")) == [
        (2, "releases a manifest that production/…/1 does not have"),
        (2, "goes back to version 1, which was never released with an approval"),
    ]


def test_approvals_are_of_manifests_that_are_there():
    def found(*approvals):
        return list(wrong_approvals("digits", approvals, VERSIONS))

    assert not found(*APPROVALS.values())
    for wrong in (approval(1, 1, card="x"), approval(1, 9), approval(1, 1, model="letters")):
        assert found(wrong) == [(1, f"approves a manifest that test/…/{wrong.version} does not have")]


@pytest.mark.parametrize(
    ("second", "wrong"),
    [
        (approval(2, 1, token="t", seen="eve"), False),
        (approval(2, 1, token="t", way="jenkins", seen="ada"), False),
        (approval(2, 1, token="u", seen="ada"), False),
        (approval(2, 1, token="t", seen="ada"), True),
        (approval(2, 2, token="t", seen="eve"), True),
    ],
    ids=["another person", "another way", "another token", "the same person", "another version"],
)
def test_a_token_is_one_persons_for_one_manifest(second, wrong):
    found = list(wrong_approvals("digits", (approval(1, 1, token="t", seen="ada"), second), VERSIONS))
    assert found == ([(2, "has the token of approval 1")] if wrong else [])


def test_a_release_may_be_older_than_its_approval_by_what_clocks_differ():
    made = release(1, 1, approval=1, also=(3,))

    def found(*given, at=NOON):
        approved_at = dict(zip((1, 3), given, strict=True))
        return list(released_before_approval([made], approved_at, {1: at}))

    assert not found(NOON + SKEW, NOON)
    late = NOON + SKEW + timedelta(seconds=1)
    assert found(NOON, late) == [(1, f"was made {late - NOON} before its approval 3, by their clocks")]
    assert [number for number, _ in found(late, late)] == [1, 1]
    assert not found(None, None)
    assert not found(late, late, at=None)
