"""`trainyard registry archive` and `restore`, as a person types them, with a signed registry."""

import argparse
import dataclasses
import json
import shutil

import pytest
from signed_registry import build, config_of

from pipelines import key_changes
from pipelines.commands import registry as command
from pipelines.trust import open_registry
from registry.errors import ConfigError, Corrupt, Rejected
from registry.stores import walk
from registry.verify import inspect


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def config(built, tmp_path):
    shutil.copytree(built, tmp_path / "one", symlinks=True)
    found = config_of(tmp_path / "one")
    old, new = (
        key_changes.KeyFolder(tmp_path / "one/home").memory(each.registry.url) for each in (config_of(built), found)
    )
    new.write(old.read())
    return dataclasses.replace(
        found, registry=dataclasses.replace(found.registry, archive=f"file://{tmp_path / 'archive'}", archive_days=0)
    )


@pytest.fixture
def run(config, capsys):
    def run(*arguments, exit_code=0, **registry):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        changed = dataclasses.replace(config, registry=dataclasses.replace(config.registry, **registry))
        assert command.main(parser.parse_args([*arguments]), changed) == exit_code
        return capsys.readouterr().out

    return run


def test_there_and_back(run, config, tmp_path):
    before = walk(open_registry(config), "")
    version = free_version(run)
    said = run("archive", "digits", version, "--reason", "room")
    assert f"files are in file://{tmp_path / 'archive'}, and no longer in the registry" in said
    assert f"archived: version {version}" in run("list", "digits")
    assert "its files are in file://" in run("show", "digits", version)
    assert run("archive", "digits", version) == said
    key_changes.rotate(config, "ada", "a new key")  # what the old one has signed counts
    assert inspect(open_registry(config)).problems == ()
    assert f"note: test/digits/{version}: archived: its bytes are in" in run("verify")
    shutil.move(tmp_path / "archive", tmp_path / "mounted elsewhere")
    run("restore", "digits", version, "--archive", str(tmp_path / "mounted elsewhere"))
    assert [
        each for each in walk(open_registry(config), "") if "/archive/" not in each and not each.startswith("keys/")
    ] == [each for each in before if not each.startswith("keys/")]
    assert inspect(open_registry(config)).problems == ()


def free_version(run):
    """A version that may be archived, by what the command says of each."""
    for row in json.loads(run("list", "digits", "--json")):
        said = json.loads(run("archive", "digits", str(row["version"]), "--dry-run", "--json"))
        if not said["stays"]:
            return str(row["version"])
    raise AssertionError("all are protected")


def test_what_is_live_and_what_is_new_stay(run):
    live = next(str(row["version"]) for row in json.loads(run("list", "digits", "--json")) if row["live"])
    with pytest.raises(Rejected, match=f"version {live} stays: it is live"):
        run("archive", "digits", live)
    with pytest.raises(Rejected, match="less than 36500 days ago"):
        run("archive", "digits", free_version(run), archive_days=36500)


@pytest.mark.parametrize("below", ["", "/sub", "/.."])
def test_an_archive_in_the_registry_is_refused(run, config, below):
    place = config.registry.url.rpartition("/")[0] if below == "/.." else config.registry.url + below
    with pytest.raises(ConfigError, match="are in each other"):
        run("archive", "digits", "1", "--archive", place)


def test_without_a_place_or_a_version_it_says_what_to_give(run):
    with pytest.raises(ConfigError, match="it is not known where to"):
        run("archive", "digits", "1", archive="")
    with pytest.raises(ConfigError, match="names a model and the number"):
        run("archive", "digits")


def test_the_archive_that_was_named_is_the_one_that_is_said_to_lack_a_file(run, tmp_path):
    version = free_version(run)
    run("archive", "digits", version)
    with pytest.raises(Corrupt, match=f"file://{tmp_path}/other: .* is missing"):
        run("restore", "digits", version, "--archive", str(tmp_path / "other"))


@pytest.mark.parametrize("text", ["s3:/bucket/prefix", "s3:bucket", "file:/srv/archive"])
def test_a_url_that_lacks_its_slashes_is_not_a_folder(run, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for action in ("archive", "restore"):
        with pytest.raises(ConfigError, match="is not a URL"):
            run(action, "digits", "1", "--archive", text)
    assert not list(tmp_path.glob("*:"))
