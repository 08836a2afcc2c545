"""What a worker does about a release that fails, and about a status file that cannot be written; without a server."""

import json

import pytest

from registry.errors import Corrupt, TryAgain
from registry.trusted import UNSIGNED
from serving import model_swap, worker_status
from serving.known_good import KnownGood, Live
from serving.model_swap import ModelSwap
from serving.preflights import Result
from serving.reach import OutOfReach

GOOD, NEW = Live(1, 1, "good"), Live(2, 2, "new")


class Source:
    """Releases by number; loading one of `broken` raises."""

    def __init__(self, *releases):
        self.releases, self.loaded, self.broken = list(releases), [], {}
        self.altered, self.words = "", "verified"

    def newest(self):
        return len(self.releases)

    def find(self, number):
        if self.altered:
            raise Corrupt(self.altered)
        assert number == len(self.releases)
        return self.releases[-1] if self.releases else None

    def before(self, number):
        return self.releases[number - 2] if number > 1 else None

    def verified(self):
        return self.words

    def load(self, live):
        self.loaded.append(live.card)
        if live.card in self.broken:
            raise self.broken[live.card]
        return live


class Preflights:
    """What comes of each preflight, by card."""

    def __init__(self):
        self.results, self.tried = {}, []

    def known(self, card):
        return self.results.get(card)

    def of(self, live, superseded):
        self.tried.append(live.card)
        if superseded():
            return None
        return self.results.setdefault(live.card, Result("loaded"))


class FakePredictor:
    """Of a Live, with the fields of a model that are looked at."""

    def __init__(self, live):
        self.model = type("FakeModel", (), {"release": live.release, "digest": live.card, "batching": None})()
        self.model.manifest = type(
            "FakeManifest", (), {"version": live.version, "model": "m", "created_at": "2026-01-01T00:00:00Z"}
        )()


@pytest.fixture
def swap(tmp_path, monkeypatch):
    monkeypatch.setattr(model_swap, "predictor_for", FakePredictor)
    monkeypatch.setattr(model_swap, "remove_copies", lambda *_, **__: None)
    swap = ModelSwap(Source(GOOD), Preflights(), KnownGood(tmp_path), tmp_path)
    swap.folder, swap.source, swap.preflights = tmp_path, swap._source, swap._preflights
    return swap


def status(swap):
    (file,) = (swap.folder / "workers").glob("*.json")
    found = json.loads(file.read_bytes())
    return found["state"], found["wanted"], found["release"], found["error"]


CRASHED = Result("crashed", "it crashed the process that loaded it (SIGSEGV)", final=True)


def test_what_has_come_through_is_loaded_and_known_to_be_good(swap):
    swap.poll()
    assert status(swap) == ("ready", 1, 1, "")
    assert (swap.preflights.tried, KnownGood(swap.folder).all()) == (["good"], [GOOD])
    swap.source.releases.append(Live(2, 1, "good"))
    swap.poll()
    assert status(swap) == ("ready", 2, 2, "")
    assert swap.preflights.tried == ["good"], "the same version is not tried again"


def test_what_has_crashed_its_preflight_is_not_loaded_and_not_tried_again(swap):
    swap.poll()
    swap.source.releases.append(NEW)
    swap.preflights.results["new"] = CRASHED
    swap.poll()
    assert status(swap) == ("failed", 2, 1, CRASHED.reason)
    for _ in range(3):
        swap._retry_at = min(swap._retry_at, 0.0) if swap._retry_at < float("inf") else swap._retry_at
        swap.poll()
    assert (swap.source.loaded, swap.preflights.tried) == (["good"], ["good", "new"])
    swap.source.releases.append(Live(3, 1, "good"))
    swap.poll()
    assert status(swap) == ("ready", 3, 3, "")


def test_what_had_no_memory_is_tried_again_later(swap):
    swap.poll()
    swap.source.releases.append(NEW)
    swap.preflights.results["new"] = Result("out of memory", "there is not enough memory to load it")
    swap.poll()
    assert status(swap)[0] == "failed"
    swap.poll()
    assert swap.preflights.tried == ["good", "new"], "not at once"
    swap.preflights.results["new"] = Result("loaded")
    swap._retry_at = 0.0
    swap.poll()
    assert status(swap) == ("ready", 2, 2, "")


def test_a_new_worker_serves_the_last_good_release_while_the_newest_is_tried(swap):
    KnownGood(swap.folder).add(GOOD)
    swap.source.releases.append(NEW)
    during = []
    try_it = swap.preflights.of
    swap.preflights.of = lambda live, superseded: (during.append(status(swap)), try_it(live, superseded))[1]
    swap.poll()
    assert during == [("loading", 2, 1, "")]
    assert swap.first_attempt.is_set()
    assert status(swap) == ("ready", 2, 2, "")


def test_a_new_worker_on_a_new_machine_serves_what_was_live_before_when_the_newest_crashes(swap):
    swap.source.releases.append(NEW)
    swap.preflights.results["new"] = CRASHED
    swap.poll()
    assert status(swap) == ("failed", 2, 1, CRASHED.reason)
    assert swap.preflights.tried == ["new", "good"]


def test_a_registry_that_is_not_believed_brings_no_older_release_back(swap):
    """As when its last release was removed: what was good before that one is older than what was seen."""
    for each in (GOOD, NEW):
        KnownGood(swap.folder).add(each)
    swap.source.altered = "heads/000002.json: is missing, though it was seen"
    swap.source.broken["new"] = Corrupt("releases/000002.json: is missing")
    swap.poll()
    assert status(swap) == ("failed", 1, None, swap.source.altered)
    assert swap.source.loaded == ["new"]


def test_a_registry_that_is_not_believed_leaves_the_newest_that_has_answered(swap):
    for each in (GOOD, NEW):
        KnownGood(swap.folder).add(each)
    swap.source.altered = "releases/000002.json: checksum mismatch"
    swap.poll()
    assert status(swap) == ("failed", 1, 2, swap.source.altered)


@pytest.mark.parametrize(("words", "level"), [(UNSIGNED, "WARNING"), ("verified from key 01 on", "INFO")])
def test_by_what_releases_are_verified_is_in_the_log_and_in_the_status(swap, caplog, words, level):
    caplog.set_level("INFO")
    swap.source.words = words
    swap.poll()
    swap.source.releases.append(Live(2, 1, "good"))
    swap.poll()
    said = [each.levelname for each in caplog.records if each.message == f"the registry's records are {words}"]
    assert said == [level], "once"
    (file,) = (swap.folder / "workers").glob("*.json")
    assert json.loads(file.read_bytes())["verified"] == words


def test_a_release_that_ends_other_workers_is_left(swap):
    swap.poll()
    swap.source.releases.append(NEW)
    swap.poll()
    assert status(swap) == ("ready", 2, 2, "")
    swap.preflights.results["new"] = Result("crashed", "it has ended 3 server processes within 1.0 s", final=True)
    swap.poll()
    assert status(swap) == ("failed", 2, 1, "it has ended 3 server processes within 1.0 s")


def test_a_newer_release_during_a_preflight_is_followed_at_once(swap):
    swap.poll()
    swap.source.releases.append(NEW)
    newest = Live(3, 3, "newest")

    def interrupted(live, superseded):
        swap.source.releases.append(newest)
        del swap.preflights.of
        return None if superseded() else Result("loaded")

    swap.preflights.of = interrupted
    swap.poll()
    swap.poll()
    assert status(swap) == ("ready", 3, 3, "")
    assert "new" not in swap.source.loaded


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), TryAgain("stale file handle")])
def test_a_registry_that_cannot_be_read_says_nothing_about_a_release(swap, monkeypatch, error):
    swap.poll()
    swap.source.releases.append(NEW)

    def unread(_number):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(swap.source, "find", unread)
        swap.poll()
        assert status(swap) == ("loading", 2, 1, str(error))
    swap._retry_at = 0.0
    swap.poll()
    assert status(swap)[:3] == ("ready", 2, 2)


def test_a_registry_that_goes_out_of_reach_while_a_release_is_loaded_says_nothing_about_it(swap, monkeypatch):
    swap.poll()
    swap.source.releases.append(NEW)

    def load(_live):
        monkeypatch.setattr(swap.source, "newest", gone)
        raise PermissionError(13, "Permission denied")

    def gone():
        raise OutOfReach

    monkeypatch.setattr(swap.source, "load", load)
    swap.poll()
    assert status(swap)[:3] == ("loading", 2, 1)
    assert "start it again" in status(swap)[3]


def test_a_status_file_that_could_not_be_written_is_written_later(swap, monkeypatch):
    swap.poll()
    write = worker_status.write

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_status, "write", full)
    swap.source.releases.append(NEW)
    swap.poll()
    assert swap.current.model.release == 2, "the release is served all the same"
    assert status(swap)[2] == 1
    monkeypatch.setattr(worker_status, "write", write)
    swap.poll()
    assert status(swap) == ("ready", 2, 2, "")


def test_a_full_disk_under_the_list_of_good_releases_keeps_none_from_being_served(swap, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.known_good.write_whole", full)
    swap.poll()
    assert status(swap) == ("ready", 1, 1, "")
