"""What other tools can check of a version: who has signed its files, and how it was made.

    test/<model>/attestations/<version>/model.sig                a Sigstore bundle, as OpenSSF model-signing reads it
    test/<model>/attestations/<version>/provenance.intoto.json   an in-toto statement with SLSA provenance, in DSSE
    test/<model>/attestations/<version>/signer.pem               the public key (P-256) that verifies both
    test/<model>/attestations/<version>/attestation.json         the registry's own record of these three, last

They are about the files of the version in `production`: those of the manifest, and the manifest itself. They lie beside
the version, because model-signing refuses a folder with a file that is not signed. `cryptography` is loaded when something
is signed or verified.

Nothing in the first three says whose key it is. The record does: the registry's own key signs it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry import codec
from registry.chain import signed_bytes
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.records import Attestation
from registry.stores import Store, signatures_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

FOLDER = "attestations"
MODEL_SIGNATURE, PROVENANCE, PUBLIC_KEY = "model.sig", "provenance.intoto.json", "signer.pem"
RECORD = "attestation.json"
FOR_OTHERS = (MODEL_SIGNATURE, PROVENANCE, PUBLIC_KEY)
NAMES = (*FOR_OTHERS, RECORD)
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
SIGNED_MODEL = "https://model_signing/signature/v1.0"
SLSA = "https://slsa.dev/provenance/v1"
HINT = "restore it from a backup, or delete it and repeat the step `register` of its run"


def folder(model: str, version: int) -> str:
    """Where the attestations of a version lie in the store."""
    return f"test/{model}/{FOLDER}/{version}"


def make(
    key: EllipticCurvePrivateKey, name: str, files: Mapping[str, str], provenance: Mapping[str, Any]
) -> dict[str, bytes]:
    """The three files for a version that is called `name`; `files` is name → SHA-256 of each, with the manifest.

    `provenance` is the predicate of https://slsa.dev/spec/v1.0/provenance.
    """
    pem = public_pem(key)
    signature = _dsse(key, _statement([(name, _root(files))], SIGNED_MODEL, _resources(files)))
    material = {"publicKey": {"hint": key_id(pem)}, "tlogEntries": []}
    bundle = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": signature}
    return {
        PUBLIC_KEY: pem,
        MODEL_SIGNATURE: _json(bundle),
        PROVENANCE: _json(_dsse(key, _statement(sorted(files.items()), SLSA, provenance))),
    }


def public_pem(key: EllipticCurvePrivateKey) -> bytes:
    """The public key as PEM."""
    from cryptography.hazmat.primitives import serialization as to

    return key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)


def key_id(pem: bytes) -> str:
    """What a bundle calls its key: the SHA-256 of its PEM."""
    return hashlib.sha256(pem).hexdigest()


def check(store: Store, model: str, version: int, files: Mapping[str, str]) -> dict[str, Any]:
    """The provenance of a version (its predicate), once all is there, signed, and about just these `files`.

    Raises FileNotFoundError or Corrupt.
    """
    predicate = _check_for_others(store, model, version, files)
    name = f"{folder(model, version)}/{RECORD}"
    data = store.get(name)
    found = codec.from_json(Attestation, data, name, checksum_required=True)
    if signatures := signatures_of(store):
        signatures.check(name, data)
    wanted = _record(store, model, version, files)
    for each in FOR_OTHERS:
        if found.files.get(each) != wanted.files[each]:
            raise Corrupt(f"{folder(model, version)}/{each}: is not the one that {RECORD} names", hint=HINT)
    if found != wanted:
        raise Corrupt(f"{name}: is about another manifest", hint=HINT)
    return predicate


def record(store: Store, model: str, version: int, files: Mapping[str, str], pem: bytes) -> None:
    """Vouch for what was made with the key that has this public `pem`, or find that it was done; raises Corrupt."""
    where = folder(model, version)
    if store.get(f"{where}/{PUBLIC_KEY}") != pem:
        raise Corrupt(f"{where}/{PUBLIC_KEY}: is not this controller's key", hint=HINT)
    _check_for_others(store, model, version, files)
    data = signed_bytes(store, f"{where}/{RECORD}", _record(store, model, version, files))
    with contextlib.suppress(FileExistsError):  # whoever reads it checks it
        store.create(f"{where}/{RECORD}", data)


def signer(store: Store, model: str, version: int) -> tuple[str, Path] | None:
    """The id of the key that a version says it is attested with, and the file of the public key; None without one."""
    name = f"{folder(model, version)}/{PUBLIC_KEY}"
    try:
        return key_id(store.get(name)), store.path(name)
    except FileNotFoundError:
        return None


def record_digest(store: Store, model: str, version: int) -> str:
    """The SHA-256 of a version's record; empty when it has none."""
    with contextlib.suppress(FileNotFoundError):
        return sha256_bytes(store.get(f"{folder(model, version)}/{RECORD}"))
    return ""


def _record(store: Store, model: str, version: int, files: Mapping[str, str]) -> Attestation:
    where = folder(model, version)
    there = {name: sha256_bytes(store.get(f"{where}/{name}")) for name in FOR_OTHERS}
    return Attestation(model, version, files["card.json"], there)


def _check_for_others(store: Store, model: str, version: int, files: Mapping[str, str]) -> dict[str, Any]:
    where = folder(model, version)
    pem = store.get(f"{where}/{PUBLIC_KEY}")
    bundle = _parsed(store, f"{where}/{MODEL_SIGNATURE}")
    signed = _payload(bundle.get("dsseEnvelope"), pem, f"{where}/{MODEL_SIGNATURE}")
    if signed != _statement([(_subject(signed), _root(files))], SIGNED_MODEL, _resources(files)):
        raise Corrupt(f"{where}/{MODEL_SIGNATURE}: is about other files than the manifest", hint=HINT)
    made = _payload(_parsed(store, f"{where}/{PROVENANCE}"), pem, f"{where}/{PROVENANCE}")
    predicate = made.get("predicate")
    if not isinstance(predicate, dict) or made != _statement(sorted(files.items()), SLSA, predicate):
        raise Corrupt(f"{where}/{PROVENANCE}: is about other files than the manifest", hint=HINT)
    return predicate


def _statement(subjects: list[tuple[str, str]], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subjects],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def _resources(files: Mapping[str, str]) -> dict[str, Any]:
    return {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
        "resources": [
            {"name": name, "algorithm": "sha256", "digest": sha256} for name, sha256 in sorted(files.items())
        ],
    }


def _root(files: Mapping[str, str]) -> str:
    """The SHA-256 over the digests of all files, sorted by name, as model-signing defines it."""
    return hashlib.sha256(b"".join(bytes.fromhex(sha256) for _, sha256 in sorted(files.items()))).hexdigest()


def _subject(statement: Mapping[str, Any]) -> str:
    """The name that a statement about a whole model gives it."""
    subjects = statement.get("subject")
    first = subjects[0] if isinstance(subjects, list) and subjects else None
    return str(first.get("name")) if isinstance(first, dict) else ""


def _dsse(key: EllipticCurvePrivateKey, statement: Mapping[str, Any]) -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    payload = json.dumps(statement, sort_keys=True).encode()
    signature = key.sign(_pre_authentication(payload), ECDSA(SHA256()))
    signatures = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD, "signatures": signatures}


def _pre_authentication(payload: bytes) -> bytes:
    """What is signed of an envelope: https://github.com/secure-systems-lab/dsse, PAE."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)


def _payload(envelope: object, pem: bytes, where: str) -> dict[str, Any]:
    """The statement in an envelope whose signature holds; raises Corrupt."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Corrupt(f"{where.rpartition('/')[0]}/{PUBLIC_KEY}: is not a public key (P-256, PEM)", hint=HINT)
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)  # type: ignore[index]
        (signature,) = envelope["signatures"]  # type: ignore[index]
        key.verify(base64.b64decode(signature["sig"], validate=True), _pre_authentication(payload), ECDSA(SHA256()))
        statement = json.loads(payload)
    except (InvalidSignature, binascii.Error, ValueError, TypeError, KeyError, RecursionError):
        raise Corrupt(f"{where}: its signature is not by {PUBLIC_KEY}", hint=HINT) from None
    return statement if isinstance(statement, dict) else {}


def _parsed(store: Store, name: str) -> dict[str, Any]:
    try:
        found = json.loads(store.get(name))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{name}: not JSON: {error}", hint=HINT) from None
    if not isinstance(found, dict):
        raise Corrupt(f"{name}: not an object", hint=HINT)
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
