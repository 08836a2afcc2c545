"""Which signatures count: under which name, in which registry, by which key, and up to when."""

import dataclasses
import quopri
import re

import pytest
from attacked_registry import with_new_checksum
from keyed_registry import Registry
from registry_parts import MemoryStore, acceptance, promote, publish, release

from registry import candidates, codec, heads, releases
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.keyring import append_key, draft_key, read_keyring, sign_record
from registry.marks import everything
from registry.signatures import make_key
from registry.signed_store import SignedStore
from registry.trusted import Memory, Trusted
from registry.verify import verify


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path)


CARD = "test/digits/1/card.json"


def test_a_signed_record_is_read_and_says_what_it_said(registry):
    registry.publish("one")
    store = registry.controller()
    assert candidates.manifest(store, "digits", 1).run == "one"
    assert codec.signature_in(registry.below.get(CARD)).key == registry.keys[0].public.id
    assert candidates.manifest(registry.below, "digits", 1) == candidates.manifest(store, "digits", 1)


def test_publishing_again_finds_the_manifest_that_is_there(registry):
    assert registry.publish("one") == registry.publish("one") == 1


@pytest.mark.parametrize(
    "name",
    [
        CARD,
        "test/digits/1/acceptances/000001.json",
        "production/digits/approvals/000001.json",
        "production/digits/releases/000001.json",
        "production/digits/heads/000001.json",
        "keys/000001.json",
    ],
)
def test_any_altered_byte_of_a_signed_record_is_found(registry, name):
    registry.publish("one")
    store = registry.controller()
    candidates.append_acceptance(store, acceptance(store, 1))
    promote(store, 1, "token")
    assert verify(store) == []
    data = registry.below.get(name)
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 + position % 7
        made = with_new_checksum(bytes(altered))  # the same, when it was the checksum that was altered
        assert made == data or not vouched_for(registry, name, made), position
    for position in range(0, len(data), 97):
        registry.replace(name, data[:position] + b"?" + data[position + 1 :])
        assert verify(registry.controller()) != [], position


def vouched_for(registry, name, data):
    """Whether the keys say that these bytes belong there; for a key record, whether there are keys then."""
    if name.startswith("keys/"):
        kept = registry.below.get(name)
        registry.replace(name, data)
        try:
            return read_keyring(registry.below) is not None
        except Corrupt:
            return False
        finally:
            registry.replace(name, kept)
    try:
        registry.first_ring.check(name, data)
    except Corrupt:
        return False
    return True


def test_a_record_of_another_registry_is_found(registry, tmp_path):
    (tmp_path / "other").mkdir()
    other = Registry(tmp_path / "other")
    other.keys = registry.keys
    for each in (registry, other):
        each.publish("one") if each is registry else None
    other.below._kept = {name: data for name, data in registry.below._kept.items() if not name.startswith("keys/")}
    draft = draft_key("made", registry.keys[0].public, {}, by="ada", at="2027-01-01T00:00:00Z", reason="")
    append_key(other.below, draft, registry.keys[0], 0)
    with pytest.raises(Corrupt, match=f"{CARD}: its signature does not match"):
        candidates.manifest(other.controller(), "digits", 1)


# --- added, rotated, revoked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "key", "counts"),
    [("add", 0, True), ("add", 1, True), ("rotate", 0, False), ("rotate", 1, True)],
)
def test_who_signs_after_a_change_of_keys(registry, change, key, counts):
    registry.publish("before")
    getattr(registry, change)()
    registry.publish("after", key)
    store = registry.controller(1)
    assert candidates.manifest(store, "digits", 1).run == "before"
    if counts:
        assert candidates.manifest(store, "digits", 2).run == "after"
    else:
        with pytest.raises(Corrupt, match="was not there when that was replaced"):
            candidates.manifest(store, "digits", 2)


def history(registry):
    store = registry.controller()
    for run in ("one", "two"):
        version = registry.publish(run)
        candidates.append_acceptance(store, acceptance(store, version))
        promote(store, version, f"token-{run}")
    release(store, 1)


def test_what_a_replaced_or_revoked_key_has_signed_before_counts(registry):
    history(registry)
    for change in (registry.rotate, registry.revoke):
        change()
        assert verify(registry.controller(1)) == []


@pytest.mark.parametrize(
    "name",
    [
        CARD,
        "test/digits/2/acceptances/000001.json",
        "production/digits/approvals/000002.json",
        "production/digits/releases/000001.json",
        "production/digits/releases/000003.json",
    ],
)
def test_a_stolen_key_cannot_rewrite_what_was_there_when_it_was_revoked(registry, name):
    history(registry)
    registry.rotate()
    registry.revoke()
    registry.replace(name, registry.below.get(name).replace(b"2026-", b"2025-", 1))
    registry.sign_again(name, registry.keys[0])
    found = verify(registry.controller(1))
    assert any(each.startswith(f"{name}: it is signed by key") for each in found), found


def test_a_stolen_key_cannot_append_after_it_was_revoked(registry):
    history(registry)
    registry.add()
    registry.revoke()
    store = registry.controller(0)
    promote(registry.controller(1), 2, "token-3")
    assert releases.latest(store, "digits").number == 4
    release(registry.below, 1)  # unsigned, to be signed with the stolen key
    name = "production/digits/releases/000005.json"
    registry.replace(name, registry.below.get(name).replace(b'\n "seal"', b'\n "signed_by": "",\n "seal"'))
    data = registry.below.get(name)
    bare = re.sub(rb'(\n "seal": )"[^"]*"', rb'\1""', data)
    new = sign_record(registry.keys[0], registry.ring.registry, name, sha256_bytes(bare))
    registry.replace(name, with_new_checksum(bare.replace(b'"signed_by": ""', f'"signed_by": "{new}"'.encode())))
    with pytest.raises(Corrupt, match="was not there when that was revoked"):
        releases.latest(store, "digits")


def test_revoking_a_replaced_key_does_not_make_it_count_longer(registry):
    registry.rotate()
    registry.publish("late", 0)
    registry.revoke()
    with pytest.raises(Corrupt, match="was not there when that was revoked"):
        candidates.manifest(registry.controller(1), "digits", 1)


def test_a_record_of_an_unknown_key_is_refused(registry):
    registry.publish("one")
    stranger = make_key()
    registry.sign_again(CARD, stranger)
    with pytest.raises(
        Corrupt, match=f"{CARD}: it is signed by key {stranger.public.short}, which this registry does not"
    ):
        candidates.manifest(registry.controller(), "digits", 1)


def test_why_a_record_of_an_ended_key_does_not_count_says_how_and_by_which_record_it_ended(registry):
    registry.rotate()
    registry.publish("late", 0)
    said = f"{CARD}: it is signed by key {registry.keys[0].public.short}, and was not there when that was"
    with pytest.raises(Corrupt, match=rf"^{said} replaced \(keys/000002\.json\)$"):
        registry.ring.check(CARD, registry.below.get(CARD))
    registry.revoke()
    with pytest.raises(Corrupt, match=rf"^{said} revoked \(keys/000003\.json\)$"):
        registry.ring.check(CARD, registry.below.get(CARD))


def test_a_manifest_in_production_is_signed_under_its_name_in_test(registry):
    registry.publish("one")
    store = registry.controller()
    promote(store, 1, "token")
    ring, data = registry.ring, registry.below.get(CARD)
    ring.check("production/digits/1/card.json", data)
    for name in ("production/digits/2/card.json", "production/digits/1/notes.json", "other/digits/1/card.json"):
        with pytest.raises(Corrupt, match=f"{name}: its signature does not match"):
            ring.check(name, data)
    name = "production/digits/releases/000001.json"
    ring.check(name, registry.below.get(name))


# --- adopted -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def adopted(tmp_path):
    registry = Registry(tmp_path)
    kept, registry.below._kept = registry.below._kept, {}
    assert kept
    for run in ("one", "two"):
        version = publish(registry.below, tmp_path, run)
        candidates.append_acceptance(registry.below, acceptance(registry.below, version))
        promote(registry.below, version, f"token-{run}")
    registry.key("adopted", registry.keys[0].public, signer=registry.keys[0], marks=everything(registry.below))
    return registry


def test_what_was_adopted_counts_without_signatures(adopted):
    store = adopted.controller()
    assert verify(store) == []
    assert release(store, 1).number == 3
    assert verify(store) == []


@pytest.mark.parametrize(
    "name",
    [CARD, "test/digits/2/acceptances/000001.json", "production/digits/releases/000001.json"],
)
def test_what_was_adopted_counts_as_it_was_only(adopted, name):
    adopted.replace(name, with_new_checksum(adopted.below.get(name).replace(b"2026-", b"2025-", 1)))
    found = verify(adopted.controller())
    assert any(f"{name}: it is not signed" in each for each in found), found


def test_what_comes_after_an_adoption_is_signed(adopted):
    publish(adopted.below, adopted.folder, "three")
    with pytest.raises(Corrupt, match=r"test/digits/3/card\.json: it is not signed"):
        candidates.manifest(adopted.controller(), "digits", 3)
    adopted.key("adopted", signer=adopted.keys[0], marks=everything(adopted.below))
    assert candidates.manifest(adopted.controller(), "digits", 3).run == "three"


@pytest.mark.parametrize("gone", ["000001.json", "000002.json"])
def test_of_an_adopted_chain_that_lacks_a_record_no_earlier_one_counts(adopted, gone):
    release(adopted.controller(), 1)
    name = "production/digits/releases/000001.json"
    data = adopted.below.get(name)
    adopted.ring.check(name, data)
    del adopted.below._kept[f"production/digits/releases/{gone}"]
    if gone == "000001.json":
        adopted.ring.check(name, data)  # its bytes are those that the next one names
    else:
        with pytest.raises(Corrupt, match=f"{name}: it is not signed"):
            adopted.ring.check(name, data)


def test_of_an_adopted_chain_with_an_altered_record_no_earlier_one_counts(adopted):
    name, later = (f"production/digits/releases/00000{number}.json" for number in (1, 2))
    data = adopted.below.get(name)
    adopted.replace(later, re.sub(rb'"previous": "[0-9a-f]', b'"previous": "x', adopted.below.get(later)))
    with pytest.raises(Corrupt, match=f"{name}: it is not signed"):
        adopted.ring.check(name, data)


def test_an_adopted_record_counts_under_its_own_name_only(adopted):
    data = adopted.below.get(CARD)
    adopted.ring.check(CARD, data)
    for name in ("test/digits/2/card.json", "test/digits/3/card.json", "production/letters/releases/000001.json",
                 "production/digits/releases/000003.json"):  # fmt: skip
        with pytest.raises(Corrupt, match=f"{name}: it is not signed"):
            adopted.ring.check(name, data)


# --- what a machine knows ----------------------------------------------------------------------------------------------


def test_a_machine_that_does_not_know_the_registry_refuses_and_names_what_to_do(registry):
    registry.publish("one")
    store = SignedStore(registry.below, Trusted(registry.below, Memory(registry.folder / "new.json")))
    with pytest.raises(ConfigError, match=r"begins with key .*, which this machine does not know") as refused:
        candidates.manifest(store, "digits", 1)
    assert f"trainyard keys trust {registry.keys[0].public.id}" in refused.value.hint


def test_keys_that_were_there_and_are_gone_are_missed(registry):
    registry.add()
    registry.publish("one")
    assert candidates.manifest(registry.controller(), "digits", 1)
    del registry.below._kept["keys/000002.json"]
    with pytest.raises(Corrupt, match=r"keys/000002\.json: is missing, or not what it was"):
        candidates.manifest(registry.controller(), "digits", 1)


def test_a_key_that_was_added_meanwhile_counts_at_once(registry):
    registry.publish("one")
    store = registry.controller()
    assert candidates.manifest(store, "digits", 1)
    registry.add()
    registry.publish("two", 1)
    assert candidates.manifest(store, "digits", 2).run == "two"


# --- heads -------------------------------------------------------------------------------------------------------------


def test_any_truncation_is_found_against_a_head(registry):
    history(registry)
    store = registry.controller()
    head = heads.write_head(store, "digits")
    everything_there = dict(registry.below._kept)
    signed = [name for name, data in everything_there.items() if name.endswith(".json") and codec.signature_in(data)]
    assert len(signed) >= 12
    for name in signed:
        del registry.below._kept[name]
        assert verify(registry.controller()) != [], name
        registry.below._kept = dict(everything_there)
    for name in sorted(registry.below.names("production/digits/heads")):
        registry.below._kept.pop(f"production/digits/heads/{name}")
    with pytest.raises(Corrupt, match="is missing, though it was seen"):
        heads.check_seen(store, head)


def test_a_head_is_written_with_each_release_and_not_twice(registry):
    history(registry)
    store = registry.controller()
    known = heads.head_chain(store, "digits").read_all()
    assert [each.releases.count for each in known] == [1, 2, 3]
    assert [sorted(each.versions) for each in known] == [["1"], ["2"], []]
    assert heads.write_head(store, "digits") == heads.newest(store, "digits")
    assert len(heads.head_chain(store, "digits").read_all()) == 3
    candidates.append_acceptance(store, acceptance(store, 1))
    assert heads.write_head(store, "digits").number == 4
    assert heads.head_chain(store, "digits").read(4).versions["1"].acceptances == 2


def test_a_head_is_found_in_a_mail_that_was_folded_or_encoded(registry):
    history(registry)
    head = heads.newest(registry.controller(), "digits")
    assert len(head.line) <= 400
    quoted = quopri.encodestring(f"a long line {head.line} and more".encode()).decode()
    folded = "X-Trainyard-Head: " + "\r\n ".join(head.line[at : at + 70] for at in range(0, len(head.line), 70))
    for text in (head.line, f"before {head.line}\r\nafter", quoted, folded):
        assert heads.find_lines(text, "mail") == [head]


@pytest.mark.parametrize("text", ["", "trainyard-head", "trainyard-head:1:digits:1:1:ab:cd:ef"])
def test_a_text_without_a_head_is_refused(text):
    with pytest.raises(ConfigError, match=r"mail\.eml: there is no head in it"):
        heads.find_lines(text, "mail.eml")


def test_a_head_of_another_key_is_not_one_of_this_registry(registry):
    history(registry)
    head = heads.newest(registry.controller(), "digits")
    name = f"production/digits/heads/{head.number:06d}.json"
    assert registry.ring.has_signed(name, head)
    assert not registry.ring.has_signed(name, dataclasses.replace(head, digest="0" * 64))
    assert not registry.ring.has_signed("production/digits/heads/000001.json", head)


def test_an_unsigned_registry_has_no_heads(tmp_path):
    store = MemoryStore(tmp_path / "local")
    publish(store, tmp_path, "one")
    promote(store, 1, "token")
    assert heads.write_head(store, "digits") is None
    assert heads.newest(store, "digits") is None
    assert store.names("production/digits/heads") == []
