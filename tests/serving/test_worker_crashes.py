"""A version that ends workers is taken out of service, when another one is known to answer."""

import pytest

from serving import worker_status
from serving.job import ServeJob
from serving.known_good import KnownGood, Live
from serving.preflights import Preflights, Result
from serving.worker_crashes import WorkerCrashes


class Crashes:
    def __init__(self, folder):
        self.folder, self.now = folder / "workers", 1000.0
        self.folder.mkdir()
        self.preflights, self.good = Preflights(ServeJob("m"), folder), KnownGood(folder)
        self.ours = WorkerCrashes(self.preflights, self.good, self.folder, lambda: self.now)

    def crash(self, card, loading="", after=1.0):
        self.now += after
        worker_status.write(self.folder, worker_status.Status(7, "ready", 2, 2, 2, card, loading=loading))
        self.ours.worker_ended(7)
        assert not list(self.folder.iterdir())


@pytest.fixture
def crashes(tmp_path):
    crashes = Crashes(tmp_path)
    for release, card in ((1, "good"), (2, "bad")):
        crashes.good.add(Live(release, release, card))
    return crashes


def test_three_crashes_within_a_minute_are_the_versions_doing(crashes):
    crashes.crash("bad")
    crashes.crash("bad", after=20)
    assert crashes.preflights.known("bad") is None
    crashes.crash("bad", after=20)
    found = crashes.preflights.known("bad")
    assert (found.outcome, found.final) == ("crashed", True)
    assert found.reason == "it has ended 3 server processes within 40.0 s"


def test_rare_crashes_are_not(crashes):
    for _ in range(9):
        crashes.crash("bad", after=31)
    assert crashes.preflights.known("bad") is None


def test_what_is_being_loaded_is_the_cause_and_not_what_answers(crashes):
    for _ in range(3):
        crashes.crash("good", loading="bad")
    assert crashes.preflights.known("good") is None
    assert crashes.preflights.known("bad").outcome == "crashed"


def test_workers_that_end_in_order_do_not_count(crashes):
    for _ in range(5):
        worker_status.write(crashes.folder, worker_status.Status(8, "ready", 2, 2, 2, "bad"))
        worker_status.remove(crashes.folder, 8)  # by the worker
        crashes.ours.worker_ended(8)
    assert crashes.preflights.known("bad") is None


def test_the_only_version_that_answers_stays(crashes):
    crashes.preflights.note("good", Result("crashed", "so it was", final=True))
    for _ in range(5):
        crashes.crash("bad")
    assert crashes.preflights.known("bad") is None
