"""`trainyard registry copy`, as a person types it: to another folder, to a bucket and back."""

import argparse
import dataclasses
import json
import shutil

import pytest
from signed_registry import build, config_of

from pipelines.commands import registry as command
from pipelines.config.schema import Registry
from pipelines.trust import open_registry
from registry.errors import ConfigError, Corrupt
from registry.stores import walk
from registry.verify import inspect


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def config(built, tmp_path):
    """The settings of the registry's own controller, of which it has a copy."""
    shutil.copytree(built / "home", tmp_path / "home")
    return config_of(built, tmp_path / "home")


@pytest.fixture
def run(config, capsys):
    def run(*arguments, exit_code=0):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        assert command.main(parser.parse_args(["copy", *arguments]), config) == exit_code
        return capsys.readouterr().out

    return run


def at(config, url, **more):
    return dataclasses.replace(config, registry=Registry(url, **more))


def test_to_a_folder_it_is_verified_there_and_says_what_to_set(run, config, tmp_path):
    said = run(config.registry.url, str(tmp_path / "other"))
    url = f"file://{tmp_path / 'other'}"
    assert f'[registry]\nurl = "{url}"\n' in said
    assert "endpoint" not in said
    assert "read again and verified" in said
    copied = open_registry(at(config, url))
    assert inspect(copied).problems == ()
    assert walk(copied, "") == walk(open_registry(config), "")


@pytest.mark.slow
def test_to_a_bucket_and_back(run, config, tmp_path, s3_place):
    url, options = s3_place
    access = ["--to-endpoint", options.access.endpoint, "--to-region", options.access.region]
    said = run(config.registry.url, url, *access)
    assert f'url = "{url}"\nendpoint = "{options.access.endpoint}"\nregion = "us-east-1"\n' in said
    in_bucket = at(config, url, endpoint=options.access.endpoint, region=options.access.region)
    assert inspect(open_registry(in_bucket)).problems == ()
    run(url, str(tmp_path / "back"), *(each.replace("--to", "--from") for each in access))
    back = open_registry(at(config, f"file://{tmp_path / 'back'}"))
    assert {name: back.get(name) for name in walk(back, "")} == {
        name: open_registry(config).get(name) for name in walk(open_registry(config), "")
    }


def test_repeated_it_copies_nothing(run, config, tmp_path):
    first = json.loads(run(config.registry.url, str(tmp_path / "other"), "--json"))
    again = json.loads(run(config.registry.url, str(tmp_path / "other"), "--json"))
    assert (again["copied"], again["there"]) == (0, first["copied"])
    assert again["problems"] == []


def test_a_registry_that_was_altered_is_copied_as_it_is_and_named_with_exit_code_2(run, built, tmp_path):
    shutil.copytree(built / "registry", tmp_path / "altered", symlinks=True)
    path = tmp_path / "altered" / "production" / "digits" / "releases" / "000002.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    said = run(str(tmp_path / "altered"), str(tmp_path / "other"), exit_code=Corrupt.exit_code)
    assert "production/digits/releases/000002.json" in said
    assert "to work on there" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((), "names the registry to copy"), (("a",), "names the registry to copy"), (("a", "a"), "are the same")],
)
def test_without_two_different_places_it_says_what_is_missing(run, arguments, says):
    with pytest.raises(ConfigError, match=says):
        run(*arguments)
