"""The lists of a dataset's files and keys: what is in them is found, what is not is not, and damage shows."""

import gzip
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import dataset_lists as lists
from registry.errors import Corrupt

DATASET = "d" * 64
NAMES = {"a b.csv": b"1", "cat/x.png": b"2", "cat/line\nfeed.png": b"3", "ü\\.txt": b""}


def written(folder):
    for name, data in NAMES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_every_file_is_listed_with_its_size_and_its_digest(tmp_path):
    found = lists.list_files(written(tmp_path), {})
    assert [each.path for each in found] == sorted(NAMES)
    assert {each.path: each.sha256 for each in found} == {
        name: hashlib.sha256(data).hexdigest() for name, data in NAMES.items()
    }
    assert {each.path: each.bytes for each in found} == {name: len(data) for name, data in NAMES.items()}


def test_what_was_hashed_before_is_not_read_again(tmp_path):
    found = lists.list_files(written(tmp_path), {"cat/x.png": ("f" * 64, 7)})
    assert next(each for each in found if each.path == "cat/x.png") == ("f" * 64, 7, "cat/x.png")


def test_links_and_what_git_keeps_for_itself_are_not_files_of_the_dataset(tmp_path):
    (written(tmp_path) / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    (tmp_path / "link").symlink_to("a b.csv")
    assert [each.path for each in lists.list_files(tmp_path, {})] == sorted(NAMES)


def test_a_list_of_files_is_read_as_it_was_written_and_always_has_the_same_bytes(tmp_path):
    files = lists.list_files(written(tmp_path), {})
    packed = [lists.pack(lists.files_text(files)) for _ in range(2)]
    assert packed[0] == packed[1]
    path = tmp_path / lists.FILES
    path.write_bytes(packed[0])
    assert list(lists.read_files(path)) == files
    assert len(gzip.decompress(packed[0]).splitlines()) == len(files), "one line per file"


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(b"two words\n", mtime=0), gzip.compress(b'a 1 "x"\n' * 9, mtime=0)[:-9]]
)
def test_a_damaged_list_of_files_is_named(tmp_path, data):
    path = tmp_path / lists.FILES
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"dataset\.files\.gz"):
        list(lists.read_files(path))


@given(keys=st.sets(st.text(max_size=8), max_size=30), other=st.text(max_size=8))
def test_just_the_keys_that_were_given_are_found(keys, other, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / lists.KEYS
    data, count = lists.keys_bytes(DATASET, {"train": {"row": keys}, "holdout": {"group": ["g"]}})
    path.write_bytes(data)
    assert count == len(keys) + 1
    assert all(("train", "row") in lists.splits_with(path, DATASET, key) for key in keys)
    assert (("train", "row") in lists.splits_with(path, DATASET, other)) == (other in keys)
    assert ("holdout", "group") in lists.splits_with(path, DATASET, "g")


def test_a_list_holds_no_key_and_no_more_than_eight_bytes_of_each():
    data, _ = lists.keys_bytes(DATASET, {"train": {"row": [f"patient-{i}" for i in range(1000)]}})
    assert b"patient" not in data
    assert len(data) < 1000 * 8 + 100


def test_the_same_key_is_another_entry_in_other_data_and_as_a_group():
    entries = {lists.key_digest(data, kind, "ada") for data in (DATASET, "e" * 64) for kind in lists.KINDS}
    assert len(entries) == 4


@pytest.mark.parametrize("data", [b"", b"trainyard-keys 1 train=2\n12345678", b"trainyard-keys 2 train=1\n12345678"])
def test_a_damaged_list_of_keys_is_named(tmp_path, data):
    path = tmp_path / lists.KEYS
    path.write_bytes(data)
    with pytest.raises(Corrupt, match=r"dataset\.keys"):
        lists.splits_with(path, DATASET, "ada")
