"""What can be decided about a candidate, and what the page says of it: the rules alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from versions import acceptance_draft, decision_draft, release_draft

from pipelines.config.schema import ApprovalPolicy
from pipelines.console.decisions.links import address_of_commit
from pipelines.console.decisions.promoting import Promotion
from pipelines.console.decisions.state import (
    DECIDABLE,
    REFUSABLE,
    Registered,
    approval_of,
    meanwhile,
    state_of,
    why_not_approve,
    with_missing,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
AT = "2026-11-29T10:00:00Z"
CARD = "c" * 64
SHA = "0123456789abcdef0123456789abcdef01234567"


def approved(login, token):
    return decision_draft("digits", 2, CARD, "approved", login, at=AT, token=token)


def registered(*decided, tests=((),), releases=(), **fields):
    made = tuple(acceptance_draft("digits", 2, CARD, each) for each in tests)
    given = tuple(approval_of(each) for each in decided if each.kind == "approved")
    return Registered("digits", 2, CARD, (), made, decided, given, tuple(releases), **fields)


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        (registered(), "waiting"),
        (registered(tests=()), "not tested"),
        (registered(tests=((), ("failed",))), "failed tests"),
        (registered(approved("ada", "a")), "more needed"),
        (registered(approved("ada", "a"), approved("grace", "b")), "approved"),
        (registered(approved("ada", "a"), approved("ada", "b")), "more needed"),
        (registered(approved("ada", "a"), running=True), "promoting"),
        (registered(decision_draft("digits", 2, CARD)), "refused"),
        (registered(decision_draft("digits", 2, CARD, "changes asked"), running=True), "refused"),
        (registered(releases=[release_draft("digits", 2, CARD, approval=1)]), "live"),
        (registered(releases=[release_draft("digits", 3, "d" * 64, approval=1)], served=True), "was live"),
    ],
)
def test_where_a_candidate_is(known, kind):
    assert state_of(known, ApprovalPolicy(needed=2), NOW).kind == kind


def test_only_what_waits_is_approved_and_nothing_is_refused_while_it_is_made_live():
    assert DECIDABLE < REFUSABLE
    assert not REFUSABLE & {"promoting", "live", "was live", "refused"}


kinds = st.sampled_from(["approved", "rejected", "changes asked"])
people = st.sampled_from(["ada <ada@company.example>", "grace", "edith@company.example"])


@given(st.lists(st.tuples(kinds, people), max_size=5), st.integers(1, 3), people, st.booleans())
def test_whatever_was_decided_before_nobody_approves_twice_or_what_was_refused(before, needed, who, running):
    made = [decision_draft("digits", 2, CARD, kind, by, at=AT, token=str(n)) for n, (kind, by) in enumerate(before)]
    known, policy = registered(*made, running=running), ApprovalPolicy(needed=needed)
    state = state_of(known, policy, NOW)
    mine = replace(approval_of(approved(who, "mine")), token="")
    if not why_not_approve(known, state, mine, policy, NOW):
        assert all(kind == "approved" for kind, _ in before)
        assert who not in [by for _, by in before]
        assert len({by for _, by in before}) < needed
        assert not running


def test_an_approval_that_was_decided_and_not_written_counts_already():
    decided = approved("ada", "once")
    known = replace(registered(decided), approvals=())
    assert state_of(known, ApprovalPolicy(), NOW).kind == "waiting"
    assert state_of(with_missing(known, []), ApprovalPolicy(), NOW).kind == "approved"
    assert with_missing(known, [approval_of(decided)]).approvals == ()


def test_what_has_changed_meanwhile_is_said():
    known = registered(releases=[replace(release_draft("digits", 1, "d" * 64, approval=1), number=4)])
    assert meanwhile(known, 4, CARD) == ""
    assert "version 1 is live now: release 4, by ada" in meanwhile(known, 3, CARD)
    assert "another version of the registry" in meanwhile(known, 4, "e" * 64)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://github.com/team/code.git", f"https://github.com/team/code/commit/{SHA}"),
        ("git@github.com:team/code.git", f"https://github.com/team/code/commit/{SHA}"),
        ("ssh://git@gitlab.company.example:2222/team/code", f"https://gitlab.company.example/team/code/-/commit/{SHA}"),
        ("https://ada:secret@git.company.example/code#models/a", f"https://git.company.example/code/commit/{SHA}"),
        ("/srv/git/code", ""),
        ("file:///srv/git/code", ""),
        ("javascript:alert(1)", ""),
        ('https://x.example/"><script>', ""),
    ],
)
def test_a_commit_is_linked_where_its_repository_has_pages(url, address):
    assert address_of_commit(url, SHA) == address


def test_a_promotion_that_never_began_is_not_running(tmp_path):
    progress = Promotion(tmp_path, "digits", 1).progress()
    assert (progress.running, progress.begun) == (False, False)
