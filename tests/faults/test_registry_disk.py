"""The registry's disk is full, has no inodes left, may only be read, or goes away: nothing is lost, and the same command
resumes when the disk is well again."""

import os
import threading

import pytest
from promotion_parts import LEFT, MODEL, Project
from registry_faults_parts import small_disk

from registry_parts import make_card, promote, publish, acceptance, write_files  # isort: skip

from registry import candidates, releases
from registry.errors import ConfigError, TryAgain
from registry.stores import open_store
from registry.verify import verify

KB = 1024
FILES = {"model.keras": os.urandom(40 * KB), "model.tflite": os.urandom(20 * KB), "metrics.json": b"{}"}
FIRST = {"model.keras": b"first", "model.tflite": b"first, served"}


@pytest.fixture
def folder(tmp_path):
    """Where the registry's own disk is mounted."""
    return tmp_path / "disk"


def everything(store, tmp_path):
    """A new version, tried and promoted, as the steps and the command do it; each part finds what it did before."""
    publish(store, tmp_path, "new", files=FILES)
    if not candidates.acceptances(store, "digits", 2):
        candidates.append_acceptance(store, acceptance(store, 2))
    latest = releases.latest(store, "digits")
    if latest.version != 2:
        promote(store, 2, "token of 2")


def tight(disk, folder, tmp_path, sizes, unit):
    """Do everything on a disk that is a little larger each time, until it fits; gives how often it was refused with `full`."""
    refused = 0
    for size in sizes:
        disk(**{unit: size})
        store = open_store(f"file://{folder / 'registry'}")
        try:
            everything(store, tmp_path)
        except TryAgain as error:
            assert str(folder) in str(error)
            assert "free space" in error.hint
            refused += 1
        else:
            assert verify(store) == []
            assert releases.live(store, "digits").version == 2
            return refused
        assert verify(store) == [], f"{unit} {size}"
        live = releases.live(store, "digits")
        candidates.local_folder(store, "production", "digits", live.version, live.card)
        left = list((folder / "registry" / ".store" / "unfinished").iterdir())
        assert left == [], "a writer that was refused cleans up"
    raise AssertionError("it never fitted")


def test_a_full_disk_loses_nothing_and_the_same_command_resumes(folder, tmp_path):
    with small_disk(folder, size="4m") as disk:
        store = open_store(f"file://{folder / 'registry'}")
        promote(store, publish(store, tmp_path, "old", files=FIRST), "token of 1")
        used = (os.statvfs(folder).f_blocks - os.statvfs(folder).f_bfree) * os.statvfs(folder).f_frsize // KB
        assert tight(disk, folder, tmp_path, (f"{size}k" for size in range(used, used + 400, 4)), "size") > 5


def test_a_disk_without_inodes_loses_nothing_and_the_same_command_resumes(folder, tmp_path):
    with small_disk(folder, size="4m", nr_inodes=1000) as disk:
        store = open_store(f"file://{folder / 'registry'}")
        promote(store, publish(store, tmp_path, "old", files=FIRST), "token of 1")
        used = os.statvfs(folder).f_files - os.statvfs(folder).f_ffree
        assert tight(disk, folder, tmp_path, range(used, used + 100), "nr_inodes") > 5


def test_a_registry_that_may_only_be_read_is_read_and_says_so_to_who_writes(folder, tmp_path):
    with small_disk(folder, size="4m") as disk:
        store = open_store(f"file://{folder / 'registry'}")
        promote(store, publish(store, tmp_path, "old", files=FIRST), "token of 1")
        disk(ro="")
        for each in (store, open_store(f"file://{folder / 'registry'}")):
            with pytest.raises(ConfigError, match="Read-only") as refused:
                publish(each, tmp_path, "new", files=FILES)
            assert "writable" in refused.value.hint
            with pytest.raises(ConfigError, match="Read-only"):
                promote(each, 1, "another token")
            live = releases.live(each, "digits")
            candidates.local_folder(each, "production", "digits", live.version, live.card)
            assert verify(each) == []
        disk(rw="")
        everything(store, tmp_path)
        assert verify(store) == []


def test_a_folder_that_vanishes_between_two_calls_is_out_of_reach_and_back_again(tmp_path):
    root, away = tmp_path / "registry", tmp_path / "away"
    store = open_store(f"file://{root}")
    promote(store, publish(store, tmp_path, "old", files=FIRST), "token of 1")
    root.rename(away)
    for empty in (False, True):  # the mount point is gone, or there and empty
        for act in (
            lambda: publish(store, tmp_path, "new", files=FILES),
            lambda: releases.live(store, "digits"),
            lambda: releases.read_history(store, "digits"),
            lambda: candidates.newest(store, "digits"),
            lambda: promote(store, 1, "another token"),
        ):
            with pytest.raises(TryAgain, match="gone"):
                act()
        if not empty:
            root.mkdir()
    assert list(root.iterdir()) == [], "nobody begins a new registry in the place of the old one"
    root.rmdir()
    away.rename(root)
    everything(store, tmp_path)
    assert verify(store) == []


def test_a_folder_that_vanishes_in_the_middle_of_a_publication_is_reported_and_it_resumes(tmp_path):
    """At each file-system call of a publication in turn, the registry's disk goes away under the writer's hands."""
    root, away = tmp_path / "registry", tmp_path / "away"
    publish(open_store(f"file://{root}"), tmp_path, "old", files=FIRST)
    source = tmp_path / "new"
    files = write_files(source, FILES)
    real, calls = os.link, 0
    for number in range(1, 20):
        store, calls = open_store(f"file://{root}"), 0
        lock = threading.Lock()

        def link(old, new, number=number, lock=lock):
            nonlocal calls
            with lock:
                calls += 1
                if calls == number:
                    root.rename(away)
            real(old, new)

        os.link = link
        try:
            version = candidates.claim(store, "digits", "new")
            candidates.publish(store, make_card(version, "new", files), source)
            assert calls < number, "it went on without its disk"
            break
        except TryAgain as error:
            assert "gone" in str(error)
        finally:
            os.link = real
            if away.exists():
                away.rename(root)
        assert verify(open_store(f"file://{root}")) == []
    assert number > 3
    assert candidates.newest(open_store(f"file://{root}"), "digits") == 2
    assert verify(open_store(f"file://{root}")) == []


@pytest.mark.tensorflow
def test_the_api_answers_while_the_registry_is_away_and_promotion_resumes_when_it_is_back(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    try:
        project.publish("thirds")
        project.publish("dull")
        project.promote(1)
        root, away = tmp_path / "registry", tmp_path / "away"
        token = project.token(2)
        root.rename(away)
        with pytest.raises(TryAgain, match="gone"):
            project.promote(2, token)
        assert project.ask(LEFT)[0] == 200
        assert not root.exists()
        away.rename(root)
        assert project.ask(LEFT)[1]["version"] == 1
        assert project.promote(2, token).number == 2
        assert project.ask(LEFT)[1]["version"] == 2
        assert [each.version for each in releases.releases(project.store, MODEL)] == [1, 2]
        assert verify(project.store) == []
    finally:
        project.stop()
