"""An approval that is signed by a person's own key approves one manifest, for a time, and cannot be altered."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.approvals import signed
from pipelines.approvals.people import approvers
from registry.errors import Rejected
from registry.signatures import make_key

ADA, EVE = make_key(), make_key()
CARD = "c" * 64
TEXT = signed.sign(ADA, "digits", 3, CARD, "Ada", 7.0)
LISTED = approvers((f"{ADA.public.text} ada",))


def check(text=TEXT, listed=LISTED, model="digits", version=3, card=CARD):
    return signed.check(text, listed, model, version, card)


def forged(signer=ADA, purpose=signed.PURPOSE, **fields):
    """The text with other fields, signed again."""
    content, _, _ = TEXT.removeprefix(signed.PREFIX).partition(".")
    said = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))) | fields
    data = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
    parts = (data, base64.b64decode(signer.sign(data, purpose)))
    return signed.PREFIX + ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)


def test_it_says_what_was_signed_and_by_which_key():
    said, key = check()
    assert (said.model, said.version, said.card, said.by, key) == ("digits", 3, CARD, "Ada", ADA.public)
    assert datetime.fromisoformat(said.until) - datetime.fromisoformat(said.at) == timedelta(days=7)
    assert check(signed.sign(ADA, "digits", 3, CARD, "Ada", 7.0))[0].id != said.id


def test_its_fields_are_in_order_and_its_id_has_96_random_bits():
    content = TEXT.removeprefix(signed.PREFIX).partition(".")[0]
    said = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    assert list(said) == sorted(said)
    assert len(said["id"]) * 6 == 96


@pytest.mark.parametrize("length", range(1, 21))
def test_it_is_read_whatever_its_length(length):
    assert check(signed.sign(ADA, "digits", 3, CARD, "x" * length, 7.0))[0].by == "x" * length


def test_it_has_4096_characters_at_most():
    longest = next(text for text in (forged(by="x" * length) for length in range(2500, 3000)) if len(text) == 4096)
    assert len(check(longest)[0].by) > 2500
    one_more = forged(by="x" * (len(check(longest)[0].by) + 1))
    assert len(one_more) == 4097
    with pytest.raises(Rejected, match="malformed"):
        check(one_more)


def test_a_key_that_is_not_listed_is_shown_as_it_would_be():
    for by, comment in (("Ada Lovelace, Ph.D.", "Ada-Lovelace-Ph.D."), ("a" * 60 + "b" * 5, "a" * 60 + "b" * 4)):
        with pytest.raises(Rejected) as no:
            check(signed.sign(EVE, "digits", 3, CARD, by, 7.0))
        assert no.value.hint == f'add it there, in quotes: "{EVE.public.text} {comment}"'


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"model": "letters"}, "is for 'digits' version 3, not for letters version 3"),
        ({"version": 4}, "is for 'digits' version 3, not for digits version 4"),
        ({"card": "d" * 64}, "another manifest of digits version 3: cccccccccccc…, not dddddddddddd…"),
        ({"listed": ()}, "signed by a key that .approval. approvers does not list"),
        ({"listed": approvers((EVE.public.text, "ada"))}, "does not list"),
    ],
    ids=["model", "version", "manifest", "nobody listed", "another key"],
)
def test_for_anything_else_it_is_rejected_with_the_reason(other, why):
    with pytest.raises(Rejected, match=why) as no:
        check(**other)
    assert no.value.hint


def test_a_key_that_signs_in_the_name_of_another_one_is_rejected():
    for text in (forged(EVE), forged(ADA, purpose="trainyard.release.1")):
        with pytest.raises(Rejected, match="was altered"):
            check(text)
    with pytest.raises(Rejected, match="does not list"):
        check(forged(EVE, key=EVE.public.text))


@pytest.mark.parametrize(
    "fields",
    [{"version": "3"}, {"version": True}, {"by": 7}, {"more": 1}, {"id": None}, {"at": "today"}, {"until": ""},
     {"key": "ssh-rsa AAAA"}, {"key": 5}],
    ids=str,
)  # fmt: skip
def test_other_fields_than_the_known_ones_are_malformed(fields):
    with pytest.raises(Rejected, match="malformed"):
        check(forged(**fields))


@given(st.integers(0, len(TEXT) - 1), st.characters())
@settings(max_examples=300)
def test_any_changed_character_is_rejected(position, character):
    assume(character != TEXT[position])
    with pytest.raises(Rejected):
        check(TEXT[:position] + character + TEXT[position + 1 :])


@given(st.one_of(st.text(max_size=200), st.text("abcXYZ019-_.", max_size=300), st.just("a" * 5000)))
def test_nonsense_is_rejected_and_never_a_traceback(text):
    for each in (text, f"{signed.PREFIX}{text}", f"{signed.PREFIX}{text}.{'A' * 86}"):
        with pytest.raises(Rejected):
            check(each)


def test_the_last_characters_have_no_twins():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in letters.replace(TEXT[-1], ""):
        with pytest.raises(Rejected):
            check(TEXT[:-1] + letter)
    content, dot, signature = TEXT.partition(".")
    for letter in letters.replace(content[-1], ""):
        with pytest.raises(Rejected):
            check(content[:-1] + letter + dot + signature)


def test_it_is_valid_from_now_until_it_says():
    said, _ = check()
    at = datetime.fromisoformat(said.at).astimezone(UTC)
    clocks = timedelta(minutes=2)
    for moment in (at, at + timedelta(days=7), at - clocks):
        signed.must_be_in_time(said, moment)
    with pytest.raises(Rejected, match=f"expired at {said.until}"):
        signed.must_be_in_time(said, at + timedelta(days=7, seconds=1))
    with pytest.raises(Rejected, match="in the future"):
        signed.must_be_in_time(said, at - clocks - timedelta(seconds=1))


def test_a_token_of_a_mail_and_a_signed_text_cannot_be_taken_for_each_other():
    from pipelines.approvals.tokens import SHAPE

    assert TEXT.startswith(signed.PREFIX)
    assert not SHAPE.fullmatch(TEXT)
