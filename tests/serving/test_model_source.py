"""What the API's workers follow: the newest release, looked for many times a second."""

import shutil
from dataclasses import replace

import pytest
from versions import release_draft

from registry import codec, releases
from registry.errors import TryAgain
from registry.stores import open_store
from serving.job import ServeJob
from serving.model_source import Releases, open_source
from serving.reach import OutOfReach


@pytest.fixture
def root(tmp_path):
    return tmp_path / "registry"


@pytest.fixture
def release(root):
    """Appends the release with this number, whatever is before it."""
    store = open_store(f"file://{root}")
    chain = releases.release_chain(store, "digits")
    return lambda number: store.create(
        chain.name(number), codec.with_checksum(replace(release_draft("digits", None), number=number))
    )


@pytest.fixture
def source(root, tmp_path):
    return Releases(open_store(f"file://{root}"), "digits", 1, tmp_path / "copies")


def test_the_newest_release_is_seen_at_each_look(source, release):
    assert source.newest() == 0
    for number in (1, 2):
        release(number)
        assert source.newest() == number
    for number in (3, 4, 5):
        release(number)
    assert source.newest() == source.newest() == 5


def test_who_comes_late_sees_the_newest_at_once_and_beyond_six_digits(source, release):
    for number in (1, 999_999, 1_000_000):
        release(number)
    assert source.newest() == 1_000_000
    release(1_000_001)
    assert source.newest() == 1_000_001


def test_a_release_that_has_gone_shows(source, release, root):
    for number in (1, 2, 3):
        release(number)
    assert source.newest() == 3
    (root / "production/digits/releases/000003.json").unlink()
    assert source.newest() == 2
    release(3)
    assert source.newest() == 3


def test_a_registry_that_has_gone_is_out_of_reach_and_back_again(release, root, tmp_path):
    release(1)
    source = Releases(open_store(f"file://{root}"), "digits", 1, tmp_path / "copies")
    assert source.newest() == 1
    shutil.move(root, tmp_path / "away")
    with pytest.raises(TryAgain, match="gone"):
        source.newest()
    shutil.move(tmp_path / "away", root)
    assert source.newest() == 1


def test_a_registry_that_something_else_refuses_is_not_said_to_be_replaced(root, tmp_path, monkeypatch):
    """Only one that was in reach when the API started, and is not any more."""
    monkeypatch.setattr("serving.model_source.is_out_of_reach", lambda _folder: True)
    job = ServeJob("digits", registry=f"file://{root}")
    assert open_source(job, tmp_path / "copies").newest() == 0
    with pytest.raises(OutOfReach):
        open_source(job, tmp_path / "copies", in_reach=True).newest()
