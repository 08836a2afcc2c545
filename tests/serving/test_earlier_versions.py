"""Versions that clients ask for by number: loaded on demand, bounded, dropped when unused."""

import threading
from types import SimpleNamespace

import pytest
from serving_parts import Client

from registry.errors import Corrupt
from serving import earlier_versions
from serving.earlier_versions import AT_LEAST, FAILED, UNUSED, EarlierVersions
from serving.errors import Refused
from serving.known_good import Live
from serving.preflights import Result


class World:
    """A registry with released versions 1 to 9, whose files load as `load` says; a clock that a test sets."""

    def __init__(self, most=2):
        self.read = 0
        self.now, self.loaded, self.outcome, self.load = 1000.0, [], "loaded", lambda version: f"version {version}"
        preflights = SimpleNamespace(of=lambda live, superseded: Result(self.outcome, "it crashed"))
        self.versions = EarlierVersions("m", most, lambda: self, preflights, self.make, lambda: self.now)

    def newest(self):
        return 9

    def released(self):
        self.read += 1
        return {version: Live(version, version, "0" * 64) for version in range(1, 10)}

    def make(self, source, live):
        self.loaded.append(live.version)
        return self.load(live.version)


@pytest.fixture
def world():
    return World()


def test_a_version_is_loaded_once_however_often_it_is_asked(world):
    assert [world.versions(3) for _ in range(3)] == ["version 3"] * 3
    assert world.loaded == [3]


def test_many_that_ask_at_once_get_the_same_one(world):
    found = []
    threads = [threading.Thread(target=lambda: found.append(world.versions(3))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (found, world.loaded) == (["version 3"] * 8, [3])


def test_what_was_never_released_is_404_and_loads_nothing(world):
    with pytest.raises(Refused, match="version 10 is not released") as refused:
        world.versions(10)
    assert (refused.value.status, world.loaded) == (404, [])


def test_the_history_is_read_once_per_release(world):
    for version in (1, 1, 2):
        world.versions(version)
    assert world.read == 1


def test_the_one_that_was_used_last_makes_room_for_another(world):
    world.versions(1)
    world.versions(2)
    world.now += AT_LEAST
    world.versions(1)
    world.versions(3)
    world.versions(1)
    assert world.loaded == [1, 2, 3]


def test_two_clients_do_not_have_versions_loaded_in_turns(world):
    world.versions(1)
    world.versions(2)
    world.now += AT_LEAST - 0.1
    with pytest.raises(Refused, match="2 other versions are in use") as refused:
        world.versions(3)
    assert (refused.value.status, world.loaded) == (503, [1, 2])


def test_what_nobody_asks_for_is_dropped(world):
    world.versions(1)
    world.now += UNUSED + 0.1
    world.versions.drop_unused()
    world.versions(1)
    assert world.loaded == [1, 1]


def test_a_version_that_does_not_come_through_is_503_and_tried_again_later(world):
    world.outcome = "crashed"
    for _ in range(2):
        with pytest.raises(Refused, match="cannot be loaded") as refused:
            world.versions(3)
        assert (refused.value.status, refused.value.reason) == (503, "it crashed")
    world.outcome = "loaded"
    world.now += FAILED + 0.1
    assert world.versions(3) == "version 3"


@pytest.mark.parametrize("error", [Corrupt("altered"), OSError("gone"), ValueError("a bug")])
def test_an_error_while_loading_is_503_and_other_versions_are_answered(world, error):
    def load(version):
        if version == 3:
            raise error
        return "another"

    world.load = load
    with pytest.raises(Refused, match="cannot be loaded"):
        world.versions(3)
    assert world.versions(4) == "another"


def test_a_request_does_not_wait_long_for_a_slow_version(world, monkeypatch):
    monkeypatch.setattr(earlier_versions, "WAIT", 0.01)
    done = threading.Event()
    world.load = lambda version: done.wait(20)
    with pytest.raises(Refused, match="being loaded") as refused:
        world.versions(3)
    assert refused.value.status == 503
    done.set()
    monkeypatch.setattr(earlier_versions, "WAIT", 20)
    assert world.versions(3) is True


def test_a_real_api_answers_with_the_version_that_is_asked_for(registry, start):
    registry.release(registry.put("digits"))
    registry.put("digits")
    registry.release(registry.put("digits"))
    url, _ = start(registry, workers=1)
    with Client(url) as client:
        assert client.ask("GET", "/v2/models/m")[2]["versions"] == ["3"]
        assert client.ask("GET", "/v2/models/m/versions/1")[2]["versions"] == ["1"]
        assert client.ask("GET", "/v1/models/m/versions/1")[2]["model_version_status"][0]["version"] == "1"
        status, _, body = client.ask("GET", "/v2/models/m/versions/2")
        assert (status, "not released" in body["error"]) == (404, True)
