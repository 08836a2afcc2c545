"""A store that keeps no promise is found before anything is written, and named."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from s3_stub import store_that
from serving_parts import free_port

from registry import s3_probe
from registry.errors import ConfigError
from registry.store_options import Access, StoreOptions
from registry.stores import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")


def open_at(url, folder):
    return open_store("s3://bucket/models", StoreOptions(Access(url, "us-east-1"), cache=str(folder)))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("overwrites", "8 of 8 concurrent creates of one object succeed"),
        ("all win", "[2-8] of 8 concurrent creates of one object succeed"),
        ("wrong bytes", "has the bytes of a create that was refused"),
        ("nobody", "none of 8 concurrent creates"),
    ],
)
def test_a_store_that_only_pretends_is_refused_with_its_name_and_a_way_out(tmp_path, kind, says):
    with store_that(kind) as (url, kept):
        store = open_at(url, tmp_path)
        for act in (store.probe, lambda: store.create("a/b", b"1"), lambda: store.create("a/b", b"1")):
            with pytest.raises(ConfigError, match=rf"\[registry\] url: .*Pretender/1.0: .*{says}") as error:
                act()
            assert error.value.exit_code == 2
            assert "file://" in error.value.hint
        assert kept == {}


def test_a_probe_that_has_passed_is_remembered_for_a_day_on_this_machine(tmp_path, monkeypatch):
    races = []
    real = s3_probe._race
    monkeypatch.setattr(s3_probe, "_race", lambda objects: races.append(1) or real(objects))
    with store_that("honest") as (url, kept):
        open_at(url, tmp_path).create("a/b", b"1")
        assert len(races) == s3_probe.ROUNDS
        open_at(url, tmp_path).create("a/c", b"1")
        open_store("s3://bucket/other", StoreOptions(Access(url, "us-east-1"), cache=str(tmp_path))).create("a", b"1")
        assert len(races) == s3_probe.ROUNDS, "a bucket is a bucket, whatever the prefix"
        open_at(url, tmp_path).probe()
        assert len(races) == 2 * s3_probe.ROUNDS, "who asks for a probe gets one"
        (mark,) = (tmp_path / "probed").iterdir()
        assert mark.read_text() == "Pretender/1.0\n"
        long_ago = time.time() - s3_probe.FRESH - 1
        os.utime(mark, (long_ago, long_ago))
        open_at(url, tmp_path).create("a/d", b"1")
        assert len(races) == 3 * s3_probe.ROUNDS
        assert sorted(kept) == ["/bucket/models/a/b", "/bucket/models/a/c", "/bucket/models/a/d", "/bucket/other/a"]


def test_reading_needs_no_probe(tmp_path):
    with store_that("overwrites") as (url, kept):
        kept["/bucket/models/a/b"] = b"1"
        assert open_at(url, tmp_path).get("a/b") == b"1"
        assert not (tmp_path / "probed").exists()


S3RVER = Path(os.environ.get("S3RVER") or ROOT / "build" / "node" / "node_modules" / ".bin" / "s3rver")


@pytest.mark.slow
def test_a_real_server_that_overwrites_is_refused(tmp_path, monkeypatch):
    if not S3RVER.exists():
        assert not os.environ.get("TRAINYARD_TEST_GROOVY"), f"{S3RVER} is missing: npm ci, as .ci/run does"
        pytest.skip("s3rver is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "S3RVER")
    port = free_port()
    command = [S3RVER, "--directory", tmp_path / "data", "--address", "127.0.0.1", "--port", str(port), "--silent"]
    with subprocess.Popen([*command, "--configure-bucket", "bucket"]) as server:
        try:
            until_it_answers(port)
            store = open_at(f"http://127.0.0.1:{port}", tmp_path / "cache")
            with pytest.raises(ConfigError, match="8 of 8 concurrent creates of one object succeed") as error:
                store.create("a/b", b"1")
            assert error.value.exit_code == 2
            assert not list((tmp_path / "data" / "bucket").rglob("*a/b*"))
        finally:
            server.terminate()


def until_it_answers(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("s3rver does not answer")
