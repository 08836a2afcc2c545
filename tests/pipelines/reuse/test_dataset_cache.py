"""What a dataset commit gives is made once, whole or absent, found as it was made, and swept when nobody needs it."""

import multiprocessing
import os
import shutil
import signal
import threading

import pytest

from pipelines.reuse.dataset_cache import FREE, HELD, Shelf, as_made, point
from pipelines.runs import RunFolder


class Desk:
    """A shelf, runs that use it, and how often something was made."""

    def __init__(self, folder):
        self.folder, self.over, self.made = folder, set(), 0
        self.shelf = Shelf(folder / "shelf", self.over.__contains__)

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
        return self.shelf.find(key, self.run(run)) or self.shelf.put(key, self.run(run), self.fill)

    def entries(self):
        return sorted(path.name.partition("-")[0] for path in self.shelf.folder.glob("[!.]*"))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_the_second_run_finds_what_the_first_has_made(desk):
    first, second = desk.get(run="first"), desk.get(run="second")
    assert first == second
    assert (second / "pictures/cat/1.png").read_bytes() == b"a cat"
    assert desk.made == 1


def test_another_key_is_another_thing(desk):
    assert desk.get("one") != desk.get("two")
    assert desk.made == 2


def test_nobody_writes_to_it_by_mistake_and_rm_removes_it(desk):
    content = desk.get()
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
def test_what_was_changed_is_made_again(desk, change):
    old = desk.get(run="first")
    change(old / "pictures/cat/1.png")
    new = desk.get(run="second")
    assert new != old
    assert (new / "pictures/cat/1.png").read_bytes() == b"a cat"
    assert desk.made == 2
    assert desk.get(run="third") == new


def test_more_links_to_its_files_are_no_change(desk, tmp_path):
    os.link(desk.get() / "names.json", tmp_path / "names.json")
    desk.get(run="second")
    assert desk.made == 1


def test_what_was_made_before_the_machine_was_started_is_made_again(desk):
    state = next(desk.shelf.folder.glob("*/state.json")) if desk.get() else None
    state.write_text(state.read_text().replace('"boot": "', '"boot": "another '))
    desk.get(run="second")
    assert desk.made == 2


def test_half_of_it_is_never_found(desk):
    def fill(into):
        desk.fill(into)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        desk.shelf.put("key", desk.run("run"), fill)
    assert desk.shelf.find("key", desk.run("run")) is None
    assert list(desk.shelf.folder.glob(".unfinished-*")) == []


def test_who_fills_it_and_is_killed_leaves_nothing_that_is_found_and_is_swept(desk):
    def fill(into):
        desk.fill(into)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=desk.shelf.put, args=("key", desk.run("run"), fill))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(list(desk.shelf.folder.glob(".unfinished-*"))) == 1
    desk.get()
    assert desk.made == 1
    assert list(desk.shelf.folder.glob(".unfinished-*")) == []


def test_who_finds_an_entry_sweeps_what_killed_processes_left(desk):
    desk.get()
    left = desk.shelf.folder / ".unfinished-key-12345678/content"
    left.mkdir(parents=True)
    desk.get()
    assert desk.made == 1
    assert [each.name for each in desk.shelf.folder.glob(".[!l]*")] == []


def test_what_is_being_filled_is_not_swept_whatever_the_clock_says(desk):
    def fill(into):
        os.utime(into.parent, (0, 0))
        desk.shelf.sweep()
        desk.fill(into)

    assert desk.shelf.put("key", desk.run("run"), fill).exists()


def test_those_used_last_stay(desk):
    for number in range(FREE + 3):
        desk.get(f"key{number}", "over")
        desk.over.add(desk.run("over"))
        desk.get("key0", "over")
    assert desk.entries() == ["key0", *(f"key{number}" for number in range(FREE + 3 - FREE + 1, FREE + 3))]


def test_a_run_that_is_not_over_keeps_what_it_points_to(desk):
    mine = desk.get("mine", "mine")
    desk.over.add(desk.run("over"))
    for number in range(FREE + 3):
        desk.get(f"key{number}", "over")
    assert mine.exists()
    desk.over.add(desk.run("mine"))
    desk.get("one more", "over")
    assert not mine.exists()


def test_runs_that_never_end_do_not_fill_the_disk(desk):
    for number in range(HELD + 3):
        desk.get(f"key{number}", f"run{number}")
    assert len(desk.entries()) == HELD


def test_a_run_that_is_at_work_keeps_what_it_points_to_however_many_have_failed_since(desk):
    mine = desk.get("mine", "mine")
    with RunFolder(desk.run("mine")).locked():
        for number in range(HELD + 3):
            desk.get(f"key{number}", f"run{number}")
    assert mine.exists()
    assert len(desk.entries()) == HELD + 1


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
def test_what_is_half_deleted_is_made_again(desk, damage):
    damage(desk.get(run="first").parent)
    for name in ("second", "third"):
        assert (desk.get(run=name) / "pictures/cat/1.png").read_bytes() == b"a cat"
    desk.shelf.sweep()


def test_links_in_it_change_nothing_elsewhere(desk, tmp_path):
    (tmp_path / "mine").touch(0o644)

    def fill(into):
        (into / "link").symlink_to(tmp_path / "mine")
        (into / "dangling").symlink_to(tmp_path / "nowhere")

    desk.shelf.put("key", desk.run("run"), fill)
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o644
    assert desk.shelf.find("key", desk.run("run"))


def test_a_link_of_a_run_tells_when_it_leads_to_something_else_by_now(desk, tmp_path):
    content = desk.get()
    for link, target in (("whole", content / "pictures"), ("gone", tmp_path / "nowhere"), ("not of it", tmp_path)):
        (tmp_path / link).symlink_to(target)
    assert as_made(tmp_path / "whole")
    assert as_made(content), "no link"
    assert not as_made(tmp_path / "gone")
    assert not as_made(tmp_path / "not of it")
    altered(content / "pictures/cat/1.png")
    assert not as_made(tmp_path / "whole")


def test_many_who_need_the_same_at_once_all_get_it_whole(desk):
    start, found = threading.Barrier(8), []

    def need(number):
        start.wait()
        found.append((desk.get(run=f"run{number}") / "pictures/cat/1.png").read_bytes())

    threads = [threading.Thread(target=need, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"a cat"] * 8


@pytest.mark.parametrize("left", ["nothing", "a folder", "a link to nowhere"])
def test_a_link_takes_the_place_of_what_a_killed_try_has_left(desk, tmp_path, left):
    link = tmp_path / "run" / "data"
    link.parent.mkdir()
    if left == "a folder":
        (link / "half").mkdir(parents=True)
    elif left == "a link to nowhere":
        link.symlink_to(tmp_path / "gone")
    content = desk.get()
    point(link, content)
    assert link.resolve() == content
    assert [path.name for path in link.parent.iterdir()] == ["data"]
