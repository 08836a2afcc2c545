"""A new release under load: no request fails, and every answer is computed by the release that it names."""

import os
import threading
from contextlib import contextmanager
from http.client import HTTPException

import numpy as np
import pytest
from serving_parts import Client, ask, samples
from versions import append_release

from registry import releases
from registry.errors import WorkerFailed
from serving.server import control


class Load:
    """Clients that ask without a pause, each on its own connection, and note what they got."""

    def __init__(self, url, instances, clients=6):
        self.answers, self.failures = [], []
        self._url, self._instances = url, instances
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, i):
        with Client(self._url) as client:
            while not self._stop.is_set():
                row = i % len(self._instances)
                try:
                    status, answer = client.predict([self._instances[row]])
                except (OSError, HTTPException) as error:
                    self.failures.append(repr(error))
                    return
                if status == 200:
                    self.answers.append((row, answer["release"], answer["version"], answer["predictions"][0]))
                else:
                    self.failures.append((status, answer))
                i += 1

    @contextmanager
    def running(self):
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def since(self, count, number):
        """Whether an answer of release `number` came after the first `count` answers."""
        return any(release == number for _, release, _, _ in self.answers[count:])


def test_releases_and_rollbacks_under_load_lose_nothing_and_mix_nothing(registry, start, served_models, loaded, until):
    x, _ = samples(served_models / "digits")
    expected = {
        version: loaded(kind).engine({"image": x["image"]})["probabilities"]
        for version, kind in ((1, "digits"), (2, "digits2"))
    }
    assert np.abs(expected[1] - expected[2]).max(axis=1).min() > 0.01, "the two must differ"
    registry.release(registry.put("digits"))
    registry.put("digits2")
    url, folder = start(registry, workers=2)
    control.await_release(folder, 1, 20)
    load = Load(url, x["image"].tolist())
    with load.running():
        until(lambda: len(load.answers) > 50)
        for number, version in enumerate((2, 1, 2), start=2):
            assert registry.release(version) == number
            control.await_release(folder, number, 20)
            count = len(load.answers)
            until(lambda count=count: len(load.answers) > count + 50)
            assert load.since(count, number)
    assert load.failures == []
    versions = {1: 1, 2: 2, 3: 1, 4: 2}
    for row, release, version, prediction in load.answers:
        assert version == versions[release]
        found = list(prediction["probabilities"].values())
        np.testing.assert_allclose(found, expected[version][row], atol=1e-5)
    assert {release for _, release, _, _ in load.answers} == {1, 2, 3, 4}


def test_a_release_whose_file_was_altered_is_refused_and_the_old_one_stays_live(registry, start, served_models, until):
    x, _ = samples(served_models / "digits")
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=2)
    control.await_release(folder, 1, 20)
    version = registry.put("digits2")
    releases.copy_to_production(registry.store, "m", version)
    with registry.file(version, "model.tflite").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    with Load(url, x["image"].tolist(), clients=2).running() as load:
        release_despite_that(registry, version)
        with pytest.raises(WorkerFailed, match=r"release 2 is not served: .*model\.tflite: checksum mismatch") as error:
            control.await_release(folder, 2, 20)
        assert "still answers with the release before" in error.value.hint
        count = len(load.answers)
        until(lambda: len(load.answers) > count + 10)
    assert load.failures == []
    assert {release for _, release, _, _ in load.answers} == {1}
    expected = [("failed", 2, 1)] * 2  # the second worker may need a moment longer
    until(lambda: [(w["state"], w["wanted"], w["release"]) for w in control.status(folder)["workers"]] == expected)
    assert ask(url, "GET", "/health/ready")[0] == 200
    registry.release(1)
    control.await_release(folder, 3, 20)


def release_despite_that(registry, version):
    """A release record for bytes that are wrong, as if they had been altered just after it was written."""
    append_release(registry.store, "m", version, after=1)


def test_a_release_record_that_was_written_by_hand_is_refused_and_the_old_one_stays_live(registry, start):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=1)
    control.await_release(folder, 1, 20)
    registry.store.create("production/m/releases/000002.json", b'{"version": 9}')
    with pytest.raises(WorkerFailed, match=r"000002\.json"):
        control.await_release(folder, 2, 20)
    status, _, answer = ask(url, "GET", "/health/ready")
    assert (status, answer["release"]) == (200, 1)


def test_a_live_file_that_is_overwritten_does_not_disturb_the_running_api(registry, start, served_models, until):
    """Our own copy is mapped: a truncated file under a mapping would kill every worker."""
    x, _ = samples(served_models / "digits")
    version = registry.put("digits")
    registry.release(version)
    url, folder = start(registry, workers=1)
    control.await_release(folder, 1, 20)
    pid = control.status(folder)["workers"][0]["pid"]
    with Load(url, x["image"].tolist(), clients=2).running() as load:
        registry.file(version, "model.tflite").write_bytes(b"")
        count = len(load.answers)
        until(lambda: len(load.answers) > count + 50)
    assert load.failures == []
    assert control.status(folder)["workers"][0]["pid"] == pid


def test_a_withdrawn_model_is_not_ready_until_the_next_release(registry, start, until):
    version = registry.put("digits")
    registry.release(version)
    url, folder = start(registry, workers=1)
    control.await_release(folder, 1, 20)
    registry.release(None)
    control.await_release(folder, 2, 20)
    status, _, answer = ask(url, "GET", "/health/ready")
    assert status == 503
    assert "no model to answer with" in answer["error"]
    assert ask(url, "GET", "/health/live")[0] == 200
    registry.release(version)
    control.await_release(folder, 3, 20)
    assert ask(url, "GET", "/health/ready")[0] == 200


def test_nothing_live_yet_is_served_as_soon_as_it_is(registry, start):
    url, folder = start(registry, workers=1)
    assert ask(url, "POST", "/predict", b"{}")[0] == 503
    registry.release(registry.put("digits"))
    control.await_release(folder, 1, 20)


def test_a_registry_that_is_out_of_reach_for_a_while_interrupts_nothing(registry, start, until):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=1)
    control.await_release(folder, 1, 20)
    path = registry.root / "registry"
    path.rename(registry.root / "away")
    until(lambda: control.status(folder)["workers"][0]["error"])
    assert control.status(folder)["workers"][0]["state"] == "ready"
    assert ask(url, "GET", "/health/ready")[0] == 200
    (registry.root / "away").rename(path)
    until(lambda: control.status(folder)["workers"][0]["error"] == "")
    control.await_release(folder, 1, 20)
