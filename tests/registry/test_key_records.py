"""Which key records are refused: unsigned ones, those of keys that do not count, and those that make no sense."""

import dataclasses
import functools

import pytest
from keyed_registry import AT, Registry
from registry_parts import MemoryStore

from registry.chain import LostRace
from registry.errors import Corrupt
from registry.keyring import append_key, draft_key, key_chain, read_keyring, sign_record
from registry.records import KeyRecord, Mark
from registry.signatures import PublicKey, make_key


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path)


def test_a_key_that_has_ended_changes_no_keys(registry):
    registry.rotate()
    registry.key("added", make_key().public, signer=registry.keys[0])
    with pytest.raises(Corrupt, match=r"keys/000003\.json: it is not signed by a key that counted before it"):
        read_keyring(registry.below)


@pytest.mark.parametrize(
    "draft",
    [
        KeyRecord(0, "made", "", "", {}, "ada", AT, "", ""),
        KeyRecord(0, "added", "ab", "", {}, "ada", AT, "", ""),
        KeyRecord(0, "added", "ab", "AAAA", {}, "ada", AT, "", ""),
        KeyRecord(0, "added", "ab", "no base64", {}, "ada", AT, "", ""),
        KeyRecord(0, "revoked", "ab", "", {}, "ada", AT, "", ""),
        KeyRecord(0, "adopted", "ab", "AAAA", {}, "ada", AT, "", ""),
    ],
    ids=lambda each: f"{each.kind}-{each.public}",
)
def test_a_key_record_that_makes_no_sense_is_refused(registry, draft):
    append_key(registry.below, draft, registry.keys[0], 1)
    with pytest.raises(Corrupt, match=r"keys/000002\.json: "):
        read_keyring(registry.below)


def test_a_key_does_not_end_itself(registry):
    registry.key("revoked", signer=registry.keys[0], ends=registry.keys[0].public.id)
    with pytest.raises(Corrupt, match="ends a key that does not count, or its own"):
        read_keyring(registry.below)


def test_a_key_is_not_brought_twice(registry):
    registry.key("added", registry.keys[0].public, signer=registry.keys[0])
    with pytest.raises(Corrupt, match="is not a new one"):
        read_keyring(registry.below)


def test_two_first_keys_at_once_are_one(registry):
    with pytest.raises(LostRace):
        append_key(registry.below, draft_key("made", make_key().public, {}, by="", at=AT, reason=""), make_key(), 0)


def test_the_keys_that_count_are_given_the_newest_first(registry):
    first = registry.keys[0].public
    assert registry.ring.valid == [first]
    registry.add()
    registry.add()
    second, third = (each.public for each in registry.keys[1:])
    assert registry.ring.valid == [third, second, first]
    registry.revoke(1)
    assert registry.ring.valid == [third, first]
    assert [each.revoked for each in registry.ring.keys.values()] == [False, True, False]
    assert registry.ring.first == first
    assert registry.ring.mark.count == len(registry.ring.records) == 4


@pytest.mark.parametrize("kind", ["added", "rotated", "revoked"])
def test_a_registry_begins_with_a_key_that_was_made_or_adopted_it(tmp_path, kind):
    store, key = MemoryStore(tmp_path / "local"), make_key()
    append_key(store, draft_key(kind, key.public, {}, by="ada", at=AT, reason=""), key, 0)
    with pytest.raises(Corrupt, match=rf"keys/000001\.json: a key record of kind {kind} cannot be here"):
        read_keyring(store)


@pytest.mark.parametrize("kind", ["made", "adopted"])
def test_a_first_key_signs_its_own_record(tmp_path, kind):
    store = MemoryStore(tmp_path / "local")
    append_key(store, draft_key(kind, make_key().public, {}, by="ada", at=AT, reason=""), make_key(), 0)
    with pytest.raises(Corrupt, match=r"keys/000001\.json: it is not signed by a key that counted before it"):
        read_keyring(store)


@pytest.mark.parametrize("kind", ["made", "adopted"])
def test_a_first_key_record_brings_a_key(tmp_path, kind):
    store, key = MemoryStore(tmp_path / "local"), make_key()
    append_key(store, draft_key(kind, None, {}, by="ada", at=AT, reason=""), key, 0)
    with pytest.raises(Corrupt, match=rf"keys/000001\.json: a key record of kind {kind} cannot be here"):
        read_keyring(store)


@pytest.mark.parametrize(
    ("kind", "new"), [("made", True), ("adopted", True), ("revoked", True), ("added", False), ("rotated", False)]
)
def test_a_later_key_record_brings_a_key_only_when_it_says_so(registry, kind, new):
    registry.key(kind, make_key().public if new else None, signer=registry.keys[0])
    with pytest.raises(Corrupt, match=rf"keys/000002\.json: a key record of kind {kind} cannot be here"):
        read_keyring(registry.below)


def test_a_key_record_that_nobody_has_signed_is_refused(registry):
    draft = draft_key("added", make_key().public, {}, by="ada", at=AT, reason="")
    key_chain(registry.below).append(draft, 1)
    with pytest.raises(Corrupt, match=r"keys/000002\.json: it is not signed by a key that counted before it"):
        read_keyring(registry.below)


def test_a_first_key_record_that_nobody_has_signed_is_refused(tmp_path):
    store = MemoryStore(tmp_path / "local")
    key_chain(store).append(draft_key("made", make_key().public, {}, by="ada", at=AT, reason=""), 0)
    with pytest.raises(Corrupt, match=r"keys/000001\.json: it is not signed by a key that counted before it"):
        read_keyring(store)


def test_the_signature_of_a_record_is_none_of_a_key_record(registry):
    """Who has a signature of some record cannot make a key record of it."""
    draft = draft_key("added", make_key().public, {}, by="ada", at=AT, reason="")
    sign = functools.partial(sign_record, registry.keys[0], registry.ring.registry, "keys/000002.json")
    key_chain(registry.below).append(draft, 1, sign)
    with pytest.raises(Corrupt, match=r"keys/000002\.json: its signature does not match"):
        read_keyring(registry.below)


@pytest.mark.parametrize(
    "change", [lambda text: f"{text[:8]}!{text[8:]}", lambda _text: "AAAA", lambda text: text[:-4]]
)
def test_a_public_key_is_written_in_base64_and_is_the_one_with_its_id(registry, change):
    new = make_key()
    draft = draft_key("added", new.public, {}, by="ada", at=AT, reason="")
    append_key(registry.below, dataclasses.replace(draft, public=change(draft.public)), registry.keys[0], 1)
    with pytest.raises(Corrupt, match=r"keys/000002\.json: its public key is not a new one with the id"):
        read_keyring(registry.below)


def test_a_public_key_with_the_id_of_its_bytes_has_32_of_them(registry):
    raw = b"1" * 31
    draft = draft_key("added", PublicKey(raw), {}, by="ada", at=AT, reason="")
    append_key(registry.below, draft, registry.keys[0], 1)
    with pytest.raises(Corrupt, match="is not a new one"):
        read_keyring(registry.below)


def test_a_missing_or_replaced_key_record_is_found_by_the_ones_after_it(registry):
    registry.add()
    first = registry.below.get("keys/000001.json")
    del registry.below._kept["keys/000001.json"]
    with pytest.raises(Corrupt, match=r"keys/000001\.json: is missing, though later ones are there"):
        read_keyring(registry.below)
    second = registry.below._kept.pop("keys/000002.json")
    registry.key("made", registry.keys[0].public, signer=registry.keys[0], marks={"a": Mark(1, "b")})
    assert registry.below.get("keys/000001.json") != first
    registry.replace("keys/000002.json", second)
    with pytest.raises(Corrupt, match=r"keys/000002\.json: does not follow the record before it"):
        read_keyring(registry.below)


def test_a_registry_without_keys_has_none(tmp_path):
    assert read_keyring(MemoryStore(tmp_path / "local")) is None
