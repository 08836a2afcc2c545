"""What networks and servers do to a registry in a bucket: nothing is lost, nothing is written twice, and a person learns what to do."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from s3_proxy import ERROR, proxy_before, times
from s3_server import S3Server

from registry import s3_client, s3_objects, s3_reads
from registry.errors import TryAgain
from registry.files import sha256_file
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.stores import create_or_same, open_store

pytestmark = pytest.mark.usefixtures("quick_retries")
ONE = hashlib.sha256(b"1").hexdigest()


@pytest.mark.parametrize(
    "what", ["drop", "slow", "refuse", "half", 500, 503, (409, "ConditionalRequestConflict")], ids=str
)
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


@pytest.mark.parametrize("what", ["cut", "drop", "slow", 503], ids=str)
def test_a_listing_that_breaks_off_is_read_again(open_through, s3_store, s3_server, what):
    for number in range(20):
        s3_store.create(f"a/{number}", b"1")
    with proxy_before(s3_server.endpoint, times(1, what, "GET", "list-type"), patience=2.5) as (url, _):
        assert len(open_through(url).names("a")) == 20


@pytest.mark.parametrize(
    ("method", "what"),
    [("PUT", "drop"), ("PUT", "half"), ("PUT", 500), ("POST", "drop"), ("POST", 500), ("POST", (409, "409"))],
    ids=str,
)
def test_an_upload_in_parts_survives_lost_answers(open_through, s3_server, monkeypatch, tmp_path, what, method):
    monkeypatch.setattr(s3_reads, "PART", 5 << 20)
    monkeypatch.setattr(s3_client, "READ_SECONDS", 60)
    data = os.urandom(11 << 20)
    (tmp_path / "source").write_bytes(data)
    with proxy_before(s3_server.endpoint, times(2, what, method, "uploadId")) as (url, _):
        store = open_through(url)
        store.create("a/b", tmp_path / "source", hashlib.sha256(data).hexdigest())
        assert store.path("a/b").read_bytes() == data


@pytest.mark.parametrize("equal", [True, False], ids=["equal bytes", "different bytes"])
def test_of_two_that_complete_an_upload_at_once_one_has_the_name_and_the_bytes_are_whole(
    s3_place, monkeypatch, tmp_path, equal
):
    """Whether the store lets one or both succeed: the object is called by its SHA-256, and the name is created once."""
    monkeypatch.setattr(s3_reads, "PART", 5 << 20)
    monkeypatch.setattr(s3_client, "READ_SECONDS", 60)
    files = [tmp_path / "one", tmp_path / "other"]
    for path in files:
        path.write_bytes(os.urandom(6 << 20))
    if equal:
        files[1].write_bytes(files[0].read_bytes())
    both, complete = threading.Barrier(2, timeout=60), s3_objects.Objects._complete
    monkeypatch.setattr(s3_objects.Objects, "_complete", lambda *words: (both.wait() and False) or complete(*words))
    stores = [open_store(*s3_place) for _ in files]

    def create(store, path):
        return create_or_same(store, "a/b", path, sha256_file(path))

    with ThreadPoolExecutor(2) as pool:
        same = list(pool.map(create, stores, files))
    assert sorted(same) == [equal, True]
    winner = files[same.index(True)].read_bytes()
    assert stores[0].path("a/b").read_bytes() == winner
    kept = {name for name, _ in stores[0]._objects.listing(".store/objects", deep=True)}
    assert kept == {f"{sha256_file(each)[:2]}/{sha256_file(each)}" for each in files}
    assert stores[0].digests(stores[0].own_files()) == {
        f".store/objects/{name}": name.rpartition("/")[2] for name in kept
    }


@pytest.mark.parametrize("answer", [(412, "PreconditionFailed"), (409, "409")], ids=str)
def test_who_completes_an_upload_second_finds_the_bytes_of_the_first(
    open_through, s3_store, s3_server, monkeypatch, tmp_path, answer
):
    monkeypatch.setattr(s3_reads, "PART", 5 << 20)
    monkeypatch.setattr(s3_client, "READ_SECONDS", 60)
    path = tmp_path / "source"
    path.write_bytes(os.urandom(6 << 20))

    def first_was_quicker(*_):
        s3_store.create("a/first", path, sha256_file(path))
        return answer[0], {}, ERROR.format(answer[1]).encode()

    with proxy_before(s3_server.endpoint, times(1, first_was_quicker, "POST", "uploadId=")) as (url, _):
        store = open_through(url)
        store.create("a/second", path, sha256_file(path))
        assert store.path("a/second").read_bytes() == path.read_bytes()
        assert s3_store.get("a/first") == s3_store.get("a/second")


def test_a_storm_of_refusals_loses_and_doubles_nothing(open_through, s3_store, s3_server):
    """Every other request is answered with 503, of writers that race for the same names."""
    with proxy_before(s3_server.endpoint, lambda number, *_: 503 if number % 2 else None) as (url, _):
        stores = [open_through(url) for _ in range(3)]
        won = {}

        def write(me):
            for number in range(6):
                ours = b"%d of %d" % (number, me)
                with contextlib.suppress(FileExistsError):
                    persist(lambda number=number, ours=ours: stores[me].create(f"a/{number}", ours))
                    assert won.setdefault(f"a/{number}", ours) == ours

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(write, range(3)))
    kept = {f"a/{number}": s3_store.get(f"a/{number}") for number in range(6)}
    assert won.items() <= kept.items()
    assert all(data in {b"%b of %d" % (name[2:].encode(), me) for me in range(3)} for name, data in kept.items())


def persist(act, seconds=60):
    """As a person who runs the same command until it works."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(TryAgain):
            return act()
        time.sleep(0.1)
    return act()


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


@pytest.mark.slow
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
        persist(lambda: store.get("a/29"))
        assert {int(name): store.get(f"a/{name}") for name in store.names("a")} == {n: b"%d" % n for n in range(30)}
        with pytest.raises(FileExistsError):
            store.create("a/7", b"other")
        store.create("a/30", b"30")
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["sample", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize("scenario", ["publish", "promote"])
def test_a_writer_that_is_killed_at_any_request_leaves_the_state_before_or_after(
    s3_server, s3_place, tmp_path, scenario, which
):
    helpers = Path(__file__).parents[1] / "helpers"
    environment = os.environ | {"PYTHONPATH": f"{helpers.parents[1]}{os.pathsep}{helpers}"}
    done = subprocess.run(
        [sys.executable, "s3_kill_everywhere.py", scenario, s3_server.endpoint, s3_place[0], tmp_path, which],
        cwd=helpers, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    kills, moments = map(int, done.stdout.split()[-2:])
    assert moments > 20
    assert kills >= 0.95 * moments if which == "all" else kills >= moments / 5
