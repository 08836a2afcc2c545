"""What the demo says about signatures and fences is what the registry and the manifest say."""

import dataclasses

import pytest
from registry_parts import make_card, promote, publish
from signed_registry import config_of

from pipelines.commands.demo import fenced, signed
from pipelines.trust import open_registry
from registry import heads
from registry.errors import Corrupt
from registry.stores import open_store


@pytest.fixture
def store(tmp_path):
    return open_registry(config_of(tmp_path))


def test_a_release_is_said_to_be_signed_with_the_head_that_a_mail_would_have(store, tmp_path):
    publish(store, tmp_path, "one")
    promote(store, 1, "token-1")
    said, head = signed(store, "digits"), heads.newest(store, "digits")
    assert said.startswith(f"Release 1 is signed with key {head.key}; ")
    assert said.endswith(head.line)


def test_nothing_is_said_to_be_signed_that_is_not(tmp_path):
    store = open_store(f"file://{tmp_path / 'registry'}")
    publish(store, tmp_path, "one")
    promote(store, 1, "token-1")
    assert signed(store, "digits").startswith("Nothing is signed here")


def test_the_demo_ends_when_the_signature_of_its_release_does_not_match(store, tmp_path):
    publish(store, tmp_path, "one")
    promote(store, 1, "token-1")
    path = tmp_path / "registry/production/digits/releases/000001.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    with pytest.raises(Corrupt):
        signed(store, "digits")


@pytest.mark.parametrize(
    ("image", "unfenced", "said"),
    [
        (None, (), "in a fence: its code could not reach"),
        (None, ("the network", "other processes"), "could not keep its code from the network, other processes."),
        (None, None, "without a fence"),
        ("sha256:1", None, "in a container"),
    ],
)
def test_it_says_what_the_training_could_not_reach(image, unfenced, said):
    manifest = dataclasses.replace(make_card(1, "run", {}), image=image, unfenced=unfenced)
    assert said in fenced(manifest)
