"""The registry as this machine trusts it: with which key it signs, what it knows of it, and when a registry is new."""

import dataclasses
from pathlib import Path

import pytest
from registry_parts import publish
from signed_registry import config_of

from pipelines.config.schema import Registry
from pipelines.key_changes import signing, trust
from pipelines.key_folder import KeyFolder
from pipelines.trust import anchor_of, first_key, is_new, open_registry, store_options
from registry import codec
from registry.errors import ConfigError, PipelineError, TryAgain
from registry.signatures import make_key
from registry.store_options import Access
from registry.stores import open_store
from registry.trusted import Anchor


@pytest.fixture
def config(tmp_path):
    return config_of(tmp_path)


@pytest.fixture
def begun(config, tmp_path):
    """Version 1 is there, signed."""
    publish(open_registry(config), tmp_path, "one")
    return config


def test_a_key_of_the_environment_that_does_not_count_signs_nothing(begun, monkeypatch):
    foreign = make_key()
    monkeypatch.setenv("TRAINYARD_SIGNING_KEY", foreign.pem().decode())
    with pytest.raises(ConfigError) as error:
        signing(begun).signer()
    own = signing(begun).ring.valid[0]
    assert str(error.value) == (
        f"key {foreign.public.short} (TRAINYARD_SIGNING_KEY) counts in this registry, which trusts {own.short}"
    )


def test_a_registry_that_has_begun_gets_no_second_first_key(begun):
    ids = {signing(begun).signer().public.id for _ in range(2)}
    assert ids == {first_key(begun)}
    assert len(signing(begun).ring.records) == 1


def test_keys_are_verified_where_there_are_some(config, begun, tmp_path):
    signing(begun).verify_keys()
    (tmp_path / "registry/keys/000001.json").unlink()
    with pytest.raises(PipelineError):
        signing(begun).verify_keys()


def test_a_new_registry_has_no_keys_to_verify_and_nothing_is_known_of_it(config):
    signing(config).verify_keys()
    assert (first_key(config), anchor_of(config)) == ("", None)


def test_what_this_machine_knows_is_given_as_another_one_reads_it(begun):
    trust(begun, first_key(begun))
    known = KeyFolder(Path(begun.home)).memory(begun.registry.url).read()
    assert known.first == first_key(begun)
    assert codec.from_json(Anchor, anchor_of(begun), "anchor") == known


def test_the_settings_say_how_an_object_store_is_used(tmp_path):
    registry = Registry("s3://b/p", endpoint="https://s3.example", region="r", profile="p", cache_mb=7)
    found = store_options(registry, tmp_path)
    assert (found.access, found.cache, found.cache_mb) == (
        Access("https://s3.example", "r", "p"), str(tmp_path / "cache" / "s3"), 7,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "new"),
    [
        ([], True),
        (["production/digits/releases/000001.json"], False),
        (["production/readme.txt"], True),
        (["test/digits/1/card.json"], False),
    ],
)
def test_a_registry_is_new_without_versions_and_releases(tmp_path, names, new):
    store = open_store(f"file://{tmp_path / 'registry'}")
    for name in names:
        store.create(name, b"{}")
    assert is_new(store) is new


def test_an_old_registry_that_nobody_has_signed_has_no_first_key(config, tmp_path):
    publish(open_store(config.registry.url), tmp_path, "one")
    assert first_key(config) == ""
    with pytest.raises(ConfigError, match="written before records were signed"):
        open_registry(config)


class TestWhileTheRegistryIsOutOfReach:
    @pytest.fixture
    def gone(self, monkeypatch):
        def out_of_reach(*_given, **_more):
            raise TryAgain("the registry is out of reach")

        return lambda: monkeypatch.setattr("pipelines.trust.open_store", out_of_reach)

    def test_its_first_key_is_the_one_that_this_machine_knows(self, begun, gone):
        known = first_key(begun)
        gone()
        assert first_key(begun) == known != ""

    def test_a_machine_that_knows_none_is_not_given_one(self, config, gone):
        gone()
        with pytest.raises(TryAgain, match="out of reach"):
            first_key(config)


def test_what_is_known_is_nothing_where_no_key_counts_though_a_memory_is_there(begun, tmp_path):
    unsigned = dataclasses.replace(
        begun, registry=Registry(f"file://{tmp_path / 'other'}", require_signatures=False), home=begun.home
    )
    assert anchor_of(unsigned) is None
