"""What somebody who may write every file of a signed registry, and has no key, can do to it, and what verify then says.

Each attack is a function that alters a copy, with a pattern that one of the problems must match. `unseen` are those that
show without any head that this machine has seen: by signatures, or by the heads in the registry itself.
"""

import dataclasses
import re
import shutil
from hashlib import sha256

import pytest
from attacked_registry import Attacks, with_new_checksum
from cryptography.hazmat.primitives.asymmetric import ec
from registry_parts import acceptance
from signed_registry import AttackedSigned, all_signed_anew, build
from versions import approval_draft, release_draft

from pipelines import key_changes
from pipelines.key_changes import signing
from registry import attestations, candidates, codec
from registry.errors import PipelineError
from registry.keyring import append_key, draft_key
from registry.records import Head
from registry.signatures import make_key
from registry.stores import open_store
from registry.verify import inspect

DIGITS = "production/digits"


attack = Attacks(before=".*")
SEEN_ONLY = {"unseen": False}  # it shows against a head, or a key record, that this machine has seen


@pytest.fixture(scope="session")
def signed(tmp_path_factory):
    return build(tmp_path_factory.mktemp("signed_by"))


# --- removed -----------------------------------------------------------------------------------------------------------


@attack(r"digits/releases/000005\.json: is missing, though a head says")
def the_last_release_is_removed(registry):
    (registry / f"{DIGITS}/releases/000005.json").unlink()


@attack(r"digits/heads/000005\.json: is missing, though it was seen: release 5", unseen=False)
def the_last_release_is_removed_with_its_head(registry):
    (registry / f"{DIGITS}/releases/000005.json").unlink()
    (registry / f"{DIGITS}/heads/000005.json").unlink()


@attack(r"digits/heads/000005\.json: is missing, though it was seen", unseen=False)
def the_last_releases_are_removed_with_approval_version_and_heads(registry):
    for number in (4, 5):
        (registry / f"{DIGITS}/releases/{number:06d}.json").unlink()
        (registry / f"{DIGITS}/heads/{number:06d}.json").unlink()
    for number in (3, 4):
        (registry / f"{DIGITS}/approvals/{number:06d}.json").unlink()
    shutil.rmtree(registry / f"{DIGITS}/4")
    shutil.rmtree(registry / "test/digits/4")
    shutil.rmtree(registry / "test/digits/5")
    shutil.rmtree(registry / "test/digits/runs/run-4")
    shutil.rmtree(registry / "test/digits/runs/begun")
    shutil.rmtree(registry / ".store")


@attack(r"digits/approvals/000003\.json: is missing, though a head says")
def the_last_used_approval_is_removed(registry):
    for number in (3, 4):
        (registry / f"{DIGITS}/approvals/{number:06d}.json").unlink()


@attack(r"production/flowers/heads/000002\.json: is missing, though it was seen", unseen=False)
def a_whole_model_is_removed(registry):
    shutil.rmtree(registry / "production/flowers")
    shutil.rmtree(registry / "test/flowers")


@attack(r"digits/heads/000005\.json: is missing, though it was seen", unseen=False)
def all_of_production_is_removed(registry):
    shutil.rmtree(registry / "production")


@attack(r"digits/heads/000005\.json: is missing, though it was seen", unseen=False)
def all_versions_and_releases_are_removed(registry):
    shutil.rmtree(registry / "production")
    shutil.rmtree(registry / "test")


@attack(r"test/digits/3/acceptances/000002\.json: is missing, though a head says")
def the_newest_acceptance_test_which_rejected_is_removed(registry):
    (registry / "test/digits/3/acceptances/000002.json").unlink()


@attack(r"test/digits/3/card\.json: is missing, though a head says")
def a_version_that_was_never_released_is_removed(registry):
    shutil.rmtree(registry / "test/digits/3")
    shutil.rmtree(registry / "test/digits/runs/run-3")


@attack(r"digits/heads/000005\.json: is missing, though it was seen", unseen=False)
def the_heads_are_removed(registry):
    shutil.rmtree(registry / f"{DIGITS}/heads")


@attack(r"keys: the registry has no keys, though it began with key")
def the_keys_are_removed(registry):
    shutil.rmtree(registry / "keys")


@attack(r"test/digits/attestations/3/attestation\.json: is missing, though a head says")
def what_is_attested_of_a_version_that_was_never_released_is_removed(registry):
    shutil.rmtree(registry / "test/digits/attestations/3")


@attack(r"test/digits/attestations/1/attestation\.json: is missing, though a head says")
def all_that_is_attested_of_a_model_is_removed(registry):
    shutil.rmtree(registry / "test/digits/attestations")


# --- written anew ------------------------------------------------------------------------------------------------------


@attack(r"digits/releases/000004\.json: its signature does not match")
def the_releases_are_rewritten_without_one(registry):
    registry.rewrite_without(f"{DIGITS}/releases", 2)


@attack(r"digits/releases/000005\.json: its signature does not match")
def the_newest_release_is_altered_and_its_checksum_too(registry):
    registry.edit(f"{DIGITS}/releases/000005.json", '"trainyard"', '"mallory"')


@attack(r"test/digits/1/card\.json: its signature does not match")
def a_model_and_its_manifest_are_replaced_everywhere(registry):
    old = sha256((registry / "test/digits/1/model.tflite").read_bytes()).hexdigest()
    bad = b"a model with a back door"
    for area in ("test", "production"):
        registry.write(f"{area}/digits/1/model.tflite", bad)
        card = (registry / f"{area}/digits/1/card.json").read_bytes()
        text = card.replace(old.encode(), sha256(bad).hexdigest().encode())
        registry.write(f"{area}/digits/1/card.json", with_new_checksum(text))
    shutil.rmtree(registry / ".store")


@attack(r"test/digits/3/acceptances/000002\.json: its signature does not match")
def a_rejection_becomes_an_acceptance(registry):
    registry.edit("test/digits/3/acceptances/000002.json", '"accepted": false', '"accepted": true')


@attack(r"digits/approvals/000004\.json: its signature does not match")
def an_approval_names_somebody_else(registry):
    registry.edit(f"{DIGITS}/approvals/000004.json", '"ada"', '"eve"')


@attack(r"digits/releases/000005\.json: it is not signed")
def the_signature_is_taken_off(registry):
    data = (registry / f"{DIGITS}/releases/000005.json").read_bytes()
    registry.write(
        f"{DIGITS}/releases/000005.json", with_new_checksum(re.sub(rb'\n "signed_by": "[^"]*",?', b"", data))
    )


@attack(r"test/digits/3/acceptances/000002\.json: its signature does not match")
def an_acceptance_test_of_another_version_is_moved_here(registry):
    data = (registry / "test/digits/1/acceptances/000002.json").read_bytes()
    registry.write("test/digits/3/acceptances/000002.json", data)


def attest_anew(registry, version):
    """Sign what is there for other tools with a key of one's own, exchanging the public key."""
    place = attestations.folder("digits", version)
    manifest, digest = candidates.read_manifest(registry.store, "digits", version)
    files = {**manifest.files, "card.json": digest}
    key = ec.generate_private_key(ec.SECP256R1())
    for name, data in attestations.make(key, f"digits-{version}", files, {"runDetails": "mine"}).items():
        registry.write(f"{place}/{name}", data)
    return place, files


@attack(r"test/digits/attestations/1/model\.sig: is not the one that attestation\.json names")
def a_version_is_attested_anew_with_a_key_of_ones_own(registry):
    attest_anew(registry, 1)


@attack(r"test/digits/attestations/1/attestation\.json: it is not signed")
def a_version_is_attested_anew_and_its_record_written_anew(registry):
    place, files = attest_anew(registry, 1)
    (registry / place / attestations.RECORD).unlink()
    attestations.record(registry.store, "digits", 1, files, (registry / place / attestations.PUBLIC_KEY).read_bytes())


@attack(r"test/digits/attestations/1/model\.sig: is about other files than the manifest")
def what_is_attested_of_another_version_is_moved_here(registry):
    for each in (registry / "test/digits/attestations/2").iterdir():
        registry.write(f"test/digits/attestations/1/{each.name}", each.read_bytes())


# --- added -------------------------------------------------------------------------------------------------------------


@attack(r"digits/releases/000006\.json: it is not signed")
def a_release_is_appended_without_a_signature(registry):
    digest = candidates.manifest_digest(registry.store, "digits", 2)
    registry.append(f"{DIGITS}/releases", release_draft("digits", 2, digest, approval=4))


@attack(r"digits/releases/000006\.json: goes back to version 3, which was never released with an approval")
def a_version_that_was_never_approved_is_released(registry):
    digest = candidates.manifest_digest(registry.store, "digits", 3)
    shutil.copytree(registry / "test/digits/3", registry / f"{DIGITS}/3")
    shutil.rmtree(registry / f"{DIGITS}/3/acceptances")
    registry.append(f"{DIGITS}/releases", release_draft("digits", 3, digest, kind="rollback"))
    registry.sign_with_the_controllers_key(f"{DIGITS}/releases/000006.json")


@attack(r"digits/releases/000006\.json: is a promotion without an approval")
def a_promotion_names_no_approval(registry):
    digest = candidates.manifest_digest(registry.store, "digits", 2)
    registry.append(f"{DIGITS}/releases", release_draft("digits", 2, digest, kind="promotion"))
    registry.sign_with_the_controllers_key(f"{DIGITS}/releases/000006.json")


@attack(r"digits/approvals/000005\.json: it is not signed")
def an_approval_is_forged(registry):
    digest = candidates.manifest_digest(registry.store, "digits", 3)
    registry.append(f"{DIGITS}/approvals", approval_draft("digits", 3, digest, "token-9"))


@attack(r"test/digits/3/acceptances/000003\.json: it is not signed")
def an_acceptance_test_is_forged(registry):
    registry.append("test/digits/3/acceptances", acceptance(registry.store, 3))


@attack(r"digits/releases/000005\.json: it is signed by key [0-9a-f]{16}, which this registry does not know")
def the_newest_release_is_signed_with_a_key_of_ones_own(registry):
    registry.sign_with(make_key(), f"{DIGITS}/releases/000005.json")


@attack(r"keys/000002\.json: it is not signed by a key that counted before it")
def a_key_of_ones_own_is_added(registry):
    mine = make_key()
    draft = draft_key("added", mine.public, {}, by="eve", at="2026-11-21T00:00:00Z", reason="")
    append_key(registry.store, draft, mine, 1)


@attack(r"keys/000001\.json: the registry begins with key [0-9a-f]{16}, and not with")
def all_is_signed_anew_with_a_key_of_ones_own(registry):
    all_signed_anew(registry)


@attack(r"keys/notes\.txt: does not belong here")
def a_file_is_put_beside_the_keys(registry):
    registry.write("keys/notes.txt")


@attack(r"production/digits/heads/000006\.json: it is not signed")
def a_head_is_forged(registry):
    data = (registry / f"{DIGITS}/heads/000005.json").read_bytes()
    head = codec.from_json(Head, data, "the last head")
    registry.append(f"{DIGITS}/heads", head)


@attack(r"digits/releases/000006\.json: its signature does not match")
def an_old_release_is_repeated_as_the_newest(registry):
    shutil.copy(registry / f"{DIGITS}/releases/000003.json", registry / f"{DIGITS}/releases/000006.json")


@attack(r"digits/releases/000006\.json: its signature does not match")
def an_old_release_is_repeated_with_the_number_of_the_newest(registry):
    data = (registry / f"{DIGITS}/releases/000003.json").read_bytes().replace(b'"number": 3', b'"number": 6')
    registry.write(f"{DIGITS}/releases/000006.json", with_new_checksum(data))


@attack(r"digits/approvals/000005\.json: its signature does not match")
def an_approval_of_another_model_is_repeated(registry):
    data = (registry / "production/flowers/approvals/000001.json").read_bytes()
    last = sha256((registry / f"{DIGITS}/approvals/000004.json").read_bytes()).hexdigest()
    data = data.replace(b'"number": 1', b'"number": 5').replace(b'"previous": ""', b'"previous": "%b"' % last.encode())
    registry.write(f"{DIGITS}/approvals/000005.json", with_new_checksum(data.replace(b'"flowers"', b'"digits"')))


@attack(r"production/digits/approvals/000001\.json: its signature does not match")
def two_models_are_exchanged(registry):
    for area in ("test", "production"):
        (registry / f"{area}/digits").rename(registry.outside / area)
        (registry / f"{area}/flowers").rename(registry / f"{area}/digits")
        (registry.outside / area).rename(registry / f"{area}/flowers")


@attack(r"production/Digits/releases/000001\.json: its signature does not match")
def a_model_is_there_again_in_other_letters(registry):
    for area in ("test", "production"):
        shutil.copytree(registry / f"{area}/digits", registry / f"{area}/Digits")


@attack(r"digits/heads/000005\.json: its signature does not match")
def a_record_has_the_signature_of_one_of_another_type(registry):
    line = re.search(rb'\n "signed_by": "[^"]*"', (registry / f"{DIGITS}/releases/000005.json").read_bytes())[0]
    data = re.sub(rb'\n "signed_by": "[^"]*"', line, (registry / f"{DIGITS}/heads/000005.json").read_bytes())
    registry.write(f"{DIGITS}/heads/000005.json", with_new_checksum(data))


@attack(r"keys/000002\.json: its signature does not match")
def a_key_is_added_in_a_record_that_is_signed_as_one_of_the_registry(registry):
    """The controller signs records of the registry, not of keys, at every release."""
    signer, mine = signing(registry.config).signer(), make_key()
    draft = draft_key("added", mine.public, {}, by="eve", at="2026-11-21T00:00:00Z", reason="")
    registry.append("keys", draft)
    registry.sign_with(signer, "keys/000002.json")


@attack(r"digits/heads/000005\.json: (is not the head that was seen|its signature does not match)", **SEEN_ONLY)
def a_head_is_replaced_by_another_one_of_its_number_that_the_controller_has_signed(registry):
    """As when a backup was restored, and another version was released since."""
    (registry / f"{DIGITS}/releases/000005.json").unlink()
    name = f"{DIGITS}/heads/000005.json"
    data = (registry / f"{DIGITS}/heads/000004.json").read_bytes()
    last = sha256(data).hexdigest()
    head = dataclasses.replace(codec.from_json(Head, data, name), number=5, previous=last, versions={})
    registry.write(name, codec.with_checksum(head))
    registry.sign_with_the_controllers_key(name)


@attack(
    r"production/digits/releases/000006\.json: it is signed by key [0-9a-f]{16}, and was not there when that was replaced"
)
def a_release_is_signed_with_a_key_that_was_replaced(registry):
    old = signing(registry.config).signer()
    key_changes.rotate(registry.config, "ada", "")
    registry.append(f"{DIGITS}/releases", release_draft("digits", None, "", kind="withdrawal"))
    registry.sign_with(old, f"{DIGITS}/releases/000006.json")


@attack(r"digits/releases/000002\.json: it is signed by key [0-9a-f]{16}, and was not there when that was revoked")
def a_release_in_the_middle_is_written_anew_with_a_key_that_was_revoked(registry):
    old = signing(registry.config).signer()
    key_changes.rotate(registry.config, "ada", "")
    key_changes.revoke(registry.config, old.public.id, "ada", "stolen")
    registry.edit(f"{DIGITS}/releases/000002.json", '"by": "ada"', '"by": "eve"')
    registry.sign_with(old, f"{DIGITS}/releases/000002.json")


@attack(r"keys/000002\.json: is missing, or not what it was", **SEEN_ONLY)
def the_record_that_ended_a_key_is_removed(registry):
    key_changes.rotate(registry.config, "ada", "")
    signing(registry.config).verify_keys()
    (registry / "keys/000002.json").unlink()


@attack(r"keys/000003\.json: it is not signed by a key that counted before it")
def a_key_that_was_replaced_brings_another_one(registry):
    old, mine = signing(registry.config).signer(), make_key()
    key_changes.rotate(registry.config, "ada", "")
    draft = draft_key("added", mine.public, {}, by="eve", at="2026-11-21T00:00:00Z", reason="")
    append_key(registry.store, draft, old, 2)


@attack(r"keys/000001\.json: is missing, or not what it was when it was seen last", **SEEN_ONLY)
def another_registry_of_the_same_controller_is_put_in_its_place(registry):
    """It begins with the same key."""
    signer = signing(registry.config).signer()
    shutil.rmtree(registry.root)
    draft = draft_key(
        "made", signer.public, {}, by="trainyard", at="2026-11-22T00:00:00Z", reason="the registry begins"
    )
    append_key(registry.store, draft, signer, 0)


@attack(r"test/digits/attestations/1/attestation\.json: its signature does not match")
def an_attestation_has_its_version_twice(registry):
    registry.edit("test/digits/attestations/1/attestation.json", '"version": 1', '"version": 2,\n "version": 1')


@pytest.mark.parametrize("name", attack)
def test_verify_finds(signed, tmp_path, name):
    attack.must_find(name, AttackedSigned(signed, tmp_path))


@pytest.mark.parametrize("name", [name for name, row in attack.items() if getattr(row, "unseen", True)])
def test_a_machine_that_has_seen_no_head_finds_too(signed, tmp_path, name):
    attack.must_find(name, AttackedSigned(signed, tmp_path, remembers=False))


def test_checksums_alone_would_have_found_few_of_them(signed, tmp_path):
    """Else this table tested what is tested without signatures."""
    missed = []
    for name, row in attack.items():
        folder = tmp_path / name
        folder.mkdir()
        registry = AttackedSigned(signed, folder)
        row.act(registry)
        shutil.rmtree(registry / "keys", ignore_errors=True)
        for heads in registry.root.glob("production/*/heads"):
            shutil.rmtree(heads)
        if not inspect(registry.store).problems:
            missed.append(name)
    assert len(missed) >= 20, missed


def test_nothing_is_wrong_before(signed, tmp_path):
    for remembers in (True, False):
        folder = tmp_path / str(remembers)
        folder.mkdir()
        assert AttackedSigned(signed, folder, remembers=remembers).inspect().problems == ()


@pytest.mark.parametrize("name", ["the_last_release_is_removed", "the_last_release_is_removed_with_its_head"])
def test_no_release_and_no_head_is_written_over_a_truncation(signed, tmp_path, name):
    registry = AttackedSigned(signed, tmp_path)
    attack[name].act(registry)
    from versions import append_release

    from registry import heads

    with pytest.raises(PipelineError, match="is missing"):
        heads.write_head(registry.trusted, "digits")
    with pytest.raises(PipelineError, match="is missing"):
        append_release(registry.trusted, "digits", 2, after=4)
    assert not (registry / f"{DIGITS}/releases/000005.json").exists()


def test_an_unsigned_look_is_what_it_was(signed):
    assert inspect(open_store(f"file://{signed / 'registry'}")).problems == ()
