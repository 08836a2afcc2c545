"""Versions in a store that is reached over a network and knows its hashes: bytes travel only when they must."""

from hashlib import sha256

import pytest
from registry_parts import FILES, MemoryStore, promote, publish

from registry import candidates, releases, version_files
from registry.errors import Corrupt, TryAgain


class FarStore(MemoryStore):
    """In memory, as far as these rules are concerned a bucket; `travelled` are the names whose bytes somebody asked for."""

    def __init__(self, local):
        super().__init__(local)
        self.travelled, self.brought, self.fails = [], [], {}

    def path(self, name):
        self.travelled.append(name)
        return super().path(name)

    def digest(self, name):
        return sha256(self.get(name)).hexdigest()

    def copy(self, source, target, wanted):
        data = self.get(source)
        if sha256(data).hexdigest() != wanted:
            raise Corrupt(f"{source}: checksum mismatch")
        self.create(target, data)

    def bring(self, names):
        self.brought += names

    def digests(self, names):
        return {name: self.fails.get(name) or self.digest(name) for name in names}

    def alter(self, name, data):
        self._kept[name] = data


@pytest.fixture
def store(tmp_path):
    return FarStore(tmp_path / "local")


@pytest.fixture
def version(store, tmp_path):
    return publish(store, tmp_path, "a-run")


def test_a_promotion_moves_no_bytes(store, version):
    store.travelled.clear()
    releases.copy_to_production(store, "digits", version)
    assert [name for name in store.travelled if name.startswith("production/")] == []
    assert store.get("production/digits/1/model.keras") == FILES["model.keras"]
    assert store.get("production/digits/1/card.json") == store.get("test/digits/1/card.json")
    releases.copy_to_production(store, "digits", version)  # what is there is compared by its hash


def test_a_promotion_finds_what_differs_there_already_and_what_is_missing(store, version):
    store.create("production/digits/1/model.keras", b"something else")
    with pytest.raises(Corrupt, match=r"production/digits/1/model.keras: differs from the manifest"):
        releases.copy_to_production(store, "digits", version)
    del store._kept["test/digits/1/model.tflite"]
    with pytest.raises(Corrupt, match=r"test/digits/1/model.tflite: is missing"):
        releases.copy_to_production(store, "digits", version)


def test_a_local_folder_is_brought_at_once_and_verified(store, version):
    folder = candidates.local_folder(store, "test", "digits", version)
    assert (folder / "model.keras").read_bytes() == FILES["model.keras"]
    assert sorted(store.brought) == [f"test/digits/1/{name}" for name in sorted(FILES)]


def test_what_was_altered_is_found_in_the_store_and_not_in_local_copies(store, version):
    promote(store, version, "token")
    wanted = {f"test/digits/1/{name}": sha256(data).hexdigest() for name, data in FILES.items()}
    assert version_files.altered_there(store, wanted, {}) == []
    store.path("test/digits/1/model.keras")  # a good copy is here
    store.alter("test/digits/1/model.keras", b"others")
    (problem,) = version_files.altered_there(store, wanted, {})
    assert problem.startswith("test/digits/1/model.keras: checksum mismatch")
    store.fails["test/digits/1/model.tflite"] = TryAgain("test/digits/1/model.tflite: no answer")
    assert "test/digits/1/model.tflite: no answer" in version_files.altered_there(store, wanted, {})


def test_a_store_that_is_not_far_away_is_read(tmp_path):
    near = MemoryStore(tmp_path / "local")
    publish(near, tmp_path, "a-run")
    wanted = {f"test/digits/1/{name}": sha256(data).hexdigest() for name, data in FILES.items()}
    assert version_files.altered_there(near, wanted, {}) == []
    near.path("test/digits/1/model.keras").write_bytes(b"others")  # its files are its own
    (problem,) = version_files.altered_there(near, wanted, {})
    assert problem.startswith("test/digits/1/model.keras: checksum mismatch")
