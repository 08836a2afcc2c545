"""What `serve --status` says of a registry in a bucket."""

import pytest

from pipelines.config.schema import Config, Registry, Repositories
from pipelines.deploy.process import followed
from pipelines.deploy.serve_job import mirror_folder
from serving.follower_state import FollowerState, write_state


@pytest.fixture
def config(tmp_path):
    registry = Registry("s3://models/us")
    return Config("digits", Repositories("code", "dataset", "tests"), registry=registry, home=str(tmp_path))


def note(config, *state):
    mirror_folder(config).mkdir(parents=True, exist_ok=True)
    write_state(mirror_folder(config), FollowerState(*state))


def test_it_names_the_bucket_and_its_newest_release(config):
    note(config, 3, "2026-11-30T01:00:00Z")
    assert followed(config) == ["it follows s3://models/us, whose newest release is 3 since 2026-11-30T01:00:00Z"]


def test_it_says_since_when_and_why_the_bucket_cannot_be_read(config):
    note(config, 3, "2026-11-30T01:00:00Z", "no answer")
    (line,) = followed(config)
    assert line.startswith(
        "since 2026-11-30T01:00:00Z the registry cannot be read (no answer): release 3 is the last one"
    )
    assert str(mirror_folder(config) / "follower.log") in line


def test_before_the_first_start_there_is_nothing_to_say(config):
    assert followed(config) == []


def test_a_registry_in_a_folder_is_followed_by_nobody_else(config, tmp_path):
    note(config, 3, "2026-11-30T01:00:00Z")
    folder = Registry(f"file://{tmp_path}")
    assert followed(Config("digits", config.repositories, registry=folder, home=config.home)) == []
