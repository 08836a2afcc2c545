"""What a worker answers with when releases come, fail, are withdrawn or cannot be read: no server, no model, no clock."""

import logging
from types import SimpleNamespace

import pytest
from versions import candidate

from registry.errors import Corrupt, TryAgain
from serving import model_swap, worker_status
from serving.known_good import KnownGood, Live
from serving.model_swap import ModelSwap
from serving.preflights import Preflights, Result
from serving.reach import OutOfReach

LOADED = Result("loaded")
REFUSED = Result("refused", "it was refused", final=True)
CRASHED = Result("crashed", "it has crashed", final=True)
FOR_NOW = Result("out of memory", "no memory", final=False)


def version(number):
    """What release `number` makes live."""
    return Live(number, number, f"card{number}")


class Source:
    """A registry with these releases."""

    def __init__(self):
        self.releases, self.loads = [], []
        self.broken = self.unreadable = self.no_history = None
        """What `newest`, `find` or `before` raise."""
        self.bad = {}
        """Card → what loading raises."""
        self.earlier, self.basis = None, "verified"

    def newest(self):
        if self.broken:
            raise self.broken
        return len(self.releases)

    def find(self, number):
        assert number == len(self.releases)
        if self.unreadable:
            raise self.unreadable
        return self.releases[-1] if self.releases else None

    def load(self, live):
        self.loads.append(live.card)
        if live.card in self.bad:
            raise self.bad[live.card]
        files = {"model.tflite": f"copy{live.version}"}
        return SimpleNamespace(
            batching=None, release=live.release, manifest=candidate(version=live.version, files=files), digest=live.card
        )

    def before(self, number):
        if self.no_history:
            raise self.no_history
        assert number == len(self.releases)
        return self.earlier

    def verified(self):
        return self.basis


class Tried(Preflights):
    """Preflights whose results are known before."""

    def __init__(self, folder):
        super().__init__(None, folder)
        self.results, self.asked, self.meanwhile = {}, [], lambda _live, _superseded: None

    def of(self, live, superseded):
        self.asked.append(live.card)
        self.meanwhile(live, superseded)
        result = self.results.get(live.card, LOADED)
        if result:
            self.note(live.card, result)
        return result


class World:
    def __init__(self, folder, monkeypatch):
        self.folder, self.now, self.slept = folder, 0.0, []
        monkeypatch.setattr(model_swap, "predictor_for", lambda model: SimpleNamespace(model=model))
        monkeypatch.setattr(model_swap, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.slept.append))
        folder.mkdir()
        self.source, self.preflights, self.good = Source(), Tried(folder), KnownGood(folder)
        self.swap = ModelSwap(self.source, self.preflights, self.good, folder)

    def release(self, live):
        self.source.releases.append(live)

    def poll(self, seconds=0.0):
        self.now += seconds
        self.swap.poll()
        return self.answers()

    def answers(self):
        """The card of what answers; None: nothing."""
        return self.swap.current.model.digest if self.swap.current else None

    @property
    def status(self):
        (found,) = worker_status.read_all(self.folder / "workers")
        return found

    def state(self):
        return self.status["state"], self.status["wanted"], self.status["release"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path / "api", monkeypatch)


@pytest.fixture
def serving(world):
    """Release 1 is served."""
    world.release(version(1))
    assert world.poll() == "card1"
    return world


class TestReleases:
    def test_nothing_is_live_at_first(self, world, caplog):
        caplog.set_level(logging.INFO)
        assert world.poll() is None
        assert world.state() == ("withdrawn", 0, None)
        assert caplog.text == ""
        assert not world.swap.first_attempt.is_set()

    def test_a_release_is_tried_loaded_served_and_noted_as_good(self, world, caplog):
        caplog.set_level(logging.INFO)
        world.release(version(1))
        assert world.poll() == "card1"
        assert world.state() == ("ready", 1, 1)
        assert (world.status["version"], world.status["card"], world.status["error"]) == (1, "card1", "")
        assert (world.preflights.asked, world.source.loads) == (["card1"], ["card1"])
        assert world.good.all() == [version(1)]
        assert "serving release 1, version 1 of digits" in caplog.text
        (record,) = [each for each in caplog.records if "records are verified" in each.getMessage()]
        assert record.levelno == logging.INFO
        assert world.swap.error == ""

    def test_one_that_is_served_is_not_loaded_again(self, serving):
        for _ in range(3):
            assert serving.poll(100) == "card1"
        assert serving.source.loads == ["card1"]

    def test_the_next_one_takes_its_place_and_the_copy_of_the_old_one_goes(self, serving):
        copies = serving.folder / "models"
        for name in ("copy1", "copy2"):
            (copies / name).touch()
        serving.release(version(2))
        assert serving.poll() == "card2"
        assert serving.state() == ("ready", 2, 2)
        assert {path.name for path in copies.iterdir()} == {".lock", "copy2"}
        assert serving.good.all() == [version(2), version(1)]

    def test_the_old_one_answers_while_the_next_one_is_tried(self, serving):
        seen = []
        serving.preflights.meanwhile = lambda *_: seen.append((serving.answers(), *serving.state()))
        serving.release(version(2))
        serving.poll()
        assert seen == [("card1", "loading", 2, 1)]

    def test_while_it_is_loaded_the_status_says_what_would_have_ended_the_worker(self, serving):
        seen, load = [], serving.source.load
        serving.source.load = lambda live: seen.append(serving.status["loading"]) or load(live)
        serving.release(version(2))
        serving.poll()
        assert seen == ["card2"]
        assert serving.status["loading"] == ""

    def test_a_withdrawal_ends_the_answers(self, serving, caplog):
        serving.release(None)
        assert serving.poll() is None
        assert serving.state() == ("withdrawn", 2, None)
        assert "nothing is live: release 2 withdrew the model" in caplog.text
        serving.release(version(3))
        assert serving.poll() == "card3"

    def test_who_starts_after_a_withdrawal_says_so(self, world, caplog):
        world.release(None)
        world.poll()
        assert "release 1 withdrew the model" in caplog.text

    def test_one_that_came_while_it_was_looked_for_counts_as_seen(self, world):
        world.release(version(1))
        world.source.find = lambda _number: version(7)
        world.poll()
        assert world.status["wanted"] == 7

    def test_whether_records_are_verified_is_logged_when_it_changes(self, serving, caplog):
        serving.source.basis = "not verified"
        for number in (2, 3):
            serving.release(version(number))
            serving.poll()
        (record,) = [each for each in caplog.records if "records are not verified" in each.getMessage()]
        assert record.levelno == logging.WARNING
        assert serving.status["verified"] == "not verified"


class TestPreflights:
    def test_what_has_served_here_needs_none(self, serving):
        serving.preflights.asked.clear()
        serving.release(Live(2, 1, "card1"))  # a rollback to what answers
        assert serving.poll() == "card1"
        assert serving.status["release"] == 2
        serving.release(version(3))
        serving.poll()
        serving.release(Live(4, 1, "card1"))
        serving.poll()
        assert serving.preflights.asked == ["card3"]

    def test_what_answers_needs_none_also_where_that_could_not_be_noted(self, world, monkeypatch):
        monkeypatch.setattr(world.good, "add", lambda _: None)
        world.release(version(1))
        world.poll()
        world.preflights._results.joinpath("card1.json").unlink()
        world.release(Live(2, 1, "card1"))
        world.poll()
        assert world.status["release"] == 2
        assert world.preflights.asked == ["card1"]

    def test_what_another_worker_knows_to_have_served_needs_none(self, world):
        world.good.add(version(1))
        world.release(version(1))
        assert world.poll() == "card1"
        assert world.preflights.asked == []

    def test_what_another_worker_has_tried_needs_none(self, world):
        world.preflights.note("card1", LOADED)
        world.release(version(1))
        assert world.poll() == "card1"
        assert world.preflights.asked == []

    def test_what_has_served_and_failed_since_needs_one(self, world):
        world.good.add(version(1))
        world.preflights.note("card1", FOR_NOW)
        world.release(version(1))
        world.poll()
        assert world.preflights.asked == ["card1"]

    def test_one_that_was_overtaken_is_forgotten_and_the_newest_is_loaded_at_once(self, serving):
        found = []
        serving.release(version(2))
        serving.preflights.results["card2"] = None
        serving.preflights.meanwhile = lambda _live, superseded: found.append(superseded())
        assert serving.poll() == "card1"
        assert found == [False]
        assert serving.state() == ("loading", 2, 1)
        serving.preflights.results["card2"] = LOADED
        assert serving.poll() == "card2"

    def test_it_is_overtaken_when_there_is_a_newer_release_and_not_when_the_registry_cannot_be_read(self, serving):
        found = []

        def meanwhile(_live, superseded):
            serving.source.broken = TryAgain("gone")
            found.append(superseded())
            serving.source.broken = None
            serving.release(version(3))
            found.append(superseded())
            serving.source.releases.pop()

        serving.preflights.meanwhile = meanwhile
        serving.release(version(2))
        serving.poll()
        assert found == [False, True]


class TestAReleaseThatFails:
    @pytest.mark.parametrize("result", [REFUSED, CRASHED])
    def test_for_good_leaves_the_old_one_and_is_not_tried_again(self, serving, result, caplog):
        serving.release(version(2))
        serving.preflights.results["card2"] = result
        assert serving.poll() == "card1"
        assert serving.state() == ("failed", 2, 1)
        assert serving.swap.error == serving.status["error"] == result.reason
        assert f"release 2 cannot be served: {result.reason}" in caplog.text
        assert serving.poll(1e9) == "card1"
        assert serving.preflights.asked.count("card2") == 1
        serving.release(version(3))
        assert serving.poll() == "card3"
        assert serving.state() == ("ready", 3, 3)

    def test_for_now_is_tried_again_after_2_4_8_seconds_and_then_each_minute(self, serving):
        serving.release(version(2))
        serving.preflights.results["card2"] = FOR_NOW
        serving.poll()
        for tries, seconds in enumerate((2, 4, 8, 16, 32, 60, 60), start=1):
            assert serving.poll(seconds - 0.01) == "card1"
            assert serving.preflights.asked.count("card2") == tries
            assert serving.state()[0] == "failed"
            serving.poll(0.01)
            assert serving.preflights.asked.count("card2") == tries + 1
        serving.preflights.results["card2"] = LOADED
        assert serving.poll(60) == "card2"
        assert serving.swap.error == ""
        serving.release(version(3))
        serving.preflights.results["card3"] = FOR_NOW
        serving.poll()
        serving.poll(2)
        assert serving.preflights.asked.count("card3") == 2

    def test_after_one_that_failed_the_next_one_is_loading_and_waits_as_briefly(self, serving):
        serving.release(version(2))
        serving.preflights.results |= {"card2": FOR_NOW, "card3": FOR_NOW}
        serving.poll()
        serving.poll(2)
        seen = []
        serving.preflights.meanwhile = lambda *_: seen.append((serving.state()[0], serving.swap.error))
        serving.release(version(3))
        serving.poll()
        serving.poll(2)
        assert seen == [("loading", ""), ("failed", "no memory")]

    @pytest.mark.parametrize(
        ("error", "said", "trace"),
        [
            (Corrupt("damaged"), "damaged", False),
            (OSError("full"), "full", False),
            (ValueError("odd"), "ValueError: odd", True),
        ],
    )
    def test_when_it_is_loaded_leaves_the_old_one_too(self, serving, caplog, error, said, trace):
        serving.release(version(2))
        serving.source.bad["card2"] = error
        assert serving.poll() == "card1"
        assert serving.swap.error == said
        assert ("Traceback" in caplog.text) == trace
        assert serving.status["loading"] == ""
        del serving.source.bad["card2"]
        assert serving.poll(2) == "card2"

    def test_whose_record_is_corrupt_leaves_the_old_one(self, serving):
        serving.release(version(2))
        serving.source.unreadable = Corrupt("no record")
        assert serving.poll() == "card1"
        assert (serving.state()[0], serving.swap.error) == ("failed", "no record")

    def test_in_another_worker_ends_it_here_as_well(self, serving):
        serving.good.add(version(9))
        serving.good.add(version(1))
        serving.preflights.note("card1", CRASHED)
        serving.preflights.results["card1"] = CRASHED
        assert serving.poll() == "card9"
        assert serving.state() == ("failed", 1, 9)

    def test_for_now_in_another_worker_does_not_end_it_here(self, serving):
        serving.good.add(version(9))
        serving.preflights.note("card1", FOR_NOW)
        serving.preflights.results["card1"] = FOR_NOW
        for seconds, tries in ((0, 2), (1.99, 2), (0.01, 3)):
            assert serving.poll(seconds) == "card1"
            assert serving.preflights.asked.count("card1") == tries


class TestAWorkerThatStarts:
    def test_serves_what_was_good_here_while_the_newest_is_tried(self, world, caplog):
        seen = []
        world.good.add(version(1))
        world.release(version(1))
        world.release(version(2))
        world.preflights.meanwhile = lambda *_: seen.append((*world.state(), world.swap.first_attempt.is_set()))
        assert world.poll() == "card2"
        assert seen == [("loading", 2, 1, True)]
        assert "release 1 is served instead of release 2" in caplog.text

    def test_serves_what_was_good_here_when_the_newest_fails(self, world):
        world.good.add(version(1))
        world.release(version(2))
        world.preflights.results["card2"] = REFUSED
        assert world.poll() == "card1"
        assert world.state() == ("failed", 1, 1)

    def test_serves_the_newest_of_those_that_were_good_here(self, world):
        for number in (1, 2):
            world.good.add(version(number))
        world.release(version(3))
        world.preflights.results["card3"] = REFUSED
        assert world.poll() == "card2"
        assert world.source.loads == ["card2"]

    def test_tries_again_two_seconds_after_a_registry_without_releases_was_corrupt(self, world):
        world.source.unreadable = Corrupt("damaged")
        world.poll()
        assert world.state() == ("failed", 0, None)
        world.source.unreadable = None
        world.poll(1.99)
        assert world.state() == ("failed", 0, None)
        world.poll(0.01)
        assert world.state() == ("withdrawn", 0, None)

    def test_serves_no_version_that_fails_and_no_release_of_the_one_that_fails(self, world):
        for number in (1, 2, 3):
            world.good.add(version(number))
        world.preflights.note("card2", CRASHED)
        world.release(version(3))
        world.source.bad["card3"] = Corrupt("damaged")
        assert world.poll() == "card1"
        assert "card2" not in world.source.loads

    def test_passes_over_what_cannot_be_loaded_any_more(self, world, caplog):
        for number in (1, 2):
            world.good.add(version(number))
        world.source.bad["card2"] = Corrupt("damaged")
        world.release(version(3))
        world.preflights.results["card3"] = REFUSED
        assert world.poll() == "card1"
        assert "release 2 cannot be served any more: damaged" in caplog.text

    def test_serves_what_was_live_before_one_that_crashes_after_a_preflight(self, world):
        world.release(version(2))
        world.source.earlier = version(1)
        world.preflights.results["card2"] = CRASHED
        assert world.poll() == "card1"
        assert world.preflights.asked == ["card2", "card1"]
        assert world.state() == ("failed", 1, 1)

    @pytest.mark.parametrize(
        ("earlier", "result", "first"),
        [
            (None, LOADED, CRASHED),
            (version(1), CRASHED, CRASHED),
            (version(1), None, CRASHED),
            (version(1), LOADED, REFUSED),
        ],
    )
    def test_serves_nothing_where_there_is_nothing_before_it_fails_too_or_the_newest_was_refused(
        self, world, earlier, result, first
    ):
        world.release(version(2))
        world.source.earlier = earlier
        world.preflights.results |= {"card2": first, "card1": result}
        assert world.poll() is None
        assert world.state() == ("failed", 1, None)

    def test_serves_nothing_where_the_history_cannot_be_read(self, world, caplog):
        world.release(version(2))
        world.source.no_history = TryAgain("gone")
        world.preflights.results["card2"] = CRASHED
        assert world.poll() is None
        assert "the releases before release 1 cannot be read: gone" in caplog.text

    def test_does_not_look_at_history_when_loading_fails(self, world):
        world.release(version(2))
        world.source.earlier = version(1)
        world.source.bad["card2"] = Corrupt("damaged")
        assert world.poll() is None
        assert world.preflights.asked == ["card2"]


class TestARegistryThatCannotBeRead:
    @pytest.mark.parametrize("error", [TryAgain("gone"), OSError("gone"), Corrupt("gone")])
    def test_changes_nothing_that_is_served_and_is_logged_once(self, serving, caplog, error):
        serving.source.broken = error
        for _ in range(3):
            assert serving.poll(10) == "card1"
        assert serving.state() == ("ready", 1, 1)
        assert (serving.swap.error, serving.status["cut_off"]) == ("gone", False)
        assert caplog.text.count("the registry cannot be read: gone") == 1
        serving.source.broken = None
        assert serving.poll() == "card1"
        assert serving.swap.error == serving.status["error"] == ""
        assert serving.state() == ("ready", 1, 1)
        serving.source.broken = error
        serving.poll()
        assert caplog.text.count("the registry cannot be read: gone") == 2

    def test_is_a_failure_where_nothing_is_served(self, world):
        world.source.broken = TryAgain("gone")
        assert world.poll() is None
        assert world.state() == ("failed", 0, None)

    def test_after_a_withdrawal_leaves_it_withdrawn(self, serving):
        serving.release(None)
        serving.poll()
        serving.source.broken = TryAgain("gone")
        serving.poll()
        serving.source.broken = None
        serving.poll()
        assert serving.state() == ("withdrawn", 2, None)

    def test_that_was_replaced_needs_a_new_start_until_it_is_back(self, serving):
        serving.source.broken = OutOfReach()
        assert serving.poll() == "card1"
        assert serving.status["cut_off"] is True
        serving.source.broken = None
        serving.poll()
        assert serving.status["cut_off"] is False

    def test_that_has_fewer_releases_than_before_is_no_reason_to_go_back(self, serving):
        serving.release(version(2))
        serving.poll()
        serving.source.releases.pop()
        assert serving.poll() == "card2"
        assert serving.swap.error == "release 2 is gone; the newest in the registry is 1"

    @pytest.mark.parametrize("error", [TryAgain("busy"), OSError("busy")])
    def test_when_a_release_is_looked_for_reverts_none_and_is_tried_again(self, serving, error):
        serving.release(version(2))
        serving.source.unreadable = error
        assert serving.poll() == "card1"
        assert (serving.state()[0], serving.swap.error) == ("loading", "busy")
        assert serving.source.loads == ["card1"]
        serving.source.unreadable = None
        assert serving.poll(1.99) == "card1"
        assert serving.poll(0.01) == "card2"

    def test_by_a_worker_that_starts_has_it_serve_the_last_good_one_and_none_before_that(self, world):
        world.good.add(version(1))
        world.good.add(version(2))
        world.release(version(3))
        world.source.unreadable = TryAgain("busy")
        assert world.poll() == "card2"
        world.swap.current = None
        world.source.bad["card2"] = Corrupt("damaged")
        assert world.poll(2) is None

    def test_while_a_release_is_loaded_is_why_that_failed(self, serving):
        serving.release(version(2))
        load = serving.source.load

        def gone(live):
            serving.source.broken = OutOfReach()
            serving.source.bad["card2"] = OSError("gone")
            return load(live)

        serving.source.load = gone
        assert serving.poll() == "card1"
        assert serving.status["cut_off"] is True
        assert serving.state()[0] == "loading"
        serving.source.broken, serving.source.load = None, load
        serving.source.bad.clear()
        assert serving.poll() == "card2"

    def test_for_another_reason_while_a_release_is_loaded_is_not(self, serving):
        serving.release(version(2))
        load = serving.source.load

        def gone(live):
            serving.source.broken = TryAgain("busy")
            serving.source.bad["card2"] = Corrupt("damaged")
            return load(live)

        serving.source.load = gone
        serving.poll()
        assert serving.swap.error == "damaged"


class TestTheDisk:
    def test_that_is_full_keeps_no_release_from_being_served(self, serving, monkeypatch, caplog):
        def full(*_):
            raise OSError("no space left")

        monkeypatch.setattr(serving.good, "add", full)
        monkeypatch.setattr(worker_status, "write", full)
        serving.release(version(2))
        assert serving.poll() == "card2"
        serving.poll()
        assert "release 2 is served, but not noted as good: no space left" in caplog.text
        assert caplog.text.count("the status cannot be written, retrying: no space left") == 1
        monkeypatch.undo()

    def test_that_is_full_at_the_start_is_logged(self, world, monkeypatch, caplog):
        def full(*_):
            raise OSError("no space left")

        monkeypatch.setattr(worker_status, "write", full)
        world.poll()
        assert caplog.text.count("the status cannot be written") == 1

    def test_gets_a_status_before_the_registry_is_looked_at(self, world, monkeypatch):
        written = []
        monkeypatch.setattr(worker_status, "write", lambda _folder, status: written.append(status))
        world.poll()
        first = written[0]
        assert (first.state, first.wanted, first.release, first.cut_off, first.taking) == (
            "loading",
            0,
            None,
            False,
            True,
        )

    def test_is_written_to_when_the_status_changes_only(self, serving, monkeypatch):
        written = []
        monkeypatch.setattr(worker_status, "write", lambda _folder, status: written.append(status))
        for _ in range(3):
            serving.poll()
        assert written == []
        serving.release(version(2))
        serving.poll()
        assert [each.state for each in written][-1] == "ready"

    def test_that_has_space_again_gets_the_status(self, serving, monkeypatch, caplog):
        real, fails = worker_status.write, [True]

        def write(folder, status):
            if fails[0]:
                raise OSError("no space left")
            real(folder, status)

        monkeypatch.setattr(worker_status, "write", write)
        for number in (2, 3):
            serving.release(version(number))
            serving.poll()
            fails[0] = False
            serving.poll()
            assert serving.state() == ("ready", number, number)
            fails[0] = True
        assert caplog.text.count("the status cannot be written") == 2


def test_whether_clients_reach_the_worker_is_in_its_status(world):
    world.swap._taking = lambda: False
    world.poll()
    assert world.status["taking"] is False


class TestFollowing:
    def follow(self, world, times):
        """As many turns of the worker's thread."""

        def sleep(seconds):
            world.slept.append(seconds)
            if len(world.slept) == times:
                raise SystemExit

        model_swap.time.sleep = sleep
        with pytest.raises(SystemExit):
            world.swap._follow()

    def test_looks_for_releases_ten_times_a_second(self, world):
        world.release(version(1))
        self.follow(world, 3)
        assert world.slept == [0.1, 0.1, 0.1]
        assert world.answers() == "card1"
        assert world.swap.first_attempt.is_set()

    def test_continues_after_an_error_that_nobody_has_thought_of(self, world, caplog):
        world.source.broken = ValueError("odd")
        self.follow(world, 2)
        assert caplog.text.count("checking for a new release failed, retrying") == 2
        assert world.swap.first_attempt.is_set()

    def test_is_a_thread_that_keeps_no_process_alive(self, world, monkeypatch):
        made = []

        class Thread:
            def __init__(self, target, name, daemon):
                made.append([target, name, daemon])

            def start(self):
                made[-1].append("started")

        monkeypatch.setattr(model_swap.threading, "Thread", Thread)
        world.swap.start()
        assert made == [[world.swap._follow, "model-swap", True, "started"]]
