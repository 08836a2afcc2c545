"""What is gone, or half gone: the copies of the repositories, the folder of a run between two steps and under its feet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import faults_parts
import pytest
import team as team_module
import without_fence
from faults_parts import change_settings, check_whole, message_ids, small_team, step_records
from team import clean_environment

from pipelines.context import Context
from pipelines.execute import run_step
from pipelines.progress.view import open_progress
from pipelines.repositories.git import GitFailed, run
from pipelines.repositories.git_cache import GitCache
from pipelines.repositories.processes import in_parallel
from pipelines.reuse.dataset_cache import DatasetCache
from pipelines.reuse.symlinks import replace_with_symlink
from pipelines.runs import RunFolder, StepRecord
from registry import codec
from registry.errors import ConfigError, TryAgain
from registry.records import Run, Sources

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _unfenced(monkeypatch):
    """The workers of these tests get their orders, and leave marks, outside of their job folders."""
    program = [sys.executable, "-P", str(Path(without_fence.__file__))]
    monkeypatch.setattr(team_module, "TRAINYARD", program)
    monkeypatch.setitem(faults_parts.begin.__kwdefaults__, "program", tuple(program))


REFUSES = "import sys\nsys.exit('not today')\n"
"""A training script that fails before TensorFlow is loaded."""


def git(*arguments, cwd):
    person = {f"GIT_{role}_{what}": "dev@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=clean_environment() | person, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def remove(*names):
    def damage(copy):
        for name in names:
            shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()

    return damage


def cut(copy):
    """Every object loses its second half."""
    for path in [*copy.glob("objects/??/*"), *copy.glob("objects/pack/*")]:
        path.chmod(0o600)
        os.truncate(path, path.stat().st_size // 2)


def lose_files(copy):
    """The commits stay, what they hold is gone."""
    for path in copy.glob("objects/??/*"):
        if git("cat-file", "-t", path.parent.name + path.name, cwd=copy) != "commit":
            path.unlink()


class TestACopyOfARepository:
    @pytest.fixture
    def repository(self, tmp_path):
        folder = tmp_path / "code"
        folder.mkdir()
        git("init", "--quiet", "--initial-branch=main", cwd=folder)
        return folder

    def commit(self, repository, text):
        (repository / "model.py").write_text(text)
        git("add", "--all", cwd=repository)
        git("commit", "--quiet", "-m", text, cwd=repository)
        return git("rev-parse", "HEAD", cwd=repository)

    @pytest.mark.parametrize("again", ["the same commit", "a new commit"])
    @pytest.mark.parametrize(
        "damage",
        [remove("HEAD"), remove("objects"), remove("refs", "packed-refs"), cut, lose_files, shutil.rmtree],
        ids=["no HEAD", "no objects", "no refs", "objects cut in half", "files lost", "all gone"],
    )
    def test_is_made_anew(self, tmp_path, repository, damage, again):
        cache = GitCache(tmp_path / "cache")
        commit = self.commit(repository, "first")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "before")
        (copy,) = cache.folder.glob("*.git")
        (copy / "packed-refs").touch()
        damage(copy)
        if again == "a new commit":
            commit = self.commit(repository, "second")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "after")
        assert (tmp_path / "after" / "model.py").read_text() in {"first", "second"}
        assert cache.history(str(repository), commit).changes(None, commit, "code").commits
        assert [path.name for path in cache.folder.iterdir() if path.name.startswith(".tmp-")] == []

    def test_is_kept_when_the_problem_is_in_the_repository(self, tmp_path, repository):
        cache = GitCache(tmp_path / "cache")
        commit = self.commit(repository, "first")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "before")
        repository.rename(tmp_path / "away")
        with pytest.raises(ConfigError):
            cache.fetch_and_checkout(str(repository), "0" * 40, "code", tmp_path / "after")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "again")

    @pytest.fixture
    def only_copy(self, tmp_path, repository):
        """A cache that has a commit of which a forced push has left no trace, and the commit."""
        git("config", "gc.auto", "0", cwd=repository)
        commit = self.commit(repository, "first")
        cache = GitCache(tmp_path / "cache")
        cache.fetch(str(repository), commit, "code")
        shutil.rmtree(repository / ".git")
        git("init", "--quiet", "--initial-branch=main", cwd=repository)
        self.commit(repository, "another")
        return cache, commit

    def test_is_kept_when_we_are_asked_to_end(self, tmp_path, repository, only_copy):
        cache, commit = only_copy
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        def work(name):
            if name == "code":
                cache.read(str(repository), commit, "code", lambda: run(["hash-object", str(pipe)], cwd=tmp_path))
            held.append(pipe.open("wb"))  # git reads by now, and waits for more
            raise TryAgain("the other repository is away")

        held = []
        with pytest.raises(TryAgain):
            in_parallel(work, ["code", "dataset"])
        held.pop().close()
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "again")
        assert (tmp_path / "again" / "model.py").read_text() == "first"

    def test_is_kept_when_its_files_cannot_be_written(self, tmp_path, repository, only_copy):
        cache, commit = only_copy
        blob = git("hash-object", "-w", "model.py", cwd=repository)
        (tmp_path / "tree").write_text(f"100644 blob {blob}\t{'x' * 300}\n")
        with (tmp_path / "tree").open() as said:
            tree = subprocess.run(["git", "mktree"], stdin=said, cwd=repository, capture_output=True, check=True)
        long = git("commit-tree", tree.stdout.decode().strip(), "-m", "long", cwd=repository)
        git("update-ref", "refs/heads/long", long, cwd=repository)
        with pytest.raises(GitFailed):
            cache.fetch_and_checkout(str(repository), long, "code", tmp_path / "long")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "again")

    def test_that_is_damaged_stays_until_there_is_a_better_one(self, tmp_path, repository, only_copy):
        cache, commit = only_copy
        (copy,) = cache.folder.glob("*.git")
        (copy / "HEAD").rename(tmp_path / "HEAD")
        with pytest.raises(ConfigError, match="does not have commit"):
            cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "before")
        (tmp_path / "HEAD").rename(copy / "HEAD")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "again")

    def test_is_repaired_when_the_files_already_exist(self, tmp_path, repository):
        cache = GitCache(tmp_path / "cache")
        commit = self.commit(repository, "first")
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "before")
        history = cache.history(str(repository), commit)
        content = history.content_digest(commit, ())
        (copy,) = cache.folder.glob("*.git")
        lose_files(copy)
        cache.fetch_and_checkout(str(repository), commit, "code", tmp_path / "before")
        assert cache.read(str(repository), commit, "code", lambda: history.content_digest(commit, ())) == content


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """A team whose run ends in train, at once."""
    team = small_team(tmp_path_factory.mktemp("team"))
    team.write("code", {"train.py": REFUSES})
    team.push("code")
    change_settings(team, {"[training]": '[training]\ncommand = ["python", "train.py"]'})
    assert "not today" in team.trainyard("run", "code", code=2).stderr
    return team


class TestTheFolderOfARun:
    @pytest.mark.parametrize(
        "lost",
        [
            ["sources/code", "fetched.json"],
            ["validate/outputs/data/holdout"],
            ["sources", "validate"],
            ["../../datasets"],
            ["../../git", "../../datasets", "sources", "validate", "steps"],
        ],
        ids=lambda names: " ".join(Path(name).name for name in names),
    )
    def test_what_is_lost_between_two_steps_is_made_again(self, failing, lost):
        (run,) = failing.runs("code")
        for name in lost:
            path = run / name
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        assert "not today" in failing.trainyard("run", "code", code=2).stderr
        assert failing.runs("code") == [run]
        assert {"resolve", "fetch", "validate", "train"} <= set(step_records(run))
        for split in ("train", "validation", "holdout"):
            assert (run / "validate/outputs/data" / split / "y.npy").is_file()
        assert len(message_ids(failing)) == 1
        check_whole(failing.home)

    def test_lost_while_it_runs_is_reported_and_the_same_command_starts_it_anew(self, failing, tmp_path):
        once = f"import shutil, pathlib\nmark = pathlib.Path({str(tmp_path / 'mark')!r})\n"
        once += "mark.exists() or (mark.touch(), shutil.rmtree(pathlib.Path.cwd().parents[2]))\n"
        failing.write("code", {"train.py": once + REFUSES})
        failing.push("code")
        said = failing.trainyard("run", "code", code=75).stderr
        assert "the run's folder is gone" in said
        assert "Traceback" not in said
        assert "not today" in failing.trainyard("run", "code", code=2).stderr
        check_whole(failing.home)


class TestStepsWhoseFilesAreGone:
    """Without workers: records and files as steps leave them."""

    @pytest.fixture
    def folder(self, tmp_path):
        folder = RunFolder(tmp_path / "run")
        sources = Sources("c" * 40, "d" * 40, "e" * 40)
        codec.save(
            Run("run1", "digits", "code", sources, "", None, None, "2026-11-21T00:00:00Z"), folder.root / "run.json"
        )
        for name in ("sources/code", "sources/dataset", "sources/tests", "train/outputs", "evaluate/outputs"):
            (folder.root / name).mkdir(parents=True)
        for split in ("train", "validation", "holdout"):
            folder.split(split).mkdir(parents=True)
        for name in ("fetched.json", "validate/result.json", "train/result.json", "evaluate/result.json"):
            (folder.root / name).write_text("{}")
        for step in ("resolve", "fetch", "validate", "train", "evaluate"):
            folder.keep(StepRecord(step, "done", "", "2026-11-21T00:00:00Z", 1.0))
        return folder

    @pytest.fixture
    def context(self, tmp_path):
        return Context(small_team_config(tmp_path), open_progress(live=False))

    @pytest.mark.parametrize(
        ("lost", "again"),
        [
            ("train/result.json", "train"),
            ("train/outputs", "train"),
            ("evaluate/result.json", "evaluate"),
            ("sources/code", "fetch"),
        ],
    )
    def test_run_again_before_what_needs_them(self, folder, context, lost, again):
        path = folder.root / lost
        path.unlink() if path.is_file() else path.rmdir()
        with pytest.raises(ConfigError, match=f"step {again} has not run yet"):
            run_step(context, folder, "gate")
        left = {step for step in ("fetch", "validate", "train", "evaluate") if folder.record(step)}
        later = {"train": {"train", "evaluate"}, "evaluate": {"evaluate"}, "fetch": {"fetch"}}[again]
        assert left == {"fetch", "validate", "train", "evaluate"} - later

    @pytest.mark.parametrize("step", ["fetch", "validate"])
    @pytest.mark.parametrize("what", ["altered", "from before a power cut"])
    def test_run_again_when_another_run_or_a_power_cut_has_changed_what_they_share(
        self, folder, context, tmp_path, step, what
    ):
        link = folder.root / {"fetch": "sources/dataset", "validate": "validate/outputs/data"}[step]
        cache = DatasetCache(tmp_path / "cache", lambda _run: False)
        content = cache.add("key", folder.root, lambda into: shutil.copytree(link, into / "data", symlinks=True))
        replace_with_symlink(link, content / "data")
        if step == "fetch":
            folder.forget("validate")
        with pytest.raises(ConfigError, match="step gate has not run yet" if folder.record("validate") else "validate"):
            run_step(context, folder, "register")
        assert folder.record(step)
        if what == "altered":
            (link.resolve() / "more").touch()
        else:
            state = content.parent / "state.json"
            state.write_text(state.read_text().replace('"boot": "', '"boot": "another '))
        with pytest.raises(ConfigError, match=f"step {step} has not run yet"):
            run_step(context, folder, "register")

    def test_stay_done_when_the_registry_has_all_that_is_needed(self, folder, context):
        for step in ("gate", "register"):
            folder.keep(StepRecord(step, "done", "", "2026-11-21T00:00:00Z", 1.0))
        shutil.rmtree(folder.root / "train")
        shutil.rmtree(folder.root / "evaluate")
        assert run_step(context, folder, "accept").outcome == "enough"  # this registry is empty
        assert folder.record("train")

    def test_a_folder_that_is_gone_may_be_tried_again(self, folder, context):
        assert folder.run
        shutil.rmtree(folder.root)
        with pytest.raises(TryAgain, match="folder is gone"):
            run_step(context, folder, "gate")


def small_team_config(folder):
    from pipelines.config.schema import Config, Registry, Repositories

    return Config(
        model="digits",
        repositories=Repositories("code", "dataset", "tests"),
        registry=Registry(f"file://{folder / 'registry'}"),
        home=str(folder / "home"),
    )
