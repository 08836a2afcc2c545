"""What the API's workers follow: the newest release, looked for many times a second."""

import shutil
from dataclasses import replace

import pytest
from registry_parts import make_card, promote, publish, write_files
from registry_parts import release as append
from versions import release_draft

from registry import codec, releases
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.files import sha256_file
from registry.stores import open_store
from registry.trusted import UNSIGNED
from serving import model_source
from serving.job import ServeJob
from serving.known_good import Live
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


def loader(tmp_path):
    """Loads what a source has found; tests replace what does."""
    return lambda folder, release: model_source.load(folder, release, 1, tmp_path / "copies", bounds=None)


@pytest.fixture
def source(root, tmp_path):
    return Releases(open_store(f"file://{root}"), "digits", loader(tmp_path))


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


def test_a_look_lists_no_folder_while_the_newest_release_is_there(source, release, root, monkeypatch):
    listed, names = [], source._store.names
    monkeypatch.setattr(source._store, "names", lambda folder: listed.append(folder) or names(folder))
    release(1)
    assert source.newest() == 1
    assert listed
    listed.clear()
    release(2)
    assert [source.newest(), source.newest()] == [2, 2]
    assert listed == []
    (root / "production/digits/releases/000002.json").unlink()
    assert source.newest() == 1
    assert listed


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
    source = Releases(open_store(f"file://{root}"), "digits", loader(tmp_path))
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


class TestWhatIsLive:
    @pytest.fixture
    def store(self, root, tmp_path):
        """Version 1 and 2 were promoted."""
        store = open_store(f"file://{root}")
        for number in (1, 2):
            promote(store, publish(store, tmp_path, f"run{number}"), f"token{number}")
        return store

    @pytest.fixture
    def loaded(self, monkeypatch):
        """What was given to the engines."""
        given = []
        monkeypatch.setattr(model_source, "load", lambda *args, bounds: given.append((*args, bounds)))
        return given

    def test_nothing_is_before_the_first_release(self, source):
        assert source.find(0) is None
        assert source.before(1) is None
        with pytest.raises(Corrupt, match="release 1 cannot be read"):
            source.find(1)

    def test_it_is_the_version_of_the_newest_release_by_its_manifest(self, store, source):
        newest = releases.latest(store, "digits")
        assert source.find(0) == source.find(2) == Live(2, 2, newest.card)

    def test_a_release_that_was_seen_and_cannot_be_found_is_no_reason_to_serve_an_older_one(self, store, source):
        with pytest.raises(Corrupt, match="production/digits/releases: release 3 cannot be read"):
            source.find(3)

    def test_after_a_withdrawal_nothing_is(self, store, source):
        append(store, None)
        assert source.find(3) is None

    def test_before_a_release_that_fails_it_was_the_last_good_one(self, store, source):
        assert source.before(2) == Live(1, 1, releases.releases(store, "digits")[0].card)
        assert source.before(1) is None
        append(store, None)
        assert source.before(3) == source.before(2)  # the withdrawal says that release 2 has failed

    def test_it_is_loaded_from_production_with_the_manifest_of_the_release(self, store, source, root, tmp_path, loaded):
        source.load(source.find(2))
        assert loaded == [(root / "production/digits/2", 2, 1, tmp_path / "copies", None)]

    @pytest.mark.parametrize("other", [{"version": 1}, {"card": "0" * 64}])
    def test_what_the_release_does_not_make_live_is_not_loaded(self, store, source, loaded, other):
        with pytest.raises(Corrupt, match=r"it does not make version \d live"):
            source.load(replace(source.find(2), **other))
        assert loaded == []

    def test_a_withdrawal_makes_no_version_live(self, store, source, loaded):
        before = source.find(2)
        append(store, None)
        with pytest.raises(Corrupt, match="it does not make version 2 live"):
            source.load(replace(before, release=3))
        assert loaded == []

    def test_without_signatures_an_approval_proves_nothing_and_is_not_asked_for(
        self, store, source, root, tmp_path, loaded
    ):
        releases.copy_to_production(store, "digits", publish(store, tmp_path, "run3"))
        append(store, 3)
        source.load(source.find(3))
        assert [args[1] for args in loaded] == [3]

    def test_a_registry_without_signatures_is_called_so(self, source):
        assert source.verified() == UNSIGNED


class TestOneVersion:
    """Of an acceptance test."""

    @pytest.fixture
    def folder(self, tmp_path):
        card = make_card(7, "run", write_files(tmp_path / "version"))
        (tmp_path / "version/card.json").write_bytes(codec.with_checksum(card))
        return tmp_path / "version"

    @pytest.fixture
    def one(self, folder, tmp_path):
        return open_source(ServeJob("digits", folder=str(folder), threads=3), tmp_path / "copies")

    def test_is_the_only_one_that_there_is_and_belongs_to_no_release(self, one, folder):
        assert one.newest() == 1
        assert one.find(1) == Live(None, 7, sha256_file(folder / "card.json"))
        assert one.before(1) is None
        assert one.verified() == ""

    def test_is_loaded_when_its_files_are_those_of_its_manifest(self, one, folder, tmp_path, monkeypatch):
        given = []
        monkeypatch.setattr(model_source, "load", lambda *args, bounds: given.append((*args, bounds)))
        one.load(one.find(1))
        assert [args[:4] for args in given] == [(folder, None, 3, tmp_path / "copies")]
        (folder / "model.tflite").write_bytes(b"altered")
        with pytest.raises(Corrupt, match="was altered"):
            one.load(one.find(1))
        assert len(given) == 1

    def test_whose_manifest_is_missing_altered_or_without_checksum_is_refused(self, one, folder):
        card = folder / "card.json"
        raw = card.read_bytes()
        card.write_bytes(codec.to_json(codec.read(type(make_card(1, "", {})), card)))
        with pytest.raises(Corrupt):
            one.find(1)
        card.write_bytes(raw.replace(b'"the first version"', b'"another version"'))
        with pytest.raises(Corrupt):
            one.find(1)
        card.unlink()
        with pytest.raises(ConfigError, match=r"card\.json: is missing"):
            one.find(1)

    def test_or_a_registry_has_to_be_named(self, tmp_path):
        with pytest.raises(ConfigError, match="it names neither registry nor folder"):
            open_source(ServeJob("digits"), tmp_path / "copies")
