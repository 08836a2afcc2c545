"""What networks and servers do to a registry in a bucket: nothing is lost, nothing is written twice, and a person learns what to do."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from s3_proxy import proxy_before
from s3_server import S3Server

from registry import s3_client, s3_objects
from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import Access
from registry.stores import open_store

pytestmark = pytest.mark.slow
ONE = hashlib.sha256(b"1").hexdigest()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(s3_client, "READ_SECONDS", 2)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)


@pytest.fixture
def open_through(s3_place, s3_server):
    """Opens the test's registry through a proxy at a URL."""
    url, options = s3_place

    def open_(endpoint):
        access = Access(endpoint, "us-east-1")
        Probed(Path(options.cache), access, Place("models", "", "")).remember("a proxy")
        return open_store(url, replace(options, access=access))

    return open_


def times(count, what, method, part=""):
    """An injected error of the first `count` requests with this method and a path that holds `part`."""
    left = [count]

    def inject(_number, each, path):
        if each == method and part in path and left[0]:
            left[0] -= 1
            return what
        return None

    return inject


@pytest.mark.parametrize("what", ["drop", "slow", "refuse", 500, 503, (409, "ConditionalRequestConflict")], ids=str)
def test_a_record_whose_answer_was_lost_is_written_once_and_by_us(open_through, s3_server, what):
    with proxy_before(s3_server.endpoint, times(2, what, "PUT"), patience=2.5) as (url, proxy):
        store = open_through(url)
        store.create("a/b", b"ours")
        assert store.get("a/b") == b"ours"
        assert [method for method, _ in proxy.seen].count("PUT") == 3
        with pytest.raises(FileExistsError):
            store.create("a/b", b"ours")


@pytest.mark.parametrize("what", ["drop", "slow", 500], ids=str)
def test_a_record_that_others_have_made_stays_theirs_though_our_first_try_got_no_answer(
    open_through, s3_store, s3_server, what
):
    s3_store.create("a/b", b"theirs")
    with proxy_before(s3_server.endpoint, times(1, what, "PUT"), patience=2.5) as (url, _):
        store = open_through(url)
        with pytest.raises(FileExistsError):
            store.create("a/b", b"ours")
        assert store.get("a/b") == b"theirs"


@pytest.mark.parametrize("what", ["cut", "drop", 503], ids=str)
@pytest.mark.parametrize("size", [5, 300_000])
def test_bytes_that_break_off_are_read_again(open_through, s3_store, s3_server, what, size):
    data = os.urandom(size)
    s3_store.create("a/b", data, hashlib.sha256(data).hexdigest())
    for read in (
        lambda store: store.get("a/b"),
        lambda store: store.path("a/b").read_bytes(),
        lambda store: store.digest("a/b"),
    ):
        with proxy_before(s3_server.endpoint, times(2, what, "GET")) as (url, _):
            found = read(open_through(url))
            assert found in {data, hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("what", ["cut", "drop", 503], ids=str)
def test_a_listing_that_breaks_off_is_read_again(open_through, s3_store, s3_server, what):
    for number in range(20):
        s3_store.create(f"a/{number}", b"1")
    with proxy_before(s3_server.endpoint, times(1, what, "GET", "list-type")) as (url, _):
        assert len(open_through(url).names("a")) == 20


@pytest.mark.parametrize("what", ["drop", 500], ids=str)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_upload_in_parts_survives_lost_answers(open_through, s3_server, monkeypatch, tmp_path, what, method):
    monkeypatch.setattr(s3_objects, "PART", 5 << 20)
    monkeypatch.setattr(s3_client, "READ_SECONDS", 60)
    data = os.urandom(11 << 20)
    (tmp_path / "source").write_bytes(data)
    with proxy_before(s3_server.endpoint, times(2, what, method, "uploadId")) as (url, _):
        store = open_through(url)
        store.create("a/b", tmp_path / "source", hashlib.sha256(data).hexdigest())
        assert store.path("a/b").read_bytes() == data


def test_an_upload_that_was_refused_leaves_no_name_and_can_be_repeated(open_through, s3_server, tmp_path):
    (tmp_path / "source").write_bytes(b"1")
    with proxy_before(
        s3_server.endpoint, lambda _, method, path: 503 if method == "PUT" and "objects" in path else None
    ) as (
        url,
        proxy,
    ):
        store = open_through(url)
        with pytest.raises(TryAgain, match="SlowDown") as error:
            store.create("a/b", tmp_path / "source", ONE)
        assert error.value.exit_code == 75
        assert [method for method, _ in proxy.seen].count("PUT") == s3_client.ATTEMPTS
        assert store.names("a") == []
        proxy.inject = lambda *_: None
        store.create("a/b", tmp_path / "source", ONE)
        assert store.get("a/b") == b"1"


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        ((403, "RequestTimeTooSkewed"), ConfigError, "clock"),
        ((403, "AccessDenied"), ConfigError, "s3:PutObject"),
        ((404, "NoSuchBucket"), ConfigError, "create the bucket"),
        ((400, "ExpiredToken"), ConfigError, "renew"),
        ((507, "InsufficientStorage"), TryAgain, "full"),
        ((503, "SlowDown"), TryAgain, "nothing was lost"),
        ((409, "ConditionalRequestConflict"), TryAgain, "nothing was lost"),
    ],
    ids=lambda each: each[1] if isinstance(each, tuple) else "",
)
def test_an_answer_that_does_not_go_away_names_the_setting_and_what_to_do(
    open_through, s3_server, monkeypatch, answer, kind, hint
):
    monkeypatch.setattr(s3_objects, "CONFLICTS", 2)
    with proxy_before(s3_server.endpoint, lambda _, method, __: answer if method == "PUT" else None) as (url, _):
        store = open_through(url)
        with pytest.raises(kind, match=r"\[registry\] url: s3://models/") as error:
            store.create("a/b", b"1")
        assert hint in error.value.hint
        assert store.names("a") == []


def once_it_answers(ask, seconds=60):
    """A server that was just started may know its bucket before it can read what is in it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(TryAgain):
            return ask()
        time.sleep(0.2)
    return ask()


def test_a_server_that_is_killed_has_what_it_said_it_has(tmp_path, monkeypatch, s3_place):
    _, options = s3_place
    server = S3Server(tmp_path / "weed")
    try:
        Probed(Path(options.cache), server.access, Place("models", "", "")).remember("a test's server")
        store = open_store("s3://models/x", replace(options, access=server.access))
        for number in range(30):
            store.create(f"a/{number}", b"%d" % number)
        server.kill()
        with pytest.raises(TryAgain, match=r"\[registry\] url"):
            store.create("a/30", b"30")
        server.start()
        once_it_answers(lambda: store.get("a/29"))
        assert {int(name): store.get(f"a/{name}") for name in store.names("a")} == {n: b"%d" % n for n in range(30)}
        with pytest.raises(FileExistsError):
            store.create("a/7", b"other")
        store.create("a/30", b"30")
    finally:
        server.stop()


@pytest.mark.parametrize("scenario", ["publish", "promote"])
def test_a_writer_that_is_killed_at_any_request_leaves_the_state_before_or_after(
    s3_server, s3_place, tmp_path, scenario
):
    helpers = Path(__file__).parents[1] / "helpers"
    environment = os.environ | {"PYTHONPATH": f"{helpers.parents[1]}{os.pathsep}{helpers}"}
    done = subprocess.run(
        [sys.executable, "s3_kill_everywhere.py", scenario, s3_server.endpoint, s3_place[0], tmp_path],
        cwd=helpers, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 20
