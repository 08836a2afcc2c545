"""What a machine knows of a registry from outside of it: its first key, its key records, its newest heads."""

import dataclasses

import pytest
from registry_parts import MemoryStore

from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.keyring import append_key, draft_key, read_keyring, sign_record
from registry.records import HeadFold, SeenHead, VersionMark
from registry.signatures import make_key
from registry.trusted import UNSIGNED, Anchor, FirstUse, Memory, Trusted

FIRST, SECOND = make_key(), make_key()
AT = "2026-11-21T00:00:00Z"


class Counted(MemoryStore):
    """Counts what is read."""

    def __init__(self, folder):
        super().__init__(folder)
        self.read = []

    def get(self, name):
        self.read.append(name)
        return super().get(name)


class CountedMemory(Memory):
    """Counts what is written."""

    writes = 0

    def write(self, anchor):
        self.writes += 1
        super().write(anchor)


@pytest.fixture
def store(tmp_path):
    made = Counted(tmp_path / "local")
    add(made, "made", FIRST)
    return made


@pytest.fixture
def memory(tmp_path):
    return CountedMemory(tmp_path / "anchor.json")


def add(store, kind, key, signer=FIRST, reason=""):
    before = read_keyring(store) if store.names("keys") else None
    draft = draft_key(kind, key.public, {}, by="ada", at=AT, reason=reason)
    append_key(store, draft, signer, len(before.records) if before else 0)


def trusted(store, memory):
    return Trusted(store, memory, (FIRST.public.id,))


def head(number, model="digits", release=1):
    return SeenHead(model, number, release, "d" * 64, "a" * 16, "A" * 86 + "==")


def test_what_is_seen_first_is_remembered(store, memory):
    assert memory.read() is None
    ring = trusted(store, memory).ring
    assert ring.first.id == FIRST.public.id
    assert memory.read() == Anchor(FIRST.public.id, 1, ring.mark.digest, {})


def test_an_anchor_that_names_a_key_alone_knows_no_key_record():
    assert Anchor("a key") == Anchor("a key", keys=0, last="", heads={})


def test_with_the_memory_the_first_key_need_not_be_given(store, memory):
    trusted(store, memory).verify_keys()
    assert Trusted(store, memory).ring.first.id == FIRST.public.id


@pytest.mark.parametrize("first", [(), (SECOND.public.id,)])
def test_a_registry_that_begins_with_a_key_that_is_not_given_is_not_trusted(store, memory, first):
    with pytest.raises(ConfigError, match="which this machine does not know"):
        Trusted(store, memory, first).verify_keys()
    assert memory.read() is None


def test_a_registry_that_begins_with_another_key_than_before_is_another_one(tmp_path, store, memory):
    trusted(store, memory).verify_keys()
    other = MemoryStore(tmp_path / "other")
    add(other, "made", SECOND, SECOND)
    with pytest.raises(
        Corrupt, match=f"begins with key {SECOND.public.short}, and not with {FIRST.public.short}"
    ) as no:
        Trusted(other, memory, (SECOND.public.id,)).verify_keys()
    assert str(memory.path) in no.value.hint


def test_keys_that_are_all_gone_are_missed(tmp_path, store, memory):
    with pytest.raises(Corrupt, match=r"^keys: the registry has no keys$"):
        trusted(MemoryStore(tmp_path / "empty"), memory).verify_keys()
    trusted(store, memory).verify_keys()
    with pytest.raises(
        Corrupt, match=f"^keys: the registry has no keys, though it began with key {FIRST.public.short}$"
    ):
        trusted(MemoryStore(tmp_path / "empty"), memory).verify_keys()


def test_a_key_record_that_was_seen_last_and_is_another_one_now_is_found(store, memory):
    add(store, "added", SECOND)
    trusted(store, memory).verify_keys()
    trusted(store, memory).verify_keys()  # nothing has changed
    assert memory.read().keys == 2
    del store._kept["keys/000002.json"]
    with pytest.raises(Corrupt, match=r"keys/000002\.json: is missing, or not what it was"):
        trusted(store, memory).verify_keys()
    add(store, "added", SECOND, reason="another one")
    with pytest.raises(Corrupt, match=r"keys/000002\.json: is missing, or not what it was"):
        trusted(store, memory).verify_keys()


def test_a_key_record_that_was_seen_is_still_found_when_others_have_followed(store, memory):
    trusted(store, memory).verify_keys()
    known = memory.read()
    add(store, "added", SECOND)
    trusted(store, memory).verify_keys()
    assert memory.read().keys == 2
    memory.write(dataclasses.replace(known, last="0" * 64))
    with pytest.raises(Corrupt, match=r"keys/000001\.json: is missing, or not what it was"):
        trusted(store, memory).verify_keys()


def test_the_keys_are_read_again_only_when_there_are_more(store, memory):
    known = trusted(store, memory)
    first = known.ring
    store.read.clear()
    assert known.ring is first
    assert store.read == []
    add(store, "added", SECOND)
    assert len(known.ring.records) == 2
    assert memory.read().keys == 2


def test_what_is_known_is_written_only_when_there_is_something_new(store, memory):
    for _ in range(3):
        trusted(store, memory).verify_keys()
    assert memory.writes == 1
    known = trusted(store, memory)
    for number in (1, 1):
        known.saw(head(number))
    assert memory.writes == 2


def test_the_newest_head_of_each_model_is_remembered(store, memory):
    known = trusted(store, memory)
    assert (known.seen("digits"), known.seen_models()) == (None, ())
    for each in (head(2), head(1), head(5, "flowers"), head(3, release=2)):
        known.saw(each)
    assert known.seen("digits") == head(3, release=2)
    assert known.seen("flowers") == head(5, "flowers")
    assert known.seen("letters") is None
    assert known.seen_models() == ("digits", "flowers")
    assert memory.read().first == FIRST.public.id


def test_heads_stay_known_when_keys_are_added(store, memory):
    trusted(store, memory).saw(head(4))
    add(store, "added", SECOND)
    trusted(store, memory).verify_keys()
    assert (memory.read().keys, trusted(store, memory).seen("digits")) == (2, head(4))


def test_a_record_is_checked_by_the_keys_and_never_signed(store, memory):
    known = trusted(store, memory)
    registry = known.ring.registry
    data = codec.with_checksum(head(1), lambda digest: sign_record(FIRST, registry, "a/b.json", digest))
    known.check("a/b.json", data)
    with pytest.raises(Corrupt, match=r"a/c\.json: its signature does not match"):
        known.check("a/c.json", data)
    with pytest.raises(ConfigError, match=r"a/b\.json: only the controller signs"):
        known.sign("a/b.json", "0" * 64)


# --- who does not know with which key the registry began ----------------------------------------------------------------


@pytest.fixture
def empty(tmp_path):
    return MemoryStore(tmp_path / "empty")


def test_before_there_are_keys_nothing_is_verified(empty, memory):
    first = FirstUse(empty, memory)
    assert (first.begun, first.basis) == (False, UNSIGNED)
    first.verify_keys()
    first.check("a/b.json", b"unsigned")
    assert memory.read() is None


def test_the_key_that_is_there_when_keys_are_first_seen_counts_from_then_on(tmp_path, empty, memory):
    first = FirstUse(empty, memory)
    assert not first.begun
    add(empty, "made", FIRST)
    assert first.begun
    assert first.basis == f"verified from key {FIRST.public.short} on, which was there when the registry was first seen"
    with pytest.raises(Corrupt, match=r"a/b\.json: it is not signed"):
        first.check("a/b.json", b"unsigned")
    first.verify_keys()
    assert memory.read().first == FIRST.public.id
    other = MemoryStore(tmp_path / "other")
    add(other, "made", SECOND, SECOND)
    with pytest.raises(Corrupt, match="begins with key"):
        FirstUse(other, memory).verify_keys()


def test_keys_that_were_seen_once_are_missed_when_they_are_gone(empty, store, memory):
    """Whoever removes the keys does not make the registry an unsigned one."""
    began = FirstUse(store, memory)
    began.verify_keys()
    gone = FirstUse(empty, memory)
    assert gone.begun
    for act in (gone.verify_keys, lambda: gone.check("a/b.json", b"unsigned")):
        with pytest.raises(Corrupt, match="the registry has no keys, though it began with key"):
            act()
    store._kept.clear()
    memory.path.unlink()
    assert began.begun  # what has begun in this process stays so


def test_what_something_is_verified_by_is_said(store, memory):
    assert trusted(store, memory).basis == f"verified from key {FIRST.public.short} on"
    assert Trusted(store, memory).basis == "verified"
    assert trusted(store, memory).begun


def test_what_was_made_of_the_first_heads_is_kept_beside_the_anchor(store, memory):
    fold = HeadFold(
        64, "d" * 64, {"1": VersionMark("c" * 64, 2, "a" * 64, "b" * 64), "12": VersionMark("e" * 64, 0, "", "")}
    )
    known = trusted(store, memory)
    assert known.folded("digits") is None
    known.fold("digits", fold)
    assert trusted(store, memory).folded("digits") == fold
    assert known.folded("flowers") is None
