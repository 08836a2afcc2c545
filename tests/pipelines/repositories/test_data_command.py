"""`trainyard data`: files of a dataset that do not lie in git, on a person's machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from outside_git import manifest, object_path, put, sha256
from repositories_parts import git

from pipelines.__main__ import main
from pipelines.repositories.outside.manifest import parse

IMAGES = {f"images/{kind}/{number}.png": bytes([number]) * 99 for kind in ("cat", "dog") for number in range(5)}
TABLE = b"a,b\n" * 1000


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def data(repository, store, monkeypatch):
    """A dataset repository, and a clone of it to work in, which is the current folder."""
    made = repository("data")
    made.commit({"dataset.toml": f'format = "images"\n[data]\nstore = "{store}"\n'.encode()})
    monkeypatch.chdir(made.work)
    write(made.work, IMAGES)
    return made


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        put(folder / name, content)


@pytest.fixture
def run(capsys):
    """The command's exit code and what it prints, as JSON when it is that."""

    def run(*words):
        code = main(["data", *words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out.startswith("{") else out, err

    return run


def settle():
    """Files are trusted once their times are a few ticks old."""
    time.sleep(0.06)


class TestAdd:
    def test_a_folder_is_listed_and_ignored_by_git(self, data, run):
        code, out, _ = run("add", "images")
        assert code == 0
        assert "10 new, 0 changed, 0 gone; 10 files" in out
        made = parse((data.work / "dataset.lock").read_bytes())
        assert {name: file.sha256 for name, file in made.files.items()} == {
            name: sha256(content) for name, content in IMAGES.items()
        }
        assert made.folders == {"images"}
        assert (data.work / ".gitignore").read_text() == "/images/\n"
        assert git("status", "--porcelain", cwd=data.work).split() == ["??", ".gitignore", "??", "dataset.lock"]

    def test_what_is_new_changed_and_gone_follows_the_disk(self, data, run):
        run("add", "images")
        (data.work / "images/cat/0.png").unlink()
        write(data.work, {"images/cat/1.png": b"other", "images/cat/new.png": b"new"})
        assert run("add", "images", "--json")[1] == {"new": 1, "changed": 1, "gone": 1, "files": 10, "bytes": 800}

    def test_a_path_that_is_gone_leaves_the_manifest_and_the_ignored(self, data, run):
        write(data.work, {"a [1].csv": TABLE})
        run("add", "images", "a [1].csv")
        assert "/a\\ \\[1\\].csv" in (data.work / ".gitignore").read_text()
        assert "a [1].csv" not in git("status", "--porcelain", cwd=data.work)
        (data.work / "a [1].csv").unlink()
        run("add", "a [1].csv")
        assert "a [1].csv" not in parse((data.work / "dataset.lock").read_bytes()).files
        assert (data.work / ".gitignore").read_text() == "/images/\n"

    def test_from_a_folder_below(self, data, run, monkeypatch):
        monkeypatch.chdir(data.work / "images")
        run("add", "cat")
        assert parse((data.work / "dataset.lock").read_bytes()).folders == {"images/cat"}

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("nowhere", "nowhere: there is no such file"),
            ("..", "not a file or a folder below"),
            (".", "not a file or a folder below"),
            ("/etc/passwd", "not a file or a folder below"),
            (".git/config", "lies in git's own folder"),
            ("dataset.toml", "dataset.toml: in git already"),
            ("link", "link: a link, or not a file"),
            ("linked", "linked/passwd: a link, or not a file"),
            ("twins", "are one file on a disk that ignores upper case"),
        ],
    )
    def test_what_cannot_be_in_it_is_refused(self, data, run, path, said):
        (data.work / "link").symlink_to("images/cat/0.png")
        (data.work / "linked").mkdir()
        (data.work / "linked/passwd").symlink_to("/etc/passwd")
        write(data.work, {"twins/a.png": b"1", "twins/A.png": b"2"})
        code, _, err = run("add", path)
        assert code == 2
        assert said in err
        assert "hint:" in err
        assert not (data.work / "dataset.lock").exists()


class TestPushAndPull:
    def test_another_clone_gets_the_same_files(self, tmp_path, data, run, store, monkeypatch):
        run("add", "images")
        code, out, _ = run("push", "--json")
        assert (code, out) == (0, {"moved": 5, "bytes": 495, "files": 10, "store": str(store)})  # cats are dogs here
        data.commit({})
        git("clone", "--quiet", str(data.url), "clone", cwd=tmp_path)
        monkeypatch.chdir(tmp_path / "clone")
        assert run("status", "--json")[1]["missing"] == sorted(IMAGES)
        assert run("pull", "--json")[1]["moved"] == 5
        assert {name: (tmp_path / "clone" / name).read_bytes() for name in IMAGES} == IMAGES
        assert run("status", "--json")[1] == {"unchanged": 10, "changed": [], "missing": [], "new": [], "unpushed": []}

    def test_a_second_push_sends_only_what_is_new(self, data, run):
        run("add", "images")
        run("push")
        write(data.work, {"images/cat/new.png": b"new"})
        run("add", "images")
        assert run("status", "--json")[1]["unpushed"] == ["images/cat/new.png"]
        assert run("push", "--json")[1]["moved"] == 1
        assert run("push", "--json")[1]["moved"] == 0

    def test_with_all_the_store_is_asked_anew(self, data, run, store):
        run("add", "images")
        run("push")
        object_path(store, IMAGES["images/cat/3.png"]).unlink()
        assert run("push", "--json")[1]["moved"] == 0
        assert run("push", "--all", "--json")[1]["moved"] == 1

    def test_older_commits_come_from_the_clone_itself(self, data, run, store):
        run("add", "images")
        run("push")
        first = data.commit({})
        write(data.work, {"images/cat/1.png": b"other"})
        (data.work / "images/dog/1.png").unlink()
        run("add", "images")
        run("push")
        second = data.commit({})
        for each in store.glob("sha256/*/*"):
            each.chmod(0o600)
        git("checkout", "--quiet", first, cwd=data.work)
        assert run("pull", "--json")[1]["moved"] in {0, 1}  # the file that was deleted by hand has to be fetched
        assert {name: (data.work / name).read_bytes() for name in IMAGES} == IMAGES
        git("checkout", "--quiet", second, cwd=data.work)
        assert run("pull", "--json")[1]["moved"] == 0
        assert (data.work / "images/cat/1.png").read_bytes() == b"other"

    def test_a_file_that_changed_after_it_was_added_is_not_pushed(self, data, run, store):
        run("add", "images")
        write(data.work, {"images/cat/1.png": b"other"})
        code, _, err = run("push")
        assert code == 2
        assert "images/cat/1.png: changed since `trainyard data add`" in err
        assert not list(store.iterdir())

    def test_a_change_that_is_nowhere_else_is_not_overwritten(self, data, run):
        run("add", "images")
        run("push")
        write(data.work, {"images/cat/1.png": b"precious"})
        code, _, err = run("pull")
        assert code == 2
        assert "images/cat/1.png: changed here" in err
        assert (data.work / "images/cat/1.png").read_bytes() == b"precious"
        assert run("pull", "--force")[0] == 0
        assert (data.work / "images/cat/1.png").read_bytes() == IMAGES["images/cat/1.png"]

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[::-1] + b"!"], ids=["cut", "altered"])
    def test_other_bytes_from_the_store_are_refused_and_leave_nothing(self, data, run, store, damage):
        write(data.work, {"t.csv": TABLE})
        run("add", "t.csv")
        run("push")
        (data.work / "t.csv").unlink()
        put(object_path(store, TABLE).with_name("x"), damage(TABLE)).replace(object_path(store, TABLE))
        code, _, err = run("pull")
        assert code == 2
        assert "t.csv" in err
        assert not (data.work / "t.csv").exists()

    def test_what_is_neither_here_nor_there_is_named(self, data, run):
        run("add", "images")
        (data.work / "images/cat/1.png").unlink()
        (data.work / "images/dog/1.png").unlink()
        code, _, err = run("push")
        assert code == 2
        assert "images/cat/1.png, images/dog/1.png: neither here nor in the store" in err  # the same bytes

    def test_a_push_that_is_killed_resumes(self, data, run, store):
        write(data.work, {f"many/{number}": b"%d" % number for number in range(50)})
        run("add", "many")
        helper = Path(__file__).parents[2] / "helpers" / "dies_at.py"
        last = sha256(b"49")
        command = [sys.executable, "-P", str(helper), "os.link", last, "data", "push"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        assert subprocess.run(command, env=environment, check=False, capture_output=True).returncode == -9
        assert run("push", "--json")[0] == 0
        assert not list(store.rglob(".tmp-*"))
        assert {each.name for each in store.glob("sha256/*/*")} == {sha256(b"%d" % number) for number in range(50)}

    def test_without_a_store_it_is_said_where_to_name_one(self, data, run):
        data.commit({"dataset.toml": b'format = "images"\n'})
        run("add", "images")
        code, _, err = run("push")
        assert code == 2
        assert '[data] store = "s3://bucket/prefix"' in err

    def test_the_settings_may_name_another_store(self, tmp_path, data, run):
        run("add", "images")
        (tmp_path / "other").mkdir()
        text = 'model = "m"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\ndata_store = "other"\n'
        (tmp_path / "trainyard.toml").write_text(text)
        assert run("push", "--config", str(tmp_path / "trainyard.toml"), "--json")[1]["store"] == str(
            tmp_path / "other"
        )
        assert len(list((tmp_path / "other").glob("sha256/*/*"))) == 5  # cats and dogs have the same bytes


class TestStatus:
    def test_what_differs_is_listed_by_kind(self, data, run):
        run("add", "images")
        write(data.work, {"images/cat/1.png": b"other", "images/cat/new.png": b"new", "elsewhere.txt": b"x"})
        (data.work / "images/cat/0.png").unlink()
        _, out, _ = run("status", "--json")
        assert (out["changed"], out["missing"], out["new"]) == (
            ["images/cat/1.png"],
            ["images/cat/0.png"],
            ["images/cat/new.png"],
        )
        said = run("status")[1]
        assert "8 files as in dataset.lock, 10 not known to be in the store" in said
        assert "`trainyard data add PATH` lists in dataset.lock what is changed or new" in said

    def test_a_fresh_clone_is_pointed_to_pull_and_not_to_push(self, data, run):
        run("add", "images")
        run("push")
        for path in (data.work / "images").rglob("*.png"):
            path.unlink()
        shutil.rmtree(data.work / ".git" / "trainyard", ignore_errors=True)
        out = run("status")[1]
        assert "`trainyard data pull` brings what is missing" in out
        assert "data push" not in out
        assert "data add" not in out

    def test_unchanged_files_are_not_read_again(self, data, run, monkeypatch):
        settle()
        run("add", "images")
        monkeypatch.setattr("pipelines.repositories.outside.stat_cache._read", None)
        assert run("status", "--json")[1]["unchanged"] == 10

    def test_a_change_of_equal_size_in_the_same_tick_is_seen(self, data, run):
        run("add", "images")
        path = data.work / "images/cat/1.png"
        before = path.stat()
        path.write_bytes(b"x" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert run("status", "--json")[1]["changed"] == ["images/cat/1.png"]

    def test_outside_of_a_repository(self, tmp_path, run, monkeypatch):
        (tmp_path / "nothing").mkdir()
        monkeypatch.chdir(tmp_path / "nothing")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        code, _, err = run("status")
        assert code == 2
        assert "go to a clone of the dataset repository" in err


class TestGc:
    @pytest.fixture
    def history(self, data, run):
        """Two commits; the first one's cat 1 is in the store and kept here, and in no file of the working tree."""
        run("add", "images")
        run("push")
        first = data.commit({})
        write(data.work, {"images/cat/1.png": b"other", "images/dog/1.png": b"other"})
        run("add", "images")
        run("push")
        return first, data.commit({})

    def old(self, store):
        for each in store.glob("sha256/*/*"):
            os.utime(each, (1, 1))

    def test_what_a_branch_names_stays_in_the_store(self, run, store, history):
        self.old(store)
        code, out, _ = run("gc", "--store", "--yes")
        assert code == 0
        assert "the store keeps 6 objects" in out
        assert "2 versions of dataset.lock name, of main" in out
        assert len(list(store.glob("sha256/*/*"))) == 6

    def test_what_only_other_commits_name_goes(self, data, run, store, history):
        self.old(store)
        dry = run("gc", "--store", "--commits", "HEAD", "--dry-run", "--json")[1]
        assert (dry["removed"], dry["kept"], dry["commits"]) == (1, 5, ["HEAD"])
        assert len(list(store.glob("sha256/*/*"))) == 6
        assert run("gc", "--store", "--commits", "HEAD", "--yes")[0] == 0
        assert not object_path(store, IMAGES["images/cat/1.png"]).exists()
        assert len(list(store.glob("sha256/*/*"))) == 5

    def test_what_is_young_stays_as_its_commit_may_not_be_here_yet(self, run, store, history):
        out = run("gc", "--store", "--commits", "HEAD", "--yes", "--json")[1]
        assert (out["removed"], out["young"]) == (0, 1)

    def test_nobody_is_asked_nothing_is_removed(self, run, store, history):
        self.old(store)
        code, _, err = run("gc", "--store", "--commits", "HEAD")
        assert code == 2
        assert "nobody is here to confirm it" in err
        assert len(list(store.glob("sha256/*/*"))) == 6

    def test_a_store_that_other_repositories_use_is_left_alone(self, run, store, history):
        self.old(store)
        put(store / "repositories" / ("0" * 40), b"")
        code, _, err = run("gc", "--store", "--commits", "HEAD", "--yes")
        assert code == 2
        assert "1 other repositories have files there" in err
        assert len(list(store.glob("sha256/*/*"))) == 6

    def test_an_unknown_commit_removes_nothing(self, run, store, history):
        code, _, err = run("gc", "--store", "--commits", "nonsense", "--yes")
        assert code == 2
        assert "nonsense is not a commit of this clone" in err

    def test_in_this_clone(self, data, run, history):
        git("checkout", "--quiet", history[0], cwd=data.work)
        run("pull")
        assert run("gc", "--commits", "HEAD", "--json")[1]["removed"] == 1
        assert not list((data.work / ".git/trainyard/objects").glob("*/*"))


def test_two_branches_that_add_files_are_merged_by_git(data, run):
    run("add", "images")
    data.commit({})
    git("branch", "other", cwd=data.work)
    write(data.work, {"images/cat/100.png": b"one"})
    run("add", "images")
    data.commit({})
    git("checkout", "--quiet", "other", cwd=data.work)
    (data.work / "images/cat/100.png").unlink()
    write(data.work, {"images/dog/99.png": b"two"})
    run("add", "images")
    git("commit", "--quiet", "--all", "-m", "two", cwd=data.work)
    git("merge", "--quiet", "main", cwd=data.work)
    assert len(parse((data.work / "dataset.lock").read_bytes()).files) == 12


def test_the_manifest_of_a_team_is_what_a_run_reads(data, run, bring, store):
    run("add", "images")
    run("push")
    commit = data.commit({})
    assert (data.work / "dataset.lock").read_bytes() != manifest(IMAGES)  # it also says which folders are in it
    got = bring(data.url, commit, trusted=(str(store),))
    assert {name: (got / name).read_bytes() for name in IMAGES} == IMAGES
