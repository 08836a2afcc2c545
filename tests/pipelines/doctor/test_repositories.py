"""What `trainyard doctor` says about files that are not in git, the settings for them, and hooks."""

from __future__ import annotations

import sys
from dataclasses import replace

import outside_git
import pytest
from repositories_parts import Repository

from pipelines.config.schema import Config, Repositories
from pipelines.context import clones
from pipelines.doctor import repositories
from registry.errors import ConfigError

OID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 4\n".encode()
SUBMODULE = b'[submodule "layers"]\n\tpath = layers\n\turl = %s\n'


@pytest.fixture
def made(tmp_path):
    """The three repositories."""
    found = {name: Repository(tmp_path, name) for name in ("code", "dataset", "tests")}
    for each in found.values():
        each.commit({"model.py": b"import keras\n" * 9})
    return found


@pytest.fixture
def config(made, tmp_path):
    """The config of these settings, whose repositories were fetched."""

    def config(**settings):
        urls = {name: str(each.url) for name, each in made.items()}
        (tmp_path / "trainyard.toml").touch()
        found = Config(
            model="digits", repositories=Repositories(**urls, **settings), home=str(tmp_path / "home"),
            file=str(tmp_path / "trainyard.toml"),
        )  # fmt: skip
        for name, each in made.items():
            clones(found).fetch(urls[name], each.commit({}), name)
        return found

    return config


class TestFiles:
    def test_that_are_all_in_git(self, config):
        found = repositories.files(config(), "code")
        assert (found.state, found.what[-14:]) == ("ok", "all are in git")

    def test_of_a_repository_that_was_not_fetched_yet(self, config, tmp_path):
        found = repositories.files(replace(config(), home=str(tmp_path / "new")), "code")
        assert "the first run checks them" in found.what

    def test_in_a_store_that_answers(self, made, config, tmp_path):
        (tmp_path / "store").mkdir()
        made["dataset"].commit({"dataset.lock": outside_git.manifest({"a.csv": b"1"})})
        found = repositories.files(config(data_store=str(tmp_path / "store")), "dataset")
        assert (found.state, found.what.partition("; ")[2]) == ("ok", f"others are fetched from {tmp_path / 'store'}")

    def test_in_a_store_that_is_not_there(self, made, config, tmp_path):
        made["dataset"].commit({"dataset.lock": outside_git.manifest({"a.csv": b"1"})})
        with pytest.raises(ConfigError, match="does not exist on this machine"):
            repositories.files(config(data_store=str(tmp_path / "store")), "dataset")

    def test_in_a_remote_of_dvc_that_the_settings_do_not_name(self, made, config, tmp_path):
        remote = outside_git.DvcRemote(tmp_path / "remote")
        made["dataset"].commit({".dvc/config": remote.config, "a.csv.dvc": remote.file("a.csv", b"1")})
        with pytest.raises(ConfigError, match="which the settings do not name"):
            repositories.files(config(), "dataset")
        found = repositories.files(config(trusted=(str(tmp_path / "remote"),)), "dataset")
        assert str(tmp_path / "remote") in found.what

    def test_in_lfs_that_the_settings_do_not_fetch(self, made, config):
        made["dataset"].commit({"a.csv": POINTER})
        with pytest.raises(ConfigError, match=r"a\.csv: in Git LFS") as error:
            repositories.files(config(), "dataset")
        assert "lfs = true" in error.value.hint

    def test_in_lfs_that_were_not_pushed(self, made, config):
        made["dataset"].commit({"a.csv": POINTER})
        with pytest.raises(ConfigError, match="does not have the LFS object 9f86d081884c") as error:
            repositories.files(config(lfs=True), "dataset")
        assert "git lfs push" in error.value.hint

    def test_in_lfs_that_are_in_the_repositorys_folder(self, made, config):
        made["dataset"].commit({"a.csv": POINTER})
        kept = made["dataset"].url / "lfs/objects" / OID[:2] / OID[2:4] / OID
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"test")
        assert "1 in LFS, from /" in repositories.files(config(lfs=True), "dataset").what

    def test_of_a_folder_that_is_not_there(self, config):
        found = config()
        wrong = replace(found, repositories=replace(found.repositories, tests_folder="m/test"))
        with pytest.raises(ConfigError, match=r"\[repositories\] tests: commit .* has no folder 'm/test'"):
            repositories.files(wrong, "tests")

    def test_that_are_all_unimportant(self, config):
        found = repositories.files(config(unimportant=("*.py",)), "code")
        assert found.state == "warn"
        assert "lists every one" in found.what


class TestSettings:
    def test_a_pattern_that_matches_nothing(self, config):
        found = repositories.unimportant(config(unimportant=("*.md", "model.*", "no/such")))
        assert (found.state, found.what) == ("warn", "no file of the three repositories matches no/such")

    def test_patterns_that_match(self, config):
        assert repositories.unimportant(config(unimportant=("*.md", "model.*"))).state == "ok"

    def test_the_patterns_before_anything_was_fetched(self, config, tmp_path):
        early = replace(config(unimportant=("no/such",)), home=str(tmp_path / "new"))
        assert repositories.unimportant(early).state == "ok"

    def test_a_trusted_folder_that_does_not_exist(self, config, tmp_path):
        found = repositories.trusted(config(trusted=("git.example.org", str(tmp_path), "/no/such")))
        assert (found.state, found.what) == ("warn", "not a folder: /no/such")


class TestHooks:
    @pytest.fixture
    def hook(self, made):
        """Write the code repository's hook, as Trainyard writes it, with this command."""

        def hook(python=sys.executable, file="", roles="code"):
            path = made["code"].url / "hooks" / "post-receive"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\nexec {python} -P -m pipelines hook {roles} --config {file}\n")

        return hook

    def test_none(self, config):
        assert "no hook on this machine" in repositories.hooks(config()).what

    def test_one_that_starts_this_pipeline(self, config, hook):
        hook(file=config().file)
        found = repositories.hooks(config())
        assert (found.state, found.what) == ("ok", "a push to code starts the pipeline")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ({"python": "/no/such/python"}, "names /no/such/python, which does not exist: a push starts no run"),
            ({"file": "/no/such/trainyard.toml"}, "names /no/such/trainyard.toml, which does not exist"),
            ({"python": "/bin/sh"}, "runs the Trainyard of /bin/sh"),
            ({"file": "/etc/passwd"}, "runs the pipeline of /etc/passwd"),
            ({"roles": "tests"}, "does not run it for code"),
        ],
        ids=["program gone", "config gone", "another installation", "another config", "another role"],
    )
    def test_one_that_does_not(self, config, hook, words, said):
        hook(**{"file": config().file, **words})
        found = repositories.hooks(config())
        assert (found.state, found.next) == ("warn", "to have a push start this pipeline: trainyard hooks install code")
        assert said in found.what

    def test_one_that_does_something_else(self, config, hook, made):
        hook()
        (made["code"].url / "hooks/post-receive").write_text("#!/bin/sh\necho hello\n")
        assert repositories.hooks(config()).state == "ok"
