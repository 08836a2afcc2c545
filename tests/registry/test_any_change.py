"""In a signed registry any single change shows: a bit flipped, a file removed, a file or folder added, wherever it is.

What does not show is named here. And a record after the newest head that anybody has seen may be gone, too: in this
registry the last head was written after the last record, as a mail does.
"""

import re
from pathlib import Path

import pytest
from attested import attested
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_parts import acceptance, promote, publish, release
from signed_registry import config_of

from pipelines.trust import open_registry
from registry import candidates, heads
from registry.verify import inspect

SPARE = (
    r"\.store/objects/.*",  # the store's second name of bytes: a note, for whatever has the other one
    r"test/digits/3/claim\.json",  # of a number that was asked for and not used: a note
)
NOT_YET_ANYTHING = {
    "file": (
        r"\.store/unfinished/.*",  # what a writer is just writing, or a killed one has left
        r"test/digits/3/.*",  # the same in a version without a manifest
    ),
    "folder": (  # empty, a note: a killed writer may have left it
        r"(production|test)/[^/]+",
        r"test/digits/runs/[^/]+",
        r"test/digits/9",
        r"test/digits/3/[^/]+",
    ),
}
NAMES = ("000009.json", "9", ".hidden", "attestation.json", "a" * 64)


class Small:
    """The registry, and what a controller says of it that has seen its last head. Whoever changes it restores it."""

    def __init__(self, folder: Path) -> None:
        self.config, self.root = config_of(folder), folder / "registry"
        store = open_registry(self.config)
        for number in (1, 2):
            files = {"model.keras": b"weights %d" % number, "saved_model/data": b"variables"}
            attested(store, folder, f"run-{number}", publish(store, folder, f"run-{number}", files=files))
            candidates.append_acceptance(store, acceptance(store, number))
            promote(store, number, f"token-{number}")
        release(store, 1, by="bob")
        candidates.claim(store, "digits", "begun")
        heads.write_head(store, "digits")
        assert self.problems() == ()

    def problems(self):
        return inspect(open_registry(self.config)).problems

    def all(self, kind):
        return sorted(path for path in (self.root, *self.root.rglob("*")) if kind(path))

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Small(tmp_path_factory.mktemp("small"))


ANY_BIT = given(where=st.floats(0, 1, exclude_max=True), which=st.integers(0))


@settings(max_examples=15)
@ANY_BIT
def test_any_bit_that_is_flipped_is_reported(small, where, which):
    assert_is_reported(small, where, which)


@pytest.mark.long
@settings(max_examples=400)
@ANY_BIT
def test_each_of_many_bits_that_are_flipped_is_reported(small, where, which):
    assert_is_reported(small, where, which)


def assert_is_reported(small, where, which):
    files = small.all(Path.is_file)
    path = files[which % len(files)]
    whole = path.read_bytes()
    bit = int(where * len(whole) * 8)
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    rewrite(path, bytes(flipped))
    try:
        assert small.problems(), (small.name(path), bit)
    finally:
        rewrite(path, whole)


def test_any_file_that_is_removed_is_reported(small, tmp_path):
    unseen = []
    for path in small.all(Path.is_file):
        kept = path.rename(tmp_path / "kept")
        if not small.problems():
            unseen.append(small.name(path))
        kept.rename(path)
    assert_just(unseen, SPARE)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_added_anywhere_is_reported(small, kind):
    """In every folder under one of the names."""
    for index, folder in enumerate(small.all(Path.is_dir)):
        path = folder / NAMES[index % len(NAMES)]
        if not path.exists():
            assert added(small, path, kind) or allowed(small.name(path), NOT_YET_ANYTHING[kind]), small.name(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_added_anywhere_under_any_of_these_names_is_reported(small, kind):
    tried = [each / name for each in small.all(Path.is_dir) for name in NAMES if not (each / name).exists()]
    assert len(tried) > 150
    assert_just([small.name(path) for path in tried if not added(small, path, kind)], NOT_YET_ANYTHING[kind])


def added(small, path, kind):
    """What is said while it is there."""
    if kind == "file":
        path.write_bytes(b"by hand")
        path.chmod(0o444)
    else:
        path.mkdir()
    problems = small.problems()
    path.unlink() if kind == "file" else path.rmdir()
    return problems


def allowed(name, patterns):
    return any(re.fullmatch(each, name) for each in patterns)


def assert_just(unseen, patterns):
    """What was not reported is what may be, and there is nothing in the list that would be reported."""
    assert not [name for name in unseen if not allowed(name, patterns)], unseen
    assert not [each for each in patterns if not any(re.fullmatch(each, name) for name in unseen)], unseen


def rewrite(path, data):
    """In place: all names of the file see it."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
