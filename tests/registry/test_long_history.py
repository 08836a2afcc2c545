"""In a bucket a release asks for as much with thousands of versions as with ten, and still notices what was lost."""

import random

import pytest
from registry_parts import MemoryStore, OneKey, acceptance, promote, publish, release

from registry import candidates, chain, head_changes, heads, releases
from registry.errors import Corrupt
from registry.head_changes import GONE
from registry.heads import must_be_whole, write_head
from registry.signed_store import SignedStore

PAGE = 10
MANY = 40


class Paged(MemoryStore):
    """As a bucket: each page of a listing is a request, and so is every name that is asked for."""

    def __init__(self, local):
        super().__init__(local)
        self.asked = 0

    def get(self, name):
        self.asked += 1
        return super().get(name)

    def names(self, folder):
        found = super().names(folder)
        self.asked += 1 + len(found) // PAGE
        return found

    def names_after(self, folder, name, most=0):
        found = [each for each in super().names(folder) if each > name]
        found = found[:most] if most else found
        self.asked += 1 + len(found) // PAGE
        return found

    def get_all(self, names):
        return [self.get(name) for name in names]

    def present(self, names):
        wanted = list(names)
        self.asked += len(wanted)
        return {name for name in wanted if name in self._kept}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(chain, "PAGE", PAGE)
    monkeypatch.setattr(chain, "PAGES", 4)
    monkeypatch.setattr(head_changes, "ALL", 4)
    monkeypatch.setattr(head_changes, "NEWEST", 3)


@pytest.fixture
def store(tmp_path):
    return SignedStore(Paged(tmp_path / "local"), OneKey())


@pytest.fixture
def many(store, tmp_path):
    """A registry of many versions that were all released, and what is known of it here."""
    grow(store, tmp_path, MANY)
    return store


def grow(store, folder, until):
    for number in range(len(candidates.numbers(store, "digits")) + 1, until + 1):
        promote(store, publish(store, folder, f"run-{number}", files={"model": b"1"}), f"token {number}")


def lose(store, name):
    return store.unsigned._kept.pop(name)


def requests(store, act):
    before = store.unsigned.asked
    act()
    return store.unsigned.asked - before


def test_list_promote_and_rollback_ask_for_no_more_with_a_long_history(store, tmp_path):
    asked = {}
    for count in (MANY, 3 * MANY):
        grow(store, tmp_path, count)
        publish(store, tmp_path, f"newest {count}", files={"model": b"1"})
        asked[count] = [
            requests(store, lambda: candidates.newest_versions(store, "digits", 20)),
            requests(store, lambda count=count: promote(store, count + 1, f"token of {count}")),
            requests(store, lambda: release(store, 7)),
            requests(store, lambda: releases.read_history(store, "digits")),
        ]
        grow(store, tmp_path, count + 1)
    listed, promoted, rolled_back, read = zip(*asked.values(), strict=True)
    assert listed[0] == listed[1]
    for few, more in (promoted, rolled_back, read):
        # What is new since this machine has kept a history is read, and that is at most so much; and as many pages are listed.
        assert more <= few + chain.KEEP_AFTER + heads.FOLD_AFTER + chain.PAGES, asked


def test_the_newest_versions_are_those_that_a_whole_listing_shows(many, tmp_path):
    claimed = candidates.claim(many, "digits", "not published")
    newest = publish(many, tmp_path, "another", files={"model": b"1"})
    assert candidates.newest_versions(many, "digits", 5) == [newest, *range(claimed - 1, claimed - 5, -1)]
    lose(many, f"test/digits/{newest}/card.json")
    assert candidates.newest_versions(many, "digits", 5)[0] == claimed - 1
    assert candidates.newest_versions(many, "digits", 1000) == sorted(candidates.versions(many, "digits"), reverse=True)


@pytest.mark.parametrize("part", ["releases", "approvals", "heads"])
def test_a_lost_end_shows_at_once(many, part):
    lose(many, f"production/digits/{part}/{MANY:06d}.json")
    with pytest.raises(Corrupt, match=rf"{part}/{MANY:06d}\.json"):
        must_be_whole(many, "digits")
    with pytest.raises(Corrupt, match=rf"{part}/{MANY:06d}\.json"):
        write_head(many, "digits", [1])


def test_a_lost_record_in_the_middle_shows_at_once(many):
    lose(many, "production/digits/releases/000013.json")
    with pytest.raises(Corrupt, match=r"releases/000013\.json: is missing"):
        releases.releases(many, "digits")


def test_in_a_chain_of_many_pages_a_lost_record_shows_when_its_page_is_looked_at(many, monkeypatch):
    monkeypatch.setattr(chain, "PAGES", 2)
    kept = len(many.signatures.kept("production/digits/releases"))
    assert kept > 3 * PAGE
    lose(many, "production/digits/releases/000013.json")
    monkeypatch.setattr(random, "sample", lambda starts, count: [starts[0], starts[-1]][:count])
    assert len(releases.releases(many, "digits")) == MANY
    monkeypatch.setattr(random, "sample", lambda starts, count: list(starts[:count]))
    with pytest.raises(Corrupt, match=r"releases/000013\.json: is missing"):
        releases.releases(many, "digits")


def test_in_a_chain_of_many_pages_a_lost_record_shows_within_a_few_commands(many, monkeypatch):
    monkeypatch.setattr(chain, "PAGES", 1)
    lose(many, "production/digits/releases/000013.json")
    random.seed(1)

    def shows():
        try:
            releases.releases(many, "digits")
        except Corrupt:
            return True
        return False

    assert sum(shows() for _ in range(40)) > 3


def test_versions_that_were_published_since_the_last_head_are_in_the_next(many, tmp_path):
    late = candidates.claim(many, "digits", "late")
    new = [publish(many, tmp_path, f"new {each}", files={"model": b"1"}) for each in range(12)]
    write_head(many, "digits", [])
    assert heads.head_chain(many, "digits").read(MANY + 1).versions.keys() == {str(each) for each in new}
    assert publish(many, tmp_path, "late", files={"model": b"1"}) == late
    write_head(many, "digits", [late])
    assert heads.head_chain(many, "digits").read(MANY + 2).versions.keys() == {str(late)}


def test_a_test_of_an_old_version_is_in_the_head_that_is_about_it_and_in_the_one_of_a_mail(many):
    for version in (5, 6):
        candidates.append_acceptance(many, acceptance(many, version))
    release(many, 5)
    assert heads.head_chain(many, "digits").read(MANY + 1).versions.keys() == {"5"}
    write_head(many, "digits")
    assert heads.head_chain(many, "digits").read(MANY + 2).versions.keys() == {"6"}


@pytest.mark.parametrize("version", [9, MANY])
def test_no_head_is_written_over_the_lost_version_that_it_is_about_or_one_of_the_newest(many, version):
    lose(many, f"test/digits/{version}/card.json")
    with pytest.raises(Corrupt, match=f"test/digits/{version}/card.json: {GONE}"):
        write_head(many, "digits", [9])


def test_a_lost_old_version_does_not_prevent_a_release_and_shows_at_the_next_mail(many):
    lose(many, "test/digits/9/card.json")
    release(many, 5)
    with pytest.raises(Corrupt, match=f"test/digits/9/card.json: {GONE}"):
        write_head(many, "digits")


def test_a_machine_that_knows_nothing_reads_all(many):
    other = SignedStore(many.unsigned, OneKey())
    assert len(releases.releases(other, "digits")) == MANY
    assert candidates.newest_versions(other, "digits", 3) == [MANY, MANY - 1, MANY - 2]
    must_be_whole(other, "digits")
    assert write_head(other, "digits", [1]) == many.signatures.seen("digits")


@pytest.mark.parametrize("known", [1, 8, MANY, MANY + 3])
def test_the_last_number_is_the_same_whatever_is_known(many, known):
    for lost in (None, MANY, 8):
        if lost:
            lose(many, f"production/digits/releases/{lost:06d}.json")
        made = releases.release_chain(many, "digits")
        assert made.last(known) == made.last() == made.numbers()[-1]


def test_names_of_seven_digits_are_listed_from_the_start(many):
    made = releases.release_chain(many, "digits")
    for number in (999_998, 999_999, 1_000_000, 1_000_001):
        many.unsigned._kept[made.name(number)] = b""
    for known in (900_000, 999_998, 999_999, 1_000_000):
        assert made.last(known) == 1_000_001
