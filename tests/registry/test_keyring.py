"""Which signatures count: under which name, in which registry, by which key, and up to when."""

import dataclasses
import functools
import quopri
import re

import pytest
from attacked_registry import with_new_checksum
from registry_parts import MemoryStore, acceptance, promote, publish, release

from registry import candidates, codec, heads, releases
from registry.chain import LostRace
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.keyring import append_key, draft_key, key_chain, read_keyring, sign_record
from registry.marks import everything
from registry.records import KeyRecord, Mark
from registry.signatures import PublicKey, make_key
from registry.signed_store import SignedStore
from registry.trusted import Anchor, Memory, Trusted
from registry.verify import verify

AT = "2026-11-21T00:00:00Z"


class Controller(Trusted):
    """Signs with the key that it is given, whether it counts or not."""

    def __init__(self, store, signer, memory):
        super().__init__(store, memory, (signer.public.id,))
        self.signer = signer

    def sign(self, name, digest):
        return sign_record(self.signer, self.ring.registry, name, digest)


class Registry:
    """A registry in memory with its first key, and what its controllers do."""

    def __init__(self, folder):
        self.folder, self.below = folder, MemoryStore(folder / "local")
        self.keys = [make_key()]
        self.key("made", self.keys[0].public, signer=self.keys[0])

    def controller(self, key=0, known=True):
        memory = Memory(self.folder / f"{key}-{known}.json")
        if known and memory.read() is None:
            memory.write(Anchor(self.keys[0].public.id))
        return SignedStore(self.below, Controller(self.below, self.keys[key], memory))

    def key(self, kind, new=None, *, signer, marks=None, ends=""):
        draft = draft_key(kind, new, marks or {}, by="ada", at=AT, reason="")
        after = len(self.ring.records) if self.below.names("keys") else 0
        append_key(self.below, dataclasses.replace(draft, key=ends) if ends else draft, signer, after)

    @functools.cached_property
    def first_ring(self):
        return self.ring

    @property
    def ring(self):
        return read_keyring(self.below)

    def add(self):
        self.keys.append(make_key())
        self.key("added", self.keys[-1].public, signer=self.keys[0])

    def rotate(self):
        self.keys.append(make_key())
        self.key("rotated", self.keys[-1].public, signer=self.keys[0], marks=everything(self.below))

    def revoke(self, key=0):
        self.key("revoked", signer=self.keys[-1], marks=everything(self.below), ends=self.keys[key].public.id)

    def publish(self, run, key=0):
        return publish(self.controller(key), self.folder, run)

    def replace(self, name, data):
        self.below._kept[name] = data

    def sign_again(self, name, signer):
        """A record as it would be, had this key signed it."""
        data = self.below.get(name)
        bare = re.sub(rb'(\n "seal": )"[^"]*",', rb'\1"",', re.sub(rb'(\n "signed_by": )"[^"]*"', rb'\1""', data))
        signed = codec.signature_in(data)
        assert signed
        new = sign_record(signer, self.ring.registry, name, signed.digest)
        self.replace(name, with_new_checksum(bare.replace(b'"signed_by": ""', f'"signed_by": "{new}"'.encode())))


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


def test_a_key_that_has_ended_changes_no_keys(registry):
    registry.rotate()
    registry.key("added", make_key().public, signer=registry.keys[0])
    with pytest.raises(Corrupt, match=r"keys/000003\.json: it is not signed by a key that counted before it"):
        read_keyring(registry.below)


def test_revoking_a_replaced_key_does_not_make_it_count_longer(registry):
    registry.rotate()
    registry.publish("late", 0)
    registry.revoke()
    with pytest.raises(Corrupt, match="was not there when that was revoked"):
        candidates.manifest(registry.controller(1), "digits", 1)


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
