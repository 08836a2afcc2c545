"""What other tools can check of a version: who has signed its files, and how it was made.

    test/<model>/attestations/<version>/model.sig                a Sigstore bundle, as OpenSSF model-signing reads it
    test/<model>/attestations/<version>/provenance.intoto.json   an in-toto statement with SLSA provenance, in DSSE
    test/<model>/attestations/<version>/signer.pem               the public key (P-256) that verifies both

They are about the files of the version in `production`: those of the manifest, and the manifest itself. They lie beside
the version, because model-signing refuses a folder with a file that is not signed. `cryptography` is loaded when something
is signed or verified.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.errors import Corrupt
from registry.stores import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

FOLDER = "attestations"
MODEL_SIGNATURE, PROVENANCE, PUBLIC_KEY = "model.sig", "provenance.intoto.json", "signer.pem"
NAMES = (MODEL_SIGNATURE, PROVENANCE, PUBLIC_KEY)
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
    """The provenance of a version (its predicate), once all three files are there, signed, and about just these `files`.

    Raises FileNotFoundError or Corrupt.
    """
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
    except (InvalidSignature, binascii.Error, ValueError, TypeError, KeyError):
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
