"""A version can be exported into a bucket: whole or not at all."""

import re

import pytest

from pipelines.exports.destination import write_bucket
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.s3_client import parse_url
from registry.s3_objects import Objects
from registry.store_options import StoreOptions


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def there(place):
    objects = Objects(parse_url(place[0], "a test"), place[1])
    return {name: objects.get(name) for name, _ in objects.listing("", deep=True)}


def test_all_files_are_there_and_nothing_else(s3_place, weights):
    copied = {"model/weights": (weights, sha256_bytes(b"weights"))}
    write_bucket(*s3_place, {"SHA256SUMS": b"1", "README.md": b"2"}, copied, "SHA256SUMS")
    assert there(s3_place) == {"SHA256SUMS": b"1", "README.md": b"2", "model/weights": b"weights"}


def test_a_prefix_with_something_below_it_is_refused(s3_place):
    write_bucket(*s3_place, {"a": b"1"}, {}, "a")
    with pytest.raises(ConfigError, match="something already"):
        write_bucket(*s3_place, {"b": b"2"}, {}, "b")
    assert there(s3_place) == {"a": b"1"}


def test_what_was_written_is_removed_when_something_fails(s3_place, weights):
    copied = {"model/weights": (weights, sha256_bytes(b"others"))}
    with pytest.raises(Corrupt, match=re.escape(str(weights))):
        write_bucket(*s3_place, {"README.md": b"1", "SHA256SUMS": b"2"}, copied, "SHA256SUMS")
    assert there(s3_place) == {}


def test_an_address_with_a_password_is_refused():
    with pytest.raises(ConfigError, match="user name or a password"):
        write_bucket("s3://me:secret@bucket/x", StoreOptions(), {}, {}, "")
