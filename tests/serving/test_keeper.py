"""An API that keeps predictions and labels is started again, by its parent outside the fence, when their folders are replaced."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prediction_log_parts import log_job
from serving_parts import ask, samples

from registry.errors import ConfigError
from registry.label_store import LabelStore
from serving.job import ServeJob
from serving.kept_folders import HeldFolders
from serving.prediction_log.segments import closed, recover
from serving.server import control, lockfile
from training.fence import confine

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def labels(tmp_path):
    return tmp_path / "labels" / "m" / "labels.sqlite"


@pytest.fixture
def job(registry, tmp_path, labels):
    registry.release(registry.put("table"))
    kept = log_job(tmp_path / "log")
    return ServeJob("m", registry=registry.url, port=0, threads=4, workers=2, prediction_log=kept, labels=str(labels))


@pytest.fixture
def api(job, tmp_path):
    folder = tmp_path / "api"
    yield control.start(job, folder), folder
    control.stop(folder, 5.0)


@pytest.fixture
def body(served_models):
    x, _ = samples(served_models / "table")
    return json.dumps({"instances": [{name: column[0].reshape(-1).tolist()[0] for name, column in x.items()}]})


class Clients:
    """Ask again and again; `answered` are the ids of what was answered with 200, `failed` the rest."""

    def __init__(self, url, body):
        self.answered, self.failed, self._stop = [], [], threading.Event()
        self._pool = ThreadPoolExecutor(4)
        self._runs = [self._pool.submit(self._run, url, body, each) for each in "abcd"]

    def _run(self, url, body, name):
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                status = ask(url, "POST", "/predict", body, JSON | {"X-Request-Id": f"{name}-{number}"})[0]
            except OSError as error:
                status = error
            (self.answered if status == 200 else self.failed).append((f"{name}-{number}", status))

    def stop(self):
        self._stop.set()
        for each in self._runs:
            each.result()
        self._pool.shutdown()


def replace(folder):
    """Another one in its place, in one instant, as a restored backup; gives the one before."""
    new, old = folder.with_name(f"{folder.name}-new"), folder.with_name(f"{folder.name}-old")
    new.mkdir()
    folder.rename(old)
    new.rename(folder)
    return old


def test_nobody_is_refused_and_no_line_is_lost_when_both_folders_are_replaced_under_load(
    api, body, labels, tmp_path, until
):
    url, folder = api
    control.await_release(folder, 1, 20)
    master = lockfile.holder(folder)
    clients = Clients(url, body)
    until(lambda: len(clients.answered) > 100 and len(list((tmp_path / "log/open").glob("*.jsonl*"))) == 2)
    old_log, old_labels = replace(tmp_path / "log"), replace(labels.parent)
    until(lambda: lockfile.holder(folder) not in {master, None} and control.is_ready(folder))
    asked = len(clients.answered)
    until(lambda: len(clients.answered) > asked + 100)
    clients.stop()
    last = {"request_id": clients.answered[-1][0], "label": "1"}
    until(lambda: ask(url, "POST", "/feedback", json.dumps(last), JSON)[0] != 404)
    assert clients.failed == []
    assert control.stop(folder)
    recover(old_log)
    there = [sum(each.lines for each in closed(log)) for log in (old_log, tmp_path / "log")]
    assert all(there)
    assert sum(there) == len(clients.answered)
    assert list(old_labels.iterdir()) == []
    assert "started again: the folders of the prediction log and the labels were" in (folder / "api.log").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not confine.abi(), reason="needs Landlock")
def test_labels_are_refused_while_no_folder_is_there_and_kept_as_soon_as_one_is(api, body, labels, tmp_path, until):
    url, folder = api
    control.await_release(folder, 1, 20)
    master = lockfile.holder(folder)
    assert ask(url, "POST", "/predict", body, JSON | {"X-Request-Id": "mine"})[0] == 200
    report = json.dumps({"request_id": "mine", "correct": True})
    old = labels.parent.rename(tmp_path / "old")
    status, _, answer = ask(url, "POST", "/feedback", report, JSON)
    assert (status, lockfile.holder(folder)) == (503, master)
    assert "retry in some seconds" in answer["hint"]
    assert not labels.parent.exists(), "who moves one there would find it taken"
    labels.parent.mkdir()
    until(lambda: ask(url, "POST", "/feedback", report, JSON)[0] == 200)
    with LabelStore(labels) as store:
        assert [each.request for each in store.all()] == ["mine"]
    assert list(old.iterdir()) == []


@pytest.mark.slow
def test_who_stops_it_while_it_is_started_again_stops_it(api, labels, until):
    url, folder = api
    parent = _parent(lockfile.holder(folder))
    replace(labels.parent)
    until(lambda: "Handling signal: term" in (folder / "api.log").read_text())
    assert control.stop(folder)
    until(lambda: not _runs(parent))
    assert control.running(folder) is None
    with pytest.raises(OSError, match="refused"):
        ask(url, "GET", "/health/live")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_for_its_parent_stops_both(api, until, number):
    _, folder = api
    parent = _parent(lockfile.holder(folder))
    os.kill(parent, number)
    until(lambda: not lockfile.is_held(folder) and not _runs(parent))


@pytest.mark.slow
def test_a_port_that_is_taken_is_reported_as_ever(api, job, tmp_path):
    url, _ = api
    taken = int(url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"port {taken} is in use"):
        control.start(
            ServeJob(**{name: getattr(job, name) for name in job.__slots__} | {"port": taken}), tmp_path / "b"
        )


class TestHeldFolders:
    @pytest.fixture
    def held(self, tmp_path, labels):
        for each in (tmp_path / "log", labels.parent):
            each.mkdir(parents=True)
        found = HeldFolders(ServeJob("m", prediction_log=log_job(tmp_path / "log"), labels=str(labels)))
        yield found
        found.close()

    def test_are_replaced_when_another_one_is_there(self, held, tmp_path):
        assert held.replaced() == []
        (tmp_path / "log").rename(tmp_path / "old")
        assert held.replaced() == [], "not before it is there"
        (tmp_path / "log").mkdir()
        assert held.replaced() == ["the prediction log"]

    def test_are_replaced_by_one_that_gets_the_number_of_one_that_was_removed(self, held, labels):
        labels.parent.rmdir()
        labels.parent.mkdir()
        assert held.replaced() == ["the labels"]

    def test_are_not_replaced_while_one_of_them_is_missing(self, held, tmp_path, labels):
        replace(labels.parent)
        (tmp_path / "log").rename(tmp_path / "old")
        assert held.replaced() == []


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _runs(pid):
    control._held(Path("/"))  # reaps what has ended
    return Path(f"/proc/{pid}").exists()
