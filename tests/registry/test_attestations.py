"""A version can be checked with public tools: model_signing accepts its signature, in_toto_attestation its provenance."""

import base64
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from attested import REPOSITORIES, attested, run_folder
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from registry_parts import acceptance, publish
from signed_registry import config_of
from versions import SOURCES

from pipelines.attest import attest
from pipelines.key_changes import rotate, signing
from pipelines.trust import open_registry
from registry import attestations, candidates, codec, heads, releases
from registry.errors import ConfigError, Corrupt
from registry.keyring import sign_record
from registry.records import Attestation
from registry.verify import inspect

MODEL_SIGNING = Path(sys.executable).with_name("model_signing")
PLACE = "test/digits/attestations/1"


@pytest.fixture
def version(folder_store, tmp_path):
    """Version 1 of digits, attested; its store."""
    publish(folder_store, tmp_path, "run")
    attested(folder_store, tmp_path, "run", 1)
    return folder_store


def public_check(store, folder):
    """What somebody who has a copy of the version gets from the public tool."""
    place = store.path(f"{PLACE}/model.sig").parent
    return subprocess.run(
        [MODEL_SIGNING, "verify", "key", "--public_key", place / "signer.pem", "--signature", place / "model.sig", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_public_tool_accepts_a_copy_of_a_version_and_refuses_a_changed_one(version, tmp_path):
    releases.copy_to_production(version, "digits", 1)
    copy = tmp_path / "copy"
    shutil.copytree(version.path("production/digits/1/card.json").parent, copy)
    done = public_check(version, copy)
    assert done.returncode == 0, done.stdout + done.stderr
    (copy / "extra").write_bytes(b"1")
    assert public_check(version, copy).returncode == 1
    (copy / "extra").unlink()
    (copy / "model.tflite").chmod(0o644)
    (copy / "model.tflite").write_bytes(b"other")
    assert public_check(version, copy).returncode == 1


def test_a_bundle_has_the_form_that_public_tools_read(version):
    bundle = json.loads(version.get(f"{PLACE}/model.sig"))
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    pem = version.get(f"{PLACE}/signer.pem")
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": sha256(pem).hexdigest()}, "tlogEntries": []}
    statement = json.loads(opened(bundle["dsseEnvelope"], pem))
    files = {each["name"]: each["digest"] for each in statement["predicate"]["resources"]}
    assert files == everything(version)
    raw = b"".join(bytes.fromhex(files[name]) for name in sorted(files))
    assert statement["subject"] == [{"name": "digits-1", "digest": {"sha256": sha256(raw).hexdigest()}}]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
    assert statement["predicate"]["serialization"] == how


def test_the_provenance_is_a_statement_of_in_toto_with_that_of_slsa(version):
    envelope = json.loads(version.get(f"{PLACE}/provenance.intoto.json"))
    payload = opened(envelope, version.get(f"{PLACE}/signer.pem"))
    statement = json_format.Parse(payload, statement_pb2.Statement())
    assert {each.name: each.digest["sha256"] for each in statement.subject} == everything(version)
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    made = json_format.ParseDict(json.loads(payload)["predicate"], provenance_pb2.Provenance())
    assert {
        each.name: (each.uri, each.digest["gitCommit"]) for each in made.build_definition.resolved_dependencies
    } == {name: (REPOSITORIES[name], getattr(SOURCES, name)) for name in REPOSITORIES}
    assert made.build_definition.internal_parameters["config"] == "f" * 64
    assert made.run_details.metadata.invocation_id == "run"
    assert made.run_details.builder.id.startswith("urn:trainyard:controller:")


def test_the_key_is_the_controllers_only(version, tmp_path):
    path = tmp_path / "home" / "keys" / "model-signing.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    publish(version, tmp_path, "more")
    with pytest.raises(ConfigError, match="others may read"):
        attested(version, tmp_path, "more", 2)


@pytest.mark.parametrize(
    "left", [(), ("signer.pem",), ("signer.pem", "model.sig"), attestations.FOR_OTHERS, attestations.NAMES], ids=len
)
def test_what_a_killed_step_has_left_is_completed(folder_store, tmp_path, left):
    publish(folder_store, tmp_path, "run")
    attested(folder_store, tmp_path, "run", 1)
    place = folder_store.path(f"{PLACE}/model.sig").parent
    before = {name: (place / name).read_bytes() for name in left}
    for name in set(attestations.NAMES) - set(left):
        (place / name).unlink()
    attested(folder_store, tmp_path, "run", 1)
    assert {name: (place / name).read_bytes() for name in left} == before
    attestations.check(folder_store, "digits", 1, everything(folder_store))


def test_another_key_does_not_continue_what_one_has_begun(version, tmp_path):
    (version.path(f"{PLACE}/model.sig")).unlink()
    with pytest.raises(ConfigError, match="another key"):
        attest(version, run_folder(tmp_path / "runs", "run"), 1, tmp_path / "other", REPOSITORIES)


def test_a_version_from_before_is_a_note_and_a_later_one_that_was_tested_is_a_problem(version, tmp_path):
    publish(version, tmp_path, "more")
    assert inspect(version).problems == ()
    (note,) = inspect(version).notes
    assert note.startswith("test/digits: without model signature and provenance: version 2; if its run was killed")
    candidates.append_acceptance(version, acceptance(version, 2))
    wanted = {f"test/digits/attestations/2/{name}: is missing" for name in attestations.NAMES}
    assert set(inspect(version).problems) == wanted


@pytest.mark.parametrize("name", attestations.NAMES)
def test_verify_reports_each_that_is_missing_or_altered(version, name):
    path = version.path(f"{PLACE}/{name}")
    whole = path.read_bytes()
    flipped = whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]
    for data in (whole[:-20], b"", b"[]", b"{}", flipped):
        path.unlink()
        path.write_bytes(data)
        path.chmod(0o444)
        assert any(each.startswith(PLACE) for each in inspect(version).problems), data
    path.unlink()
    report = inspect(version)
    if name == attestations.RECORD:  # it is written last: a killed step leaves this
        assert report.problems == ()
        assert any("without model signature and provenance: version 1" in each for each in report.notes)
    else:
        assert report.problems == (f"{PLACE}/{name}: is missing",)


def test_a_version_whose_run_was_killed_before_it_was_attested_is_a_note_also_when_new_tests_accept_it(tmp_path):
    """Of a signed registry the heads say whether there was an attestation; and the step, repeated, adds it."""
    config = config_of(tmp_path)
    store = open_registry(config)
    attested(store, tmp_path, "run", publish(store, tmp_path, "run"))
    publish(store, tmp_path, "killed")
    candidates.append_acceptance(store, acceptance(store, 2))
    heads.write_head(store, "digits")
    report = inspect(open_registry(config))
    assert report.problems == ()
    assert any("version 2; if its run was killed, the step `register`" in each for each in report.notes)
    attested(store, tmp_path, "killed", 2)
    heads.write_head(store, "digits")
    assert not any("without model signature" in each for each in inspect(open_registry(config)).notes)
    (tmp_path / "registry/test/digits/attestations/2/attestation.json").unlink()
    assert inspect(open_registry(config)).problems == (
        "test/digits/attestations/2/attestation.json: is missing, though a head says that it was there",
    )


def test_a_key_that_was_replaced_still_vouches_for_what_it_attested_and_for_nothing_new(tmp_path):
    config = config_of(tmp_path)
    store = open_registry(config)
    attested(store, tmp_path, "run", publish(store, tmp_path, "run"))
    old = signing(config).signer()
    rotate(config, "ada", "a test")
    assert inspect(open_registry(config)).problems == ()
    place = tmp_path / "registry" / PLACE / "attestation.json"
    record = codec.from_json(Attestation, place.read_bytes(), "it")
    registry = sha256((tmp_path / "registry/keys/000001.json").read_bytes()).hexdigest()
    name = f"{PLACE}/attestation.json"
    forged = dataclasses.replace(record, files=record.files | {"signer.pem": "0" * 64})
    place.unlink()
    place.write_bytes(codec.with_checksum(forged, lambda digest: sign_record(old, registry, name, digest)))
    place.chmod(0o444)
    assert any("was not there when that was replaced" in each for each in inspect(open_registry(config)).problems)


def test_the_attestations_of_another_version_are_reported(version, tmp_path):
    publish(version, tmp_path, "more", files={"model.keras": b"others"})
    attested(version, tmp_path, "more", 2)
    other = version.path("test/digits/attestations/2/model.sig").parent
    for name in ("model.sig", "provenance.intoto.json"):
        path = version.path(f"{PLACE}/{name}")
        whole = path.read_bytes()
        path.unlink()
        shutil.copy(other / name, path)
        assert inspect(version).problems == (f"{PLACE}/{name}: is about other files than the manifest",)
        path.unlink()
        path.write_bytes(whole)
        path.chmod(0o444)
    assert inspect(version).problems == ()


def test_attestations_of_a_version_that_is_not_there_and_foreign_files_are_reported(version):
    place = version.path(f"{PLACE}/model.sig").parent
    shutil.copytree(place, place.with_name("7"))
    (place / "extra").touch()
    (place.with_name("extra")).touch()
    os.chmod(place / "extra", 0o444)
    assert set(inspect(version).problems) >= {
        "test/digits/attestations/7: is about a version that is not there",
        f"{PLACE}/extra: does not belong here",
        "test/digits/attestations/extra: does not belong here",
    }


def test_a_file_that_was_altered_after_it_was_registered_is_not_attested_by_what_is_there(version):
    files = everything(version) | {"model.keras": "0" * 64}
    with pytest.raises(Corrupt, match="other files"):
        attestations.check(version, "digits", 1, files)


def everything(store):
    manifest, digest = candidates.read_manifest(store, "digits", 1)
    return {**manifest.files, "card.json": digest}


def opened(envelope, pem):
    """The payload of an envelope, its signature checked as the specification of DSSE says."""
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    signed = b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    load_pem_public_key(pem).verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    return payload


# --- what somebody signs who has the key for public tools, and not the registry's ----------------------------------------


def signed(payload, key):
    """An envelope around these bytes, as the specification of DSSE says."""
    kind = "application/vnd.in-toto+json"
    parts = (b"DSSEv1", str(len(kind)).encode(), kind.encode(), str(len(payload)).encode(), payload)
    signature = key.sign(b" ".join(parts), ec.ECDSA(hashes.SHA256()))
    signatures = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures}


@pytest.fixture
def key(version, tmp_path):
    """The key that has signed the version."""
    return load_pem_private_key((tmp_path / "home/keys/model-signing.pem").read_bytes(), None)


def replace(store, name, data):
    path = store.path(f"{PLACE}/{name}")
    path.unlink()
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def refused(store, said, name="model.sig"):
    with pytest.raises(Corrupt, match=f"^{PLACE}/{name}: {said}"):
        attestations.check(store, "digits", 1, everything(store))


def test_what_was_attested_is_given_back(version):
    predicate = attestations.check(version, "digits", 1, everything(version))
    assert predicate["runDetails"]["metadata"]["invocationId"] == "run"


@pytest.mark.parametrize(
    "subject", [[], {}, None, "text", 7, ["text"], [None], [{"name": "digits-1", "digest": {"sha256": "0" * 64}}]]
)
def test_a_model_signature_about_something_else_is_refused_whatever_it_is_about(version, key, subject):
    bundle = json.loads(version.get(f"{PLACE}/model.sig"))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    whole = bundle | {"dsseEnvelope": signed(json.dumps(statement).encode(), key)}
    replace(version, "model.sig", whole)
    refused(version, "is not the one that attestation.json names")  # signed anew, and not recorded
    other = statement | {"subject": subject}
    replace(version, "model.sig", bundle | {"dsseEnvelope": signed(json.dumps(other).encode(), key)})
    refused(version, "is about other files than the manifest")


@pytest.mark.parametrize("payload", [b"[]", b"7", b"null", b"{}"])
@pytest.mark.parametrize("name", ["model.sig", "provenance.intoto.json"])
def test_a_signed_statement_that_is_none_is_refused(version, key, name, payload):
    envelope = signed(payload, key)
    replace(version, name, {"dsseEnvelope": envelope} if name == "model.sig" else envelope)
    refused(version, "is about other files than the manifest", name)


@pytest.mark.parametrize("predicate", [[], [["a", 1]], None, "text"])
def test_a_provenance_whose_predicate_is_not_an_object_is_refused(version, key, predicate):
    envelope = json.loads(version.get(f"{PLACE}/provenance.intoto.json"))
    statement = json.loads(base64.b64decode(envelope["payload"])) | {"predicate": predicate}
    replace(version, "provenance.intoto.json", signed(json.dumps(statement).encode(), key))
    refused(version, "is about other files than the manifest", "provenance.intoto.json")


@pytest.mark.parametrize("part", ["payload", "sig"])
def test_letters_that_base64_does_not_have_are_refused_and_not_passed_over(version, part):
    bundle = json.loads(version.get(f"{PLACE}/model.sig"))
    where = bundle["dsseEnvelope"] if part == "payload" else bundle["dsseEnvelope"]["signatures"][0]
    where[part] = where[part][:8] + "!" + where[part][8:]
    replace(version, "model.sig", bundle)
    refused(version, "its signature is not by signer.pem")


@pytest.mark.parametrize("kind", [lambda: ec.generate_private_key(ec.SECP384R1()), Ed25519PrivateKey.generate])
def test_a_key_of_another_kind_is_refused(version, kind):
    replace(version, "signer.pem", attestations.public_pem(kind()))
    refused(version, r"is not a public key \(P-256, PEM\)", "signer.pem")


def test_a_record_without_a_checksum_is_refused(version):
    data = version.get(f"{PLACE}/attestation.json")
    record = codec.from_json(Attestation, data, "it", checksum_required=True)
    replace(version, "attestation.json", codec.to_json(record))
    refused(version, "it has no checksum", "attestation.json")


@pytest.mark.parametrize(
    "other", [{"model": "flowers"}, {"version": 2}, {"card": "0" * 64}], ids=lambda each: next(iter(each))
)
def test_a_record_about_another_manifest_is_refused(version, other):
    record = codec.from_json(Attestation, version.get(f"{PLACE}/attestation.json"), "it")
    replace(version, "attestation.json", codec.with_checksum(dataclasses.replace(record, **other)))
    refused(version, "is about another manifest", "attestation.json")


def test_nothing_is_vouched_for_that_another_key_has_signed_or_that_is_about_other_files(version):
    files, pem = everything(version), version.get(f"{PLACE}/signer.pem")
    version.path(f"{PLACE}/attestation.json").unlink()
    with pytest.raises(Corrupt, match=r"signer\.pem: is not this controller's key"):
        attestations.record(version, "digits", 1, files, pem + b"\n")
    with pytest.raises(Corrupt, match="other files"):
        attestations.record(version, "digits", 1, files | {"model.keras": "0" * 64}, pem)
    assert attestations.record_digest(version, "digits", 1) == ""
    attestations.record(version, "digits", 1, files, pem)
    attestations.record(version, "digits", 1, files, pem)  # again
    assert (
        attestations.record_digest(version, "digits", 1) == sha256(version.get(f"{PLACE}/attestation.json")).hexdigest()
    )


def test_the_signer_of_a_version_is_named_with_the_file_of_its_key(version):
    pem = version.get(f"{PLACE}/signer.pem")
    assert attestations.signer(version, "digits", 1) == (
        attestations.key_id(pem),
        version.path(f"{PLACE}/signer.pem"),
    )
    assert attestations.signer(version, "digits", 2) is None
