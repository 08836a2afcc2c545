"""What people have decided about candidates: one decision at a time, and a no is final."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_parts import promote, publish
from versions import decision_draft

from registry import candidates, decisions
from registry.decisions import DecidedMeanwhile, about, append_decision, decision_chain, must_not_be_refused
from registry.errors import Corrupt, Rejected
from registry.verify import inspect

ALL = ("approved", "rejected", "changes asked")


@pytest.fixture
def card(store, tmp_path):
    return candidates.manifest_digest(store, "digits", publish(store, tmp_path, "run"))


def decide(store, card, kind, known=0, version=1, **fields):
    return append_decision(store, decision_draft("digits", version, card, kind, **fields), known)


def test_a_decision_says_who_how_when_why_and_beside_which_release(store, card):
    made = decide(store, card, "rejected", reason="too weak on zeros", over=3, how="oidc")
    assert (made.number, made.previous, made.by) == (1, "", "ada <ada@company.example>")
    assert (made.reason, made.over, made.how) == ("too weak on zeros", 3, "oidc")
    assert about(store, "digits", card) == [made]
    assert about(store, "digits", "f" * 64) == []


@pytest.mark.parametrize("first", ["rejected", "changes asked"])
@pytest.mark.parametrize("second", ALL)
def test_a_no_is_final_whatever_somebody_has_seen(store, card, first, second):
    made = decide(store, card, first)
    for known in (0, 1, 9):
        with pytest.raises(DecidedMeanwhile, match=r"version 1 was .* by ada <ada@company.example>") as no:
            decide(store, card, second, known)
        assert no.value.first == made
    with pytest.raises(Rejected, match="too weak"):
        must_not_be_refused(store, "digits", card)


def test_who_has_not_seen_an_approval_does_not_decide_over_it(store, card):
    made = decide(store, card, "approved")
    must_not_be_refused(store, "digits", card)
    with pytest.raises(DecidedMeanwhile, match="was approved by ada") as no:
        decide(store, card, "rejected")
    assert no.value.first == made
    assert decide(store, card, "rejected", known=1).number == 2


def test_versions_are_decided_apart_in_one_chain(store, card, tmp_path):
    other = candidates.manifest_digest(store, "digits", publish(store, tmp_path, "run2"))
    decide(store, card, "rejected")
    assert decide(store, other, "approved", version=2).number == 2
    must_not_be_refused(store, "digits", other)


@pytest.mark.parametrize("kinds", [ALL, ("approved", "approved"), ("rejected", "rejected")])
def test_of_many_who_decide_at_once_one_does(store, card, kinds):
    def one(place):
        try:
            return decide(store, card, kinds[place % len(kinds)], by=f"person {place}")
        except DecidedMeanwhile as error:
            return error.first

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(one, range(24)))
    assert len({each.by for each in found}) == 1
    assert about(store, "digits", card) == found[:1]


def test_those_who_decide_about_different_versions_at_once_all_do(store, card, tmp_path):
    cards = [
        card,
        *(candidates.manifest_digest(store, "digits", publish(store, tmp_path, f"run{n}")) for n in (2, 3, 4)),
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: decide(store, cards[place], "rejected", version=place + 1), range(4)))
    assert sorted(each.version for each in decision_chain(store, "digits").read_all()) == [1, 2, 3, 4]


def test_the_check_of_the_registry_knows_decisions(store, card):
    decide(store, card, "approved")
    assert inspect(store).problems == ()


def test_the_check_of_the_registry_finds_a_decision_about_nothing_and_after_a_no(store, card):
    chain = decision_chain(store, "digits")
    chain.append(decision_draft("digits", 1, "f" * 64), 0)
    chain.append(decision_draft("digits", 1, card), 1)
    chain.append(decision_draft("digits", 1, card, "approved"), 2)
    problems = inspect(store).problems
    assert any("000001.json: decides about a manifest" in each for each in problems)
    assert any("000003.json: decides about version 1, which was refused before" in each for each in problems)


def test_a_release_of_what_was_refused_is_a_note(store, card):
    promote(store, 1, "a token")
    decide(store, card, "rejected", by="grace")
    found = inspect(store)
    assert found.problems == ()
    assert any("releases version 1, which decision 1 has refused" in each for each in found.notes)


def test_an_altered_decision_is_noticed(folder_store, tmp_path):
    card = candidates.manifest_digest(folder_store, "digits", publish(folder_store, tmp_path, "run"))
    decide(folder_store, card, "rejected")
    path = tmp_path / "registry" / decision_chain(folder_store, "digits").name(1)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"too weak", b"so good!"))
    with pytest.raises(Corrupt, match=r"decisions/000001\.json"):
        must_not_be_refused(folder_store, "digits", card)


def test_every_kind_has_words():
    assert set(decisions.WORDS) == set(ALL)
