"""What a dataset commit gives is made once, whole or absent, found as it was made, and swept when nobody needs it."""

import multiprocessing
import os
import shutil
import signal
import threading

import pytest

from pipelines.reuse.dataset_cache import KEPT_IN_USE, KEPT_UNUSED, DatasetCache, link_is_intact
from pipelines.reuse.symlinks import replace_with_symlink
from pipelines.runs import RunFolder


class User:
    """A cache, runs that use it, and how often something was made."""

    def __init__(self, folder):
        self.folder, self.over, self.made = folder, set(), 0
        self.cache = DatasetCache(folder / "cache", self.over.__contains__)

    def run(self, name):
        run = self.folder / "runs" / name
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").touch()
        return run

    def fill(self, into):
        self.made += 1
        (into / "pictures" / "cat").mkdir(parents=True)
        (into / "pictures" / "cat" / "1.png").write_bytes(b"a cat")
        (into / "names.json").write_text("[]")

    def get(self, key="key", run="run"):
        return self.cache.get(key, self.run(run)) or self.cache.add(key, self.run(run), self.fill)

    def entries(self):
        return sorted(path.name.partition("-")[0] for path in self.cache.folder.glob("[!.]*"))


@pytest.fixture
def user(tmp_path):
    return User(tmp_path)


def test_the_second_run_finds_what_the_first_hlink_is_intact(user):
    first, second = user.get(run="first"), user.get(run="second")
    assert first == second
    assert (second / "pictures/cat/1.png").read_bytes() == b"a cat"
    assert user.made == 1


def test_another_key_is_another_thing(user):
    assert user.get("one") != user.get("two")
    assert user.made == 2


def test_nobody_writes_to_it_by_mistake_and_rm_removes_it(user):
    content = user.get()
    files = [path for path in content.rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)
    assert all(path.stat().st_mode & 0o200 for path in content.rglob("*") if path.is_dir())


def altered(path):
    path.chmod(0o644)
    path.write_bytes(b"a dog")
    path.chmod(0o444)


def replaced(path):
    status = path.stat()
    path.unlink()
    path.write_bytes(b"a dog")
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "altered": altered,
    "replaced": replaced,
    "truncated": lambda path: os.truncate(path, 1),
    "removed": lambda path: path.unlink(),
    "added": lambda path: (path.parent / "2.png").write_bytes(b""),
    "renamed": lambda path: path.rename(path.with_name("3.png")),
    "made a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "made writable": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_made_again(user, change):
    old = user.get(run="first")
    change(old / "pictures/cat/1.png")
    new = user.get(run="second")
    assert new != old
    assert (new / "pictures/cat/1.png").read_bytes() == b"a cat"
    assert user.made == 2
    assert user.get(run="third") == new


def test_more_links_to_its_files_do_not_change_it(user, tmp_path):
    os.link(user.get() / "names.json", tmp_path / "names.json")
    user.get(run="second")
    assert user.made == 1


def test_what_was_made_before_the_machine_was_started_is_made_again(user):
    state = next(user.cache.folder.glob("*/state.json")) if user.get() else None
    state.write_text(state.read_text().replace('"boot": "', '"boot": "another '))
    user.get(run="second")
    assert user.made == 2


def test_half_of_it_is_never_found(user):
    def fill(into):
        user.fill(into)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        user.cache.add("key", user.run("run"), fill)
    assert user.cache.get("key", user.run("run")) is None
    assert list(user.cache.folder.glob(".unfinished-*")) == []


def test_who_fills_it_and_is_killed_leaves_nothing_that_is_found_and_is_swept(user):
    def fill(into):
        user.fill(into)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=user.cache.add, args=("key", user.run("run"), fill))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(list(user.cache.folder.glob(".unfinished-*"))) == 1
    user.get()
    assert user.made == 1
    assert list(user.cache.folder.glob(".unfinished-*")) == []


def test_who_finds_an_entry_sweeps_what_killed_processes_left(user):
    user.get()
    left = user.cache.folder / ".unfinished-key-12345678/content"
    left.mkdir(parents=True)
    user.get()
    assert user.made == 1
    assert [each.name for each in user.cache.folder.glob(".[!l]*")] == []


def test_what_is_being_filled_is_not_evicted_whatever_the_clock_says(user):
    def fill(into):
        os.utime(into.parent, (0, 0))
        user.cache.evict()
        user.fill(into)

    assert user.cache.add("key", user.run("run"), fill).exists()


def test_those_used_last_stay(user):
    for number in range(KEPT_UNUSED + 3):
        user.get(f"key{number}", "over")
        user.over.add(user.run("over"))
        user.get("key0", "over")
    assert user.entries() == ["key0", *(f"key{number}" for number in range(4, KEPT_UNUSED + 3))]


def test_a_run_that_is_not_over_keeps_what_it_points_to(user):
    mine = user.get("mine", "mine")
    user.over.add(user.run("over"))
    for number in range(KEPT_UNUSED + 3):
        user.get(f"key{number}", "over")
    assert mine.exists()
    user.over.add(user.run("mine"))
    user.get("one more", "over")
    assert not mine.exists()


def test_runs_that_never_end_do_not_fill_the_disk(user):
    for number in range(KEPT_IN_USE + 3):
        user.get(f"key{number}", f"run{number}")
    assert len(user.entries()) == KEPT_IN_USE


def test_a_run_that_is_at_work_keeps_what_it_points_to_however_many_have_failed_since(user):
    mine = user.get("mine", "mine")
    with RunFolder(user.run("mine")).locked():
        for number in range(KEPT_IN_USE + 3):
            user.get(f"key{number}", f"run{number}")
    assert mine.exists()
    assert len(user.entries()) == KEPT_IN_USE + 1


HALF = {
    "content gone": lambda entry: shutil.rmtree(entry / "content"),
    "content a file": lambda entry: (shutil.rmtree(entry / "content"), (entry / "content").touch()),
    "users gone": lambda entry: shutil.rmtree(entry / "users"),
    "state gone": lambda entry: (entry / "state.json").unlink(),
    "content and state gone": lambda entry: ((entry / "state.json").unlink(), shutil.rmtree(entry / "content")),
    "all but its name gone": lambda entry: (shutil.rmtree(entry), entry.mkdir()),
    "a file of its name": lambda entry: (shutil.rmtree(entry), entry.touch()),
}


@pytest.mark.parametrize("damage", HALF.values(), ids=HALF)
def test_what_is_half_deleted_is_made_again(user, damage):
    damage(user.get(run="first").parent)
    for name in ("second", "third"):
        assert (user.get(run=name) / "pictures/cat/1.png").read_bytes() == b"a cat"
    user.cache.evict()


def test_links_in_it_change_nothing_elsewhere(user, tmp_path):
    (tmp_path / "mine").touch(0o644)

    def fill(into):
        (into / "link").symlink_to(tmp_path / "mine")
        (into / "dangling").symlink_to(tmp_path / "nowhere")

    user.cache.add("key", user.run("run"), fill)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o644
    assert user.cache.get("key", user.run("run"))


def test_a_link_of_a_run_shows_when_it_leads_to_something_else_by_now(user, tmp_path):
    content = user.get()
    for link, target in (("whole", content / "pictures"), ("gone", tmp_path / "nowhere"), ("not of it", tmp_path)):
        (tmp_path / link).symlink_to(target)
    assert link_is_intact(tmp_path / "whole")
    assert link_is_intact(content), "no link"
    assert not link_is_intact(tmp_path / "gone")
    assert not link_is_intact(tmp_path / "not of it")
    altered(content / "pictures/cat/1.png")
    assert not link_is_intact(tmp_path / "whole")


def test_many_who_need_the_same_at_once_all_get_it_whole(user):
    start, found = threading.Barrier(8), []

    def need(number):
        start.wait()
        found.append((user.get(run=f"run{number}") / "pictures/cat/1.png").read_bytes())

    threads = [threading.Thread(target=need, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"a cat"] * 8


@pytest.mark.parametrize("left", ["nothing", "a folder", "a link to nowhere"])
def test_a_link_takes_the_place_of_what_a_killed_try_has_left(user, tmp_path, left):
    link = tmp_path / "run" / "data"
    link.parent.mkdir()
    if left == "a folder":
        (link / "half").mkdir(parents=True)
    elif left == "a link to nowhere":
        link.symlink_to(tmp_path / "gone")
    content = user.get()
    replace_with_symlink(link, content)
    assert link.resolve() == content
    assert [path.name for path in link.parent.iterdir()] == ["data"]
