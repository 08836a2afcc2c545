"""Listings of a bucket that lag behind, lack a page or come in another order: no number is taken twice, no head goes back.

Names are asked for one by one where a decision depends on it, and what one creates is created on the condition that it is not
there. So a listing only ever saves requests.
"""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from keyed_registry import AT, Controller
from registry_parts import acceptance, promote, publish, release
from s3_proxy import proxy_before
from versions import release_draft

from registry import candidates, head_changes, heads, releases, s3
from registry.chain import LostRace
from registry.copying import copy
from registry.errors import Corrupt
from registry.keyring import append_key, draft_key
from registry.releases import release_chain
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.signatures import make_key
from registry.signed_store import SignedStore
from registry.store_options import Access
from registry.stores import get_all, missing, open_store, present
from registry.trusted import Memory
from registry.verify import verify

pytestmark = pytest.mark.slow
ENTRY = re.compile(rb"<Contents>.*?</Contents>|<CommonPrefixes>.*?</CommonPrefixes>", re.DOTALL)


@pytest.fixture
def behind(s3_place, s3_server):
    """Opens the test's registry through a proxy that does something to the entries of each page of a listing."""
    url, options = s3_place

    def open_(proxy, change, page=1000, machine=None):
        def to_listing(_number, method, path):
            return changed if method == "GET" and "list-type=2" in path else None

        def changed(status, headers, body):
            kept = iter(change(ENTRY.findall(body)))
            return status, headers, ENTRY.sub(lambda _: next(kept, b""), body)

        endpoint, server = proxy
        server.inject = to_listing
        access = Access(endpoint, "us-east-1")
        Probed(Path(options.cache), access, Place("models", "", "")).remember("a proxy")
        store = open_store(url, replace(options, access=access))
        store._objects.client.meta.events.register(
            "before-parameter-build.s3.ListObjectsV2", lambda params, **_: params.setdefault("MaxKeys", page)
        )
        return machine(store) if machine else store

    with proxy_before(s3_server.endpoint) as proxy:
        yield lambda *words, **more: open_(proxy, *words, **more)


def lagging(*hidden):
    """Entries without those whose keys end in one of these."""
    return lambda entries: [each for each in entries if not key(each).endswith(hidden)]


def key(entry):
    return unquote(re.search(rb"<(?:Key|Prefix)>(.*?)</", entry)[1].decode())


class Pages:
    """Loses the entries of each second page."""

    def __init__(self):
        self.seen = 0

    def __call__(self, entries):
        self.seen += 1
        return entries if self.seen % 2 else []


@pytest.fixture
def two_releases(s3_store, tmp_path):
    """A signed registry with two versions, both released."""
    store, signer = s3_store, make_key()
    append_key(store, draft_key("made", signer.public, {}, by="ada", at=AT, reason=""), signer, 0)

    def machine(store, name="another"):
        """As a machine with this name opens it."""
        return SignedStore(store, Controller(store, signer, Memory(tmp_path / f"{name}.json")))

    signed = machine(store, "first")
    signed.machine = machine
    for number in (1, 2):
        promote(signed, publish(signed, tmp_path, f"run-{number}"), f"token {number}")
    return signed


def test_what_a_listing_does_not_show_yet_is_neither_taken_again_nor_forgotten(behind, two_releases):
    newest = heads.newest(two_releases, "digits")
    store = behind(lagging("releases/000002.json", "approvals/000002.json", f"heads/{newest.number:06d}.json",
                           "test/digits/2/", "acceptances/000001.json", "keys/000001.json"))  # fmt: skip
    first, another = (two_releases.machine(store, name) for name in ("first", "another"))
    for each in (first, another):
        assert releases.latest(each, "digits").number == 2
        assert len(releases.read_history(each, "digits").releases) == 2
        assert candidates.newest(each, "digits") == 2
        assert heads.newest(each, "digits") == heads.write_head(each, "digits") == newest
    assert candidates.claim(another, "digits", "another run") == 3
    assert candidates.append_acceptance(another, acceptance(another, 2)).number == 2
    assert release(another, 1).number == 3
    assert heads.newest(first, "digits").release == 3
    assert verify(two_releases) == []


def test_numbers_that_no_listing_shows_are_skipped_and_written_down_once(behind, two_releases, tmp_path):
    store = behind(lagging("/"))
    for _ in range(2):
        assert candidates.claim(store, "digits", "another run") == 3
    assert [candidates.claimed_by(two_releases, "digits", number) for number in (1, 2, 3)] == [
        "run-1", "run-2", "another run"
    ]  # fmt: skip
    assert two_releases.names("test/digits/runs/another run") == ["1.json", "2.json", "3.json"]


def test_who_decides_by_an_older_state_is_refused_as_the_number_is_taken(behind, two_releases):
    store = two_releases.machine(behind(lagging("releases/000002.json")))
    store.unsigned.present = lambda _names: set()  # a server that lags behind in all that it says of names
    assert releases.latest(store, "digits").number == 1
    with pytest.raises(LostRace, match="was released by a concurrent writer") as error:
        release(store, 1)
    assert error.value.exit_code == 75
    assert [each.version for each in releases.releases(two_releases, "digits")] == [1, 2]


@pytest.fixture
def many(s3_store, monkeypatch):
    """Twelve records of a chain, of which pages of three are listed."""
    monkeypatch.setattr(s3, "SINGLE", 2)
    chain = release_chain(s3_store, "digits")
    for number in range(12):
        chain.append(release_draft("digits", 1, "c", approval=number + 1), number)
    return chain


@pytest.mark.parametrize(
    "change", [Pages, lambda: lambda entries: entries[::-1]], ids=["a page is lost", "in another order"]
)
def test_a_history_is_read_whole_whatever_its_listing_lacks(behind, many, change):
    chain = release_chain(behind(change(), page=3), "digits")
    assert chain.last() == 12
    assert chain.last(known=5) == 12
    assert [each.number for each in chain.records()] == list(range(1, 13))
    names = [chain.name(number) for number in range(1, 13)]
    assert get_all(chain.store, names) == [many.store.get(name) for name in names]
    assert missing(chain.store, [*names, chain.name(13)]) == [chain.name(13)]
    assert chain.append(release_draft("digits", 1, "c", approval=13), chain.last()).number == 13


def test_pages_in_another_order_are_the_same_names(behind, many):
    store = behind(lambda entries: entries[::-1], page=3)
    names = many.store.names("production/digits/releases")
    assert store.names("production/digits/releases") == names
    assert store.names_after("production/digits/releases", names[4]) == names[5:]
    paths = [f"production/digits/releases/{name}" for name in names]
    assert present(store, paths) == set(paths)


def test_a_version_that_a_listing_has_lost_is_not_reported_as_removed(behind, two_releases, monkeypatch):
    monkeypatch.setattr(s3, "SINGLE", 1)
    monkeypatch.setattr(s3, "SCATTERED", 1)
    store = behind(Pages(), page=2, machine=two_releases.machine)
    heads.write_head(store, "digits")
    releases.copy_to_production(store, "digits", 2)
    known = heads._known(store, "digits", store.signatures)[1]
    assert head_changes.changed_versions(store, "digits", known) == []
    two_releases.unsigned._objects.remove("test/digits/1/card.json")
    with pytest.raises(Corrupt, match=r"test/digits/1/card\.json"):
        head_changes.changed_versions(store, "digits", known)


def test_a_copy_of_a_registry_whose_end_was_not_listed_does_not_pass_for_whole(behind, two_releases, tmp_path):
    source = behind(lagging("releases/000002.json"))
    target = open_store(f"file://{tmp_path / 'copy'}")
    copy(source, target)
    assert "releases/000002.json: is missing, though a head says" in "\n".join(verify(two_releases.machine(target)))
    assert copy(two_releases.unsigned, target).copied == 1
    assert verify(two_releases.machine(target)) == []
