"""A history that a machine has read is not read again: only the last record, and what is new. What it has kept proves nothing."""

import copy
from dataclasses import replace

import pytest
from attacked_registry import with_new_checksum
from registry_parts import MemoryStore, OneKey, acceptance, promote, publish, release
from versions import approval_draft, release_draft

from registry import candidates, codec, heads, releases
from registry.chain import KEEP_AFTER
from registry.errors import Corrupt
from registry.heads import FOLD_AFTER, write_head
from registry.marks import mark_after, mark_of
from registry.records import Mark, Release
from registry.signed_store import SignedStore

RELEASES, APPROVALS = "production/digits/releases", "production/digits/approvals"
MANY = 3 * max(KEEP_AFTER, FOLD_AFTER)


class Counted(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self, local):
        super().__init__(local)
        self.read, self.listed = [], []

    def get(self, name):
        self.read.append(name)
        return super().get(name)

    def names(self, folder):
        self.listed.append(folder)
        return super().names(folder)


@pytest.fixture
def store(tmp_path):
    return SignedStore(Counted(tmp_path / "local"), OneKey())


@pytest.fixture
def version(store, tmp_path):
    """One version, promoted once."""
    made = publish(store, tmp_path, "run")
    promote(store, made, "token 0")
    return made


def promoted(store, version, count):
    """So many more promotions and rollbacks, in turns."""
    for _ in range(count // 2):
        promote(store, version, f"token {releases.latest(store, 'digits').number}")
        release(store, version)
    return releases.read_history(store, "digits")


@pytest.fixture(scope="module")
def promoted_often(tmp_path_factory):
    """A registry with a long history, and its only version; see `long`."""
    folder = tmp_path_factory.mktemp("often")
    store = SignedStore(Counted(folder / "local"), OneKey())
    version = publish(store, folder, "run")
    promote(store, version, "token 0")
    promoted(store, version, MANY)
    return store, version


@pytest.fixture
def long(promoted_often, tmp_path):
    """A registry of the test's own in which a version was promoted and rolled back many times, that version, and the history."""
    often, version = promoted_often
    store = SignedStore(Counted(tmp_path / "local"), copy.deepcopy(often.signatures))
    store.unsigned._kept.update(often.unsigned._kept)
    return store, version, releases.read_history(store, "digits")


def asked(store, act):
    """How many records are read, and how many listings are made, meanwhile."""
    store.unsigned.read, store.unsigned.listed = [], []
    act()
    return len(store.unsigned.read), len(store.unsigned.listed)


def alter(store, name, **fields):
    """What somebody writes over a release who can write the registry."""
    kept = store.unsigned._kept
    kept[name] = codec.with_checksum(replace(codec.from_json(Release, kept[name], name), **fields))


def test_what_a_promotion_and_a_rollback_read_does_not_grow_with_the_history(store, version):
    def costs():
        def one():
            known = releases.read_history(store, "digits")
            digest = candidates.manifest_digest(store, "digits", version)
            given = releases.append_approval(
                store, approval_draft("digits", version, digest, f"{len(known.releases)}"), known
            )
            draft = release_draft("digits", version, digest, approval=given.number)
            releases.append_release(store, draft, len(known.releases), known)
            releases.read_history(store, "digits")
            release(store, version)

        costs = [asked(store, one) for _ in range(KEEP_AFTER + 1)]  # now and then what was read is kept
        return max(read for read, _ in costs), max(listed for _, listed in costs)

    read, listed = costs()
    promoted(store, version, MANY)
    more_read, more_listed = costs()
    assert more_listed <= listed
    assert more_read <= read + 6  # the first rounds had not so many of each chain to read


def test_a_history_that_was_kept_is_read_from_its_last_record_on(long):
    store, _, before = long
    read, listed = asked(store, lambda: releases.read_history(store, "digits"))
    assert read <= 2 * KEEP_AFTER
    assert listed == 2
    after = releases.read_history(store, "digits")
    assert (after.releases.bytes, after.approvals.bytes) == (before.releases.bytes, before.approvals.bytes)
    assert store.unsigned.read[-1] == f"{APPROVALS}/{len(after.approvals):06d}.json"  # the last one always is


def test_what_is_new_is_read_and_what_is_long_is_kept(long):
    store, version, _ = long
    kept = len(store.signatures.kept(RELEASES))
    assert MANY - KEEP_AFTER <= kept <= MANY + 1
    assert store.signatures.kept(f"test/digits/{version}/acceptances") == []
    history = promoted(store, version, 2)
    assert [each.number for each in history.releases] == list(range(1, MANY + 4))


@pytest.mark.parametrize("part", [RELEASES, APPROVALS])
def test_a_kept_record_that_was_removed_is_missed(long, part):
    store, _, _ = long
    assert len(store.signatures.kept(part)) > 3
    del store.unsigned._kept[f"{part}/000003.json"]
    with pytest.raises(Corrupt, match=rf"{part}/000003\.json: is missing"):
        releases.read_history(store, "digits")


def test_the_last_record_is_read_and_verified_whatever_was_kept(long):
    store, _, history = long
    count = len(history.releases)
    name = f"{RELEASES}/{count:06d}.json"
    store.signatures.keep(RELEASES, [store.get(f"{RELEASES}/{each:06d}.json") for each in range(1, count + 1)])
    store.unsigned._kept[name] = with_new_checksum(store.get(name).replace(b'"by": "', b'"by": "not '))
    assert releases.read_history(store, "digits").latest.by.startswith("not ")
    store.unsigned._kept[name] = store.get(name).replace(b'"signed_by": "', b'"signed_bx": "')
    with pytest.raises(Corrupt, match=name):
        releases.read_history(store, "digits")


def test_an_altered_record_that_was_kept_as_it_was_changes_no_decision_and_is_found(long):
    store, _, before = long
    name = f"{RELEASES}/000003.json"
    alter(store, name, approval=7, by="eve")
    after = releases.read_history(store, "digits")
    assert list(after.releases) == list(before.releases)
    assert after.release_with(7) == before.release_with(7)
    assert releases.release_chain(store, "digits").check()[1] != []  # what `registry verify` reads
    store.signatures.records.clear()  # another machine
    with pytest.raises(Corrupt, match=f"{RELEASES}/00000[34]"):
        releases.read_history(store, "digits")


@pytest.mark.parametrize("number", [0, 5], ids=["the first", "one in the middle"])
def test_what_was_kept_otherwise_than_it_is_in_the_registry_is_not_used(long, number):
    store, _, before = long
    kept = store.signatures.kept(RELEASES)
    kept[number] = kept[number].replace(b'"by": "', b'"by": "not ')
    assert list(releases.read_history(store, "digits").releases) == list(before.releases)
    assert list(releases.read_history(store, "digits").releases) == list(before.releases)
    assert store.signatures.kept(RELEASES) == before.releases.bytes  # and was kept anew


def test_what_was_kept_of_a_longer_history_is_used_as_far_as_it_goes(long):
    store, _, history = long
    longer = history.releases.bytes
    store.signatures.keep(RELEASES, longer)
    for number in range(MANY - 3, MANY + 2):
        del store.unsigned._kept[f"{RELEASES}/{number:06d}.json"]
    assert releases.release_chain(store, "digits").records().bytes == longer[: MANY - 4]
    with pytest.raises(Corrupt, match="is missing, though a head says"):
        heads.must_be_whole(store, "digits")


def test_a_listing_that_misses_what_is_just_being_written_is_no_gap(long):
    store, _, _ = long
    names = store.unsigned.names
    store.unsigned.names = lambda folder: [each for each in names(folder) if each != "000005.json"]
    assert len(releases.read_history(store, "digits").releases) == MANY + 1


def test_a_chain_is_followed_from_a_mark_without_a_listing(store, version):
    promoted(store, version, 4)
    end = mark_of(store, RELEASES)
    assert end.count == 5
    first = Mark(1, "its digest is not looked at")
    assert (asked(store, lambda: mark_after(store, RELEASES, first)), mark_after(store, RELEASES, first)) == (
        (5, 0),
        end,
    )
    assert (asked(store, lambda: mark_after(store, RELEASES, end)), mark_after(store, RELEASES, end)) == ((1, 0), end)
    assert mark_after(store, RELEASES, Mark(0, "")) == end
    assert mark_after(store, "production/none/releases", Mark(0, "")) == Mark(0, "")


def test_a_head_lists_no_chain_but_its_own(long):
    store, version, _ = long
    candidates.append_acceptance(store, acceptance(store, version))
    store.unsigned.listed = []
    write_head(store, "digits")
    listed = [each for each in store.unsigned.listed if each != "keys"]
    assert listed == ["production/digits/heads", "test/digits", f"test/digits/{version}/acceptances"]
