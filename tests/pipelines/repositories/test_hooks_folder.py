"""`trainyard hooks`: the hook is where git looks for it."""

from __future__ import annotations

import argparse
import shlex
import subprocess

import pytest

from pipelines.commands import hooks
from pipelines.config.schema import Config, Repositories
from registry.errors import ConfigError


@pytest.fixture
def bare(tmp_path, monkeypatch):
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["git", "init", "--quiet", "--bare", "code.git"], cwd=tmp_path, check=True)
    return tmp_path / "code.git"


def trainyard_hooks(action, place):
    config = Config("digits", Repositories(str(place), "", ""), file=str(place.parent / "trainyard.toml"))
    return hooks.main(argparse.Namespace(action=action, repository=["code"], json=False, jenkins=None), config)


def set_hooks_path(bare, value):
    subprocess.run(["git", "-C", str(bare), "config", "core.hooksPath", str(value)], check=True)


def test_it_is_in_the_repository(bare):
    trainyard_hooks("install", bare)
    assert (bare / "hooks" / "post-receive").exists()
    trainyard_hooks("remove", bare)
    assert not (bare / "hooks" / "post-receive").exists()


def test_it_is_in_the_folder_that_the_repository_names(bare):
    for value in ("own-hooks", bare / "other-hooks"):
        set_hooks_path(bare, value)
        trainyard_hooks("install", bare)
        assert (bare / value / "post-receive").exists()
    assert not (bare / "hooks" / "post-receive").exists()


def test_it_is_in_the_git_folder_of_a_repository_with_files(bare):
    subprocess.run(["git", "init", "--quiet", "work"], cwd=bare.parent, check=True)
    trainyard_hooks("install", bare.parent / "work")
    assert (bare.parent / "work" / ".git" / "hooks" / "post-receive").exists()


def test_a_hooks_folder_that_is_a_link_is_used(bare):
    (bare / "hooks").rename(bare.parent / "elsewhere")
    (bare / "hooks").symlink_to(bare.parent / "elsewhere")
    (bare.parent / "link.git").symlink_to(bare)
    trainyard_hooks("install", bare.parent / "link.git")
    assert (bare.parent / "elsewhere" / "post-receive").exists()


@pytest.mark.parametrize("where", ["the user", "the repository"])
def test_a_folder_for_many_repositories_is_left_alone(bare, where):
    shared = bare.parent / "shared"
    if where == "the user":
        (bare.parent / ".gitconfig").write_text(f"[core]\nhooksPath = {shared}\n", encoding="utf-8")
    else:
        set_hooks_path(bare, shared)
    with pytest.raises(ConfigError, match=rf"core\.hooksPath .* {shared}") as error:
        trainyard_hooks("install", bare)
    assert not shared.exists()
    assert not (bare / "hooks" / "post-receive").exists()
    subprocess.run(shlex.split(error.value.hint), check=True)
    trainyard_hooks("install", bare)
    assert (bare / "hooks" / "post-receive").exists()


class TestOneRepositoryWithSeveralRoles:
    @pytest.fixture
    def config(self, bare):
        return Config("digits", Repositories(*[str(bare)] * 3), file=str(bare.parent / "trainyard.toml"))

    def call(self, action, config, *names):
        return hooks.main(argparse.Namespace(action=action, repository=names, json=False, jenkins=None), config)

    def test_has_one_hook_for_all_of_them(self, bare, config, capsys):
        self.call("install", config)
        script = (bare / "hooks/post-receive").read_text()
        assert " hook code dataset tests --config " in script
        assert capsys.readouterr().out == f"code, dataset, tests: {bare}/hooks/post-receive installed\n"

    def test_keeps_those_that_it_had(self, bare, config):
        self.call("install", config, "tests")
        self.call("install", config, "code")
        assert " hook code tests --config " in (bare / "hooks/post-receive").read_text()
        self.call("remove", config)
        assert not (bare / "hooks/post-receive").exists()

    def test_of_another_config_gets_a_hook_of_its_own(self, bare, config):
        self.call("install", config)
        other = Config("other", Repositories(str(bare), "", ""), file=str(bare.parent / "other.toml"))
        self.call("install", other, "code")
        assert " hook code --config " in (bare / "hooks/post-receive").read_text()


@pytest.mark.parametrize("gone", ["trainyard.toml", "python"])
def test_a_hook_without_its_config_says_what_to_run(bare, monkeypatch, gone):
    python = bare.parent / "python"
    python.symlink_to("/bin/true")
    monkeypatch.setattr(hooks.sys, "executable", str(python))
    config = bare.parent / "trainyard.toml"
    config.touch()
    trainyard_hooks("install", bare)

    def push():
        hook = bare / "hooks/post-receive"
        return subprocess.run([str(hook)], cwd=bare, input="", capture_output=True, text=True, check=True).stderr

    assert push() == ""
    (bare.parent / gone).unlink()
    assert push().splitlines() == [
        f"Trainyard: this push has started no run: {bare.parent / gone} is gone, which its hook names ({bare}/hooks/post-receive)",
        "  hint: in the folder that has trainyard.toml now: trainyard hooks install code",
    ]
