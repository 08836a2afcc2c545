"""A version exists when its card does, holds what its card says, and is never written twice."""

import dataclasses

import pytest
from registry_parts import FILES, Keys, acceptance, make_card, publish, write_files

from registry import candidates, codec
from registry.chain import LostRace
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.records import Claim
from registry.signed_store import SignedStore
from registry.stores import walk


def test_runs_get_numbers_in_order_and_keep_them(store):
    assert [candidates.claim(store, "digits", run) for run in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert [candidates.find_run(store, "digits", run) for run in ("a", "b", "c", "d")] == [1, 2, 3, None]
    assert candidates.claim(store, "flowers", "a") == 1


def test_a_run_that_lost_the_race_for_its_number_tries_the_next(store):
    store.create(
        "test/digits/runs/slow/1.json", codec.with_checksum(Claim("digits", 1, "slow"))
    )  # and then it was killed
    assert candidates.find_run(store, "digits", "slow") is None
    assert candidates.claim(store, "digits", "quick") == 1
    assert candidates.find_run(store, "digits", "slow") is None
    assert candidates.claim(store, "digits", "slow") == 2
    assert candidates.find_run(store, "digits", "slow") == 2


def test_a_published_version_is_there_with_all_that_was_said(store, tmp_path):
    assert candidates.newest(store, "digits") is None
    assert candidates.models(store) == candidates.versions(store, "digits") == []
    version = publish(store, tmp_path, "run")
    card = candidates.manifest(store, "digits", version)
    assert card == make_card(1, "run", {name: sha256_bytes(data) for name, data in FILES.items()})
    assert candidates.manifest_digest(store, "digits", version) == sha256_bytes(store.get("test/digits/1/card.json"))
    assert candidates.models(store) == ["digits"]
    folder = candidates.local_folder(store, "test", "digits", version)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert codec.read(type(card), folder / "card.json") == card


def test_a_version_without_a_manifest_does_not_exist(store, tmp_path):
    publish(store, tmp_path, "first")
    claimed = candidates.claim(store, "digits", "second")
    store.create(f"test/digits/{claimed}/model.keras", b"half")
    assert candidates.versions(store, "digits") == [1]
    assert candidates.newest(store, "digits") == 1
    for act in (candidates.manifest, candidates.manifest_digest, candidates.acceptances):
        with pytest.raises(ConfigError, match="no such version"):
            act(store, "digits", claimed)
    with pytest.raises(ConfigError, match="no such version"):
        candidates.local_folder(store, "test", "digits", claimed)


def test_versions_are_numbers_and_not_texts(store, tmp_path):
    for number in range(11):
        publish(store, tmp_path, f"run-{number}")
    assert candidates.versions(store, "digits") == list(range(1, 12))
    assert candidates.newest(store, "digits") == 11


def test_publishing_again_does_no_harm_even_at_a_later_time(store, tmp_path):
    publish(store, tmp_path, "run")
    digest = candidates.manifest_digest(store, "digits", 1)
    publish(store, tmp_path, "run")
    later = make_card(1, "run", write_files(tmp_path / "run"), created_at="2030-01-01T00:00:00Z")
    candidates.publish(store, later, tmp_path / "run")
    assert candidates.manifest_digest(store, "digits", 1) == digest


def test_a_manifest_whose_numbers_were_whole_is_the_same_manifest(store, tmp_path):
    candidates.claim(store, "digits", "run")
    card = make_card(1, "run", write_files(tmp_path), accuracy=1)
    candidates.publish(store, card, tmp_path)
    candidates.publish(store, dataclasses.replace(card, created_at="2030-01-01T00:00:00Z"), tmp_path)


def test_publishing_resumes_where_a_killed_run_stopped(store, tmp_path):
    version = candidates.claim(store, "digits", "run")
    store.create(f"test/digits/{version}/model.keras", FILES["model.keras"])
    assert publish(store, tmp_path, "run") == version
    assert candidates.versions(store, "digits") == [version]


def test_files_that_differ_from_the_manifest_are_refused_and_named(store, tmp_path):
    version = candidates.claim(store, "digits", "run")
    card = make_card(version, "run", write_files(tmp_path))
    (tmp_path / "model.tflite").write_bytes(b"altered")
    with pytest.raises(Corrupt, match=r"model\.tflite"):
        candidates.publish(store, card, tmp_path)
    (tmp_path / "model.tflite").unlink()
    with pytest.raises(Corrupt, match=r"model\.tflite: is missing"):
        candidates.publish(store, card, tmp_path)
    assert candidates.versions(store, "digits") == []


@pytest.mark.parametrize("left", ["model.keras", "extra.json"])
def test_a_number_that_was_begun_with_other_files_is_not_mixed(store, tmp_path, left):
    version = candidates.claim(store, "digits", "run")
    store.create(f"test/digits/{version}/{left}", b"of another training")
    with pytest.raises(Corrupt, match=f"test/digits/1/{left}") as error:
        publish(store, tmp_path, "run")
    assert "--force" in error.value.hint
    assert candidates.versions(store, "digits") == []


def test_another_manifest_for_a_published_version_is_refused(store, tmp_path):
    publish(store, tmp_path, "run")
    other = make_card(1, "run", write_files(tmp_path / "run"), accuracy=0.99)
    with pytest.raises(Corrupt, match="a different manifest exists"):
        candidates.publish(store, other, tmp_path / "run")
    assert candidates.manifest(store, "digits", 1).evaluation.candidate.values["accuracy"] == 0.97


def test_the_number_of_another_run_cannot_be_published(store, tmp_path):
    candidates.claim(store, "digits", "mine")
    with pytest.raises(Corrupt, match=r"claim\.json.*another run"):
        candidates.publish(store, make_card(1, "yours", write_files(tmp_path)), tmp_path)


@pytest.mark.parametrize("name", ["card.json", "claim.json", "acceptances/000001.json", "acceptances"])
def test_names_of_the_registry_itself_are_refused(store, tmp_path, name):
    version = candidates.claim(store, "digits", "run")
    card = make_card(version, "run", write_files(tmp_path, {name: b"1"}))
    with pytest.raises(ConfigError, match=name):
        candidates.publish(store, card, tmp_path)
    assert walk(store, f"test/digits/{version}") == ["claim.json"]


@pytest.mark.parametrize("model", ["../digits", "", "a/../b", ".hidden"])
def test_a_model_cannot_lead_out_of_the_registry(store, model):
    with pytest.raises(ConfigError):
        candidates.claim(store, model, "run")
    with pytest.raises(ConfigError):
        candidates.manifest(store, model, 1)


def test_the_local_folder_is_checked_against_the_manifest_that_was_approved(store, tmp_path):
    publish(store, tmp_path, "run")
    digest = candidates.manifest_digest(store, "digits", 1)
    candidates.local_folder(store, "test", "digits", 1, digest)
    with pytest.raises(Corrupt, match=r"card\.json"):
        candidates.local_folder(store, "test", "digits", 1, "0" * 64)


@pytest.mark.parametrize("name", [*FILES, "card.json"])
def test_the_local_folder_is_refused_when_a_file_was_altered(folder_store, tmp_path, name):
    publish(folder_store, tmp_path, "run")
    twin = "saved_model/" if name.startswith("saved_model/") else name  # equal bytes are one file
    path = folder_store.path(f"test/digits/1/{name}")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Corrupt, match=f"test/digits/1/{twin}") as error:
        candidates.local_folder(folder_store, "test", "digits", 1)
    assert error.value.hint
    path.unlink()
    gone = "digits version 1: there is no such version" if name == "card.json" else f"test/digits/1/{name}|{twin}"
    with pytest.raises((Corrupt, ConfigError), match=gone):
        candidates.local_folder(folder_store, "test", "digits", 1)


def test_a_manifest_moved_to_another_version_is_refused(store, tmp_path):
    publish(store, tmp_path, "run")
    store.create("test/digits/2/card.json", store.get("test/digits/1/card.json"))
    store.create("test/flowers/1/card.json", store.get("test/digits/1/card.json"))
    for model, version in (("digits", 2), ("flowers", 1)):
        with pytest.raises(Corrupt, match=f"test/{model}/{version}/card.json: is the manifest of digits 1"):
            candidates.manifest(store, model, version)


def test_acceptance_tests_are_appended_and_follow_each_other_from_the_manifest_on(store, tmp_path):
    publish(store, tmp_path, "run")
    first = candidates.append_acceptance(store, acceptance(store, 1, accepted=False))
    second = candidates.append_acceptance(store, acceptance(store, 1))
    assert candidates.acceptances(store, "digits", 1) == [first, second]
    assert (first.number, first.previous) == (1, candidates.manifest_digest(store, "digits", 1))
    assert second.number == 2
    assert second.previous == sha256_bytes(store.get("test/digits/1/acceptances/000001.json"))


def test_an_acceptance_test_of_another_manifest_is_refused(store, tmp_path):
    publish(store, tmp_path, "run")
    with pytest.raises(Corrupt, match="not this version's"):
        candidates.append_acceptance(store, dataclasses.replace(acceptance(store, 1), card="0" * 64))
    assert candidates.acceptances(store, "digits", 1) == []


def test_a_manifest_or_claim_without_a_checksum_is_not_read(store, tmp_path):
    store.create("test/digits/1/claim.json", codec.to_json(Claim("digits", 1, "run")))
    store.create("test/digits/1/card.json", codec.to_json(make_card(1, "run", {})))
    for read in (candidates.manifest, candidates.claimed_by):
        with pytest.raises(Corrupt, match="it has no checksum"):
            read(store, "digits", 1)


def test_a_file_in_test_is_not_a_model(store, tmp_path):
    publish(store, tmp_path, "run")
    store.create("test/readme", b"by hand")
    assert candidates.models(store) == ["digits"]


@pytest.mark.parametrize("name", ["01/", "1", "0/", "-1/", "1.0/", "١/", "²/", "/", "runs/"])
def test_only_a_folder_with_a_plain_number_is_a_version(name):
    assert not candidates.is_version(name)
    assert candidates.is_version("10/")


def test_manifests_are_signed_under_their_names_and_checked(store, tmp_path):
    keys = Keys()
    signed = SignedStore(store, keys)
    publish(signed, tmp_path, "run")
    keys.checked.clear()
    assert candidates.manifest(signed, "digits", 1).run == "run"
    assert keys.checked == ["test/digits/1/card.json"]
    publish(store, tmp_path, "other")
    with pytest.raises(Corrupt, match=r"test/digits/2/card\.json: is not signed"):
        candidates.manifest(signed, "digits", 2)


def test_who_knows_an_older_acceptance_test_is_not_appended_after(store, tmp_path):
    publish(store, tmp_path, "run")
    first = candidates.append_acceptance(store, acceptance(store, 1), after=0)
    assert first.number == 1
    with pytest.raises(LostRace):
        candidates.append_acceptance(store, acceptance(store, 1), after=0)
    assert candidates.append_acceptance(store, acceptance(store, 1), after=1).number == 2


@pytest.mark.parametrize("claim", [Claim("flowers", 1, "run"), Claim("digits", 2, "run")], ids=["model", "version"])
def test_a_claim_that_is_about_another_version_claims_nothing(store, claim):
    store.create("test/digits/1/claim.json", codec.with_checksum(claim))
    with pytest.raises(Corrupt, match=rf"test/digits/1/claim\.json: is about {claim.model} {claim.version}"):
        candidates.claimed_by(store, "digits", 1)
