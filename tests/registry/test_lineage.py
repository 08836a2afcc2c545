"""Backwards: which versions a file or a row went into, also by the weights that they began with."""

import pytest
from lineage_parts import publish_with_data
from registry_parts import FILES, publish

from registry import dataset_lists, lineage
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.lineage import Use
from registry.stores import open_store

OLD, NEW = b"first scanner", b"second scanner"


@pytest.fixture
def store(tmp_path):
    """1: old data; 2: before there were lists; 3: new data, fine-tuned from 1; 4: new data from scratch."""
    store = open_store(f"file://{tmp_path / 'registry'}")
    publish_with_data(store, tmp_path, "one", {"a.csv": OLD}, {"train": ["ada"], "holdout": ["bob"]})
    publish_with_data(store, tmp_path, "two", None)
    publish_with_data(store, tmp_path, "three", {"b.csv": NEW}, {"train": ["cy"], "holdout": []}, parent=1, base=1)
    publish_with_data(store, tmp_path, "four", {"b.csv": NEW, "copy.csv": NEW}, {"validation": ["cy"]}, base=3)
    return store


def test_a_file_is_found_by_its_bytes_and_through_fine_tuning(store):
    found = lineage.uses_of_file(store, "digits", sha256_bytes(OLD))
    assert found.uses == (Use(1, ("a.csv",), ()), Use(3, (), (1,)))
    assert found.unknown == (2,)
    again = lineage.uses_of_file(store, "digits", sha256_bytes(NEW))
    assert again.uses == (Use(3, ("b.csv",), ()), Use(4, ("b.csv", "copy.csv"), ()))


def test_a_row_is_found_with_its_split(store):
    assert lineage.uses_of_key(store, "digits", "ada").uses == (Use(1, ("train: row",), ()), Use(3, (), (1,)))
    assert lineage.uses_of_key(store, "digits", "cy").uses == (
        Use(3, ("train: row",), ()),
        Use(4, ("validation: row",), ()),
    )


def test_a_row_of_the_holdout_taught_nobody(store):
    assert lineage.uses_of_key(store, "digits", "bob").uses == (Use(1, ("holdout: row",), ()),)


def test_what_nobody_has_is_found_nowhere(store):
    found = lineage.uses_of_key(store, "digits", "eve")
    assert (found.uses, found.unknown) == ((), (2,))


def test_a_script_was_given_the_weights_of_the_version_it_retrained(store, tmp_path):
    version = publish_with_data(store, tmp_path, "five", {"c.csv": b"c"}, how="command", base=1)
    assert Use(version, (), (1,)) in lineage.uses_of_file(store, "digits", sha256_bytes(OLD)).uses


def test_a_version_without_keys_is_not_known_rather_than_free_of_them(store, tmp_path):
    version = publish_with_data(store, tmp_path, "five", {"c.csv": b"c"}, keys=None)
    assert lineage.uses_of_key(store, "digits", "ada").unknown == (2, version)


@pytest.mark.parametrize("name", [dataset_lists.FILES, dataset_lists.KEYS])
def test_a_list_that_is_not_that_of_the_manifest_is_not_believed(store, name):
    path = store.path(f"test/digits/1/{name}")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    ask = lineage.uses_of_file if name == dataset_lists.FILES else lineage.uses_of_key
    with pytest.raises(Corrupt, match=name):
        ask(store, "digits", "0" * 64)
    path.unlink()
    with pytest.raises(Corrupt, match="is missing"):
        ask(store, "digits", "0" * 64)


def test_versions_that_name_each_other_do_not_go_round_for_ever():
    assert list(lineage.ancestors({1: 2, 2: 1}, 1)) == [2]
    assert list(lineage.ancestors({1: 2, 2: 3, 3: 2}, 1)) == [2, 3]


def test_a_file_of_a_team_that_is_called_like_a_list_is_not_one(store, tmp_path):
    files = FILES | {dataset_lists.FILES: b"mine", dataset_lists.KEYS: b"mine"}
    version = publish(store, tmp_path, "before there were lists", files=files)
    assert version in lineage.uses_of_file(store, "digits", sha256_bytes(OLD)).unknown
    assert version in lineage.uses_of_key(store, "digits", "ada").unknown
