"""What an API follows of a registry that does not lie on its machine."""

import hashlib
import shutil

import pytest
from registry_parts import FILES, promote, publish, release
from signed_registry import config_of

from pipelines.trust import open_registry
from registry import candidates, heads, releases
from registry.errors import Corrupt, TryAgain
from registry.mirror import KEPT, Mirror
from registry.signed_store import SignedStore
from registry.stores import open_store, signatures_of
from registry.trusted import Memory, Trusted


class Far:
    """The registry as it is reached over a network: each request is counted, and may fail."""

    def __init__(self, store):
        self._store, self.requests, self.works = store, [], lambda request: True

    def _ask(self, verb, name):
        self.requests.append((verb, name))
        if not self.works((verb, name)):
            raise TryAgain("out of reach")
        return getattr(self._store, verb)(name)

    def get(self, name):
        return self._ask("get", name)

    def path(self, name):
        return self._ask("path", name)

    def names(self, folder):
        return self._ask("names", folder)


@pytest.fixture
def config(tmp_path):
    return config_of(tmp_path / "far")


@pytest.fixture
def registry(config):
    store = open_registry(config)
    store.signatures.signer()  # it begins with its first key
    return store


@pytest.fixture
def far(registry):
    return Far(registry.unsigned)


@pytest.fixture
def mirror(far, tmp_path):
    return Mirror(far, "digits", tmp_path / "near")


@pytest.fixture
def near(registry, tmp_path):
    """The copy, as an API reads it that knows the first key."""
    store = open_store(f"file://{tmp_path / 'near'}")
    first = signatures_of(registry).ring.first.id
    return SignedStore(store, Trusted(store, Memory(tmp_path / "memory.json"), (first,)))


def add(registry, tmp_path, number):
    """Another version, promoted."""
    files = FILES | {"model.keras": b"weights %d" % number}
    promote(registry, publish(registry, tmp_path / "runs", f"run-{number}", files=files), f"token-{number}")


def live_folder(near):
    """The folder of what is live, as the API loads it: all of it verified. None when nothing is live."""
    heads.must_be_whole(near, "digits")
    found = releases.latest(near, "digits")
    if found is None or found.version is None:
        return None
    releases.must_be_approved(near, found)
    return candidates.local_folder(near, "production", "digits", found.version, found.card)


def test_what_is_live_can_be_loaded_and_verified_from_the_copy(registry, mirror, near, tmp_path):
    add(registry, tmp_path, 1)
    add(registry, tmp_path, 2)
    assert mirror.update() == 2
    assert (live_folder(near) / "model.keras").read_bytes() == b"weights 2"


def test_each_later_release_comes_with_the_next_update(registry, mirror, near, tmp_path):
    add(registry, tmp_path, 1)
    mirror.update()
    add(registry, tmp_path, 2)
    assert mirror.update() == 2
    assert (live_folder(near) / "model.keras").read_bytes() == b"weights 2"
    release(registry, 1)
    assert mirror.update() == 3
    assert (live_folder(near) / "model.keras").read_bytes() == b"weights 1"
    release(registry, None)
    assert mirror.update() == 4
    assert live_folder(near) is None


def test_what_was_good_before_is_there_for_when_the_newest_does_not_serve(registry, mirror, near, tmp_path):
    add(registry, tmp_path, 1)
    add(registry, tmp_path, 2)
    mirror.update()
    assert (candidates.local_folder(near, "production", "digits", 1) / "model.keras").read_bytes() == b"weights 1"


def test_a_registry_without_releases_gives_none(mirror, registry):
    assert mirror.update() == 0


def test_an_update_without_news_makes_six_requests_however_long_the_history_is(registry, far, mirror, tmp_path):
    asked = []
    for number in (1, 2, 3):
        add(registry, tmp_path, number)
        mirror.update()
        far.requests.clear()
        mirror.update()
        asked.append(len(far.requests))
    assert asked == [6, 6, 6]  # the first key and the newest release, and what would come next in each of four chains


def test_files_that_are_there_are_not_brought_again(registry, far, mirror, tmp_path):
    for number in (1, 2):
        add(registry, tmp_path, number)
    mirror.update()
    far.requests.clear()
    release(registry, 1)
    mirror.update()
    assert [each for each in far.requests if each[0] == "path"] == []


def test_wherever_the_network_ends_the_copy_is_whole_and_the_next_update_completes_it(registry, far, tmp_path):
    add(registry, tmp_path, 1)
    first = signatures_of(registry).ring.first.id
    cut = 0
    while True:
        folder = tmp_path / f"near-{cut}"
        mirror = Mirror(far, "digits", folder)
        far.requests.clear()
        far.works = lambda request: len(far.requests) <= cut  # noqa: B023
        try:
            mirror.update()
            break
        except TryAgain:
            store = open_store(f"file://{folder}")
            near = SignedStore(store, Trusted(store, Memory(folder / "memory.json"), (first,)))
            assert not mirror.newest
            far.works = lambda request: True
            assert mirror.update() == 1
            assert live_folder(near)
        cut += 1
    assert cut > 10


def test_a_release_whose_files_are_lost_comes_all_the_same_for_who_loads_it_to_report(registry, mirror, near, tmp_path):
    add(registry, tmp_path, 1)
    add(registry, tmp_path, 2)
    (tmp_path / "far" / "registry" / "production" / "digits" / "2" / "model.keras").unlink()
    assert mirror.update() == 2
    with pytest.raises(Corrupt, match=r"model\.keras"):
        live_folder(near)
    assert candidates.local_folder(near, "production", "digits", 1)


class TestARegistryThatWasSetBack:
    @pytest.fixture(autouse=True)
    def followed(self, registry, mirror, tmp_path):
        add(registry, tmp_path, 1)
        shutil.copytree(tmp_path / "far", tmp_path / "backup")
        add(registry, tmp_path, 2)
        mirror.update()
        shutil.rmtree(tmp_path / "far")

    def test_is_not_followed_when_releases_are_gone(self, mirror, tmp_path):
        (tmp_path / "backup").rename(tmp_path / "far")
        with pytest.raises(Corrupt, match=r"releases/000002.json: is missing, though it was followed"):
            mirror.update()

    def test_nor_when_another_release_has_taken_the_number(self, config, mirror, tmp_path):
        (tmp_path / "backup").rename(tmp_path / "far")
        add(open_registry(config), tmp_path, 3)
        with pytest.raises(Corrupt, match=r"releases/000002.json: is not the one that was followed"):
            mirror.update()

    def test_nor_when_it_is_a_new_one(self, tmp_path, mirror):
        new = open_registry(config_of(tmp_path / "new"))
        add(new, tmp_path, 1)
        (tmp_path / "new").rename(tmp_path / "far")
        with pytest.raises(Corrupt, match=r"keys/000001.json: is not the one"):
            mirror.update()


def test_the_files_of_versions_that_were_released_long_ago_are_dropped(registry, mirror, near, tmp_path):
    for number in range(1, KEPT + 3):
        add(registry, tmp_path, number)
        mirror.update()
    production = tmp_path / "near" / "production" / "digits"
    assert sorted(each.name for each in production.iterdir() if each.name.isdecimal()) == ["3", "4", "5", "6", "7"]
    kept = [each.read_bytes() for each in (tmp_path / "near" / ".store" / "objects").glob("*/*")]
    assert b"weights 2" not in kept
    assert b"weights 3" in kept
    release(registry, 1)  # it comes again
    mirror.update()
    assert (live_folder(near) / "model.keras").read_bytes() == b"weights 1"


def test_a_store_that_knows_what_has_changed_is_asked_for_changes_only(registry, tmp_path):
    class Knowing(Far):
        """A bucket, which tags its records."""

        def get_unless(self, name, tag):
            data = self.get(name)
            mine = hashlib.sha256(data).hexdigest()
            unchanged.append(name) if tag == mine else changed.append(name)
            return None if tag == mine else (data, mine)

    changed, unchanged = [], []
    mirror = Mirror(Knowing(registry.unsigned), "digits", tmp_path / "near")
    add(registry, tmp_path, 1)
    mirror.update()
    mirror.update()
    changed.clear()
    unchanged.clear()
    mirror.update()
    assert changed == []
    assert len(unchanged) == 2  # the first key, and the newest release
    add(registry, tmp_path, 2)
    assert mirror.update() == 2
