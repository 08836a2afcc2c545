"""A registry is copied between stores of all kinds, and is the same registry there."""

import shutil

import pytest
from registry_parts import MemoryStore, promote, publish
from signed_registry import build, config_of

from pipelines.trust import open_registry
from registry.copying import copy, is_file
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.signed_store import SignedStore
from registry.stores import open_store, signatures_of, walk
from registry.trusted import Memory, Trusted
from registry.verify import inspect


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def registry(built, tmp_path):
    """A signed registry with a bit of everything, as its controller opens it."""
    shutil.copytree(built, tmp_path / "one", symlinks=True)
    shutil.rmtree(tmp_path / "one" / "home" / "keys" / "registries")
    config = config_of(tmp_path / "one")
    first = signatures_of(open_registry(config_of(built))).ring.first.id
    store = open_store(config.registry.url)
    return SignedStore(store, Trusted(store, Memory(tmp_path / "memory.json"), (first,)))


def problems(store, registry, tmp_path):
    """What verify says of a copy, by the first key of the registry that was copied."""
    first = signatures_of(registry).ring.first.id
    return inspect(SignedStore(store, Trusted(store, Memory(tmp_path / "copy.json"), (first,)))).problems


def everything(store):
    return {name: store.get(name) for name in walk(store, "")}


def test_a_copy_has_the_same_bytes_under_the_same_names_and_verifies(store, registry, tmp_path):
    """In a folder, in memory, and in a bucket."""
    done = copy(registry.unsigned, store)
    assert everything(store) == everything(registry.unsigned)
    assert (done.copied, done.there) == (len(walk(store, "")), 0)
    assert problems(store, registry, tmp_path) == ()
    back = open_store(f"file://{tmp_path / 'back'}")
    copy(store, back)
    assert everything(back) == everything(registry.unsigned)
    assert problems(back, registry, tmp_path) == ()


def test_equal_files_are_kept_once_there_too(registry, tmp_path):
    target = open_store(f"file://{tmp_path / 'two'}")
    copy(registry.unsigned, target)
    kept = [len(list((tmp_path / each / ".store" / "objects").glob("*/*"))) for each in ("one/registry", "two")]
    assert kept[0] == kept[1] > 3


class Dies(MemoryStore):
    """Its disk is full after so many files."""

    room = 0

    def create(self, name, data, sha256=""):
        if not self.room:
            raise TryAgain("the disk is full")
        self.room -= 1
        super().create(name, data, sha256)


def test_what_was_interrupted_is_no_registry_and_the_same_call_completes_it(registry, tmp_path):
    target, total = Dies(tmp_path / "local"), len(walk(registry.unsigned, ""))
    calls = 0
    while True:
        target.room = 7
        calls += 1
        try:
            done = copy(registry.unsigned, target)
            break
        except TryAgain:
            assert not target.names("keys")
    assert calls > 3
    assert done.copied + done.there == total
    assert everything(target) == everything(registry.unsigned)


def test_a_second_copy_brings_what_is_new(registry, tmp_path):
    source, target = registry.unsigned, MemoryStore(tmp_path / "local")
    copy(source, target)
    promote(source, publish(source, tmp_path, "another-run", model="other"), "token-9", model="other")
    done = copy(source, target)
    assert 0 < done.copied < done.there
    assert everything(target) == everything(source)


def test_a_target_that_holds_something_else_is_refused_before_anything_is_written(registry, tmp_path):
    target = MemoryStore(tmp_path / "local")
    target.create("production/other/releases/000001.json", b"{}")
    before = everything(target)
    with pytest.raises(ConfigError, match=r"holds what the registry to copy does not: production/other"):
        copy(registry.unsigned, target)
    assert everything(target) == before


def test_a_target_with_another_record_under_the_same_name_is_refused(registry, tmp_path):
    target = MemoryStore(tmp_path / "local")
    target.create("keys/000001.json", b"{}")
    with pytest.raises(Corrupt, match=r"keys/000001.json: differs in the target"):
        copy(registry.unsigned, target)


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="to copy is empty"):
        copy(MemoryStore(tmp_path / "a"), MemoryStore(tmp_path / "b"))


def test_files_that_were_altered_on_the_way_show_when_the_copy_is_verified(registry, tmp_path):
    target = open_store(f"file://{tmp_path / 'two'}")
    copy(registry.unsigned, target)
    path = tmp_path / "two" / "test" / "digits" / "1" / "model.keras"
    path.chmod(0o644)
    path.write_bytes(b"others")
    assert any("test/digits/1/model.keras" in each for each in problems(target, registry, tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test/m/1/model.keras", True),
        ("test/m/1/saved_model/variables/data", True),
        ("production/m/12/model.tflite", True),
        ("production/m/12/card.json", True),
        ("test/m/1/card.json", False),
        ("test/m/1/claim.json", False),
        ("test/m/1/acceptances/000001.json", False),
        ("test/m/runs/r/1.json", False),
        ("test/m/attestations/1/model.sig", False),
        ("production/m/releases/000001.json", False),
        ("keys/000001.json", False),
    ],
)
def test_records_and_files_are_distinguished_by_their_names(name, expected):
    assert is_file(name) is expected
