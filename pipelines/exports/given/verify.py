"""Checks an exported version: `python verify.py --key FINGERPRINT`. It needs Python 3.11 or later and `cryptography`, and
nothing of Trainyard.

Ask whoever has exported the version, on another way than these files came, for the fingerprint of their key: the SHA-256 of
`signer.pem` (`trainyard keys list` shows it as the key for model signing), or the id of the key that their registry began
with (the first in `trainyard keys list`). `--key` takes each of them, and the file signer.pem.

exit codes: 0 all holds, and the key is yours · 1 something was altered · 2 it cannot be checked ·
3 all fits together, but no key was given: whoever has altered the files can have made this key, too
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SUMS, SUMS_SIGNATURE, SELF = "SHA256SUMS", "SHA256SUMS.sig", "verify.py"
PAYLOAD = "application/vnd.in-toto+json"
SIGNED_MODEL, SLSA = "https://model_signing/signature/v1.0", "https://slsa.dev/provenance/v1"
DOMAIN = b"trainyard.signature.1"
SIGNED = re.compile(rb'\n "signed_by": "([0-9a-f]{64}):([A-Za-z0-9+/]{86}==)"')
CHECKSUM = re.compile(rb'\n "seal": "([0-9a-f]{64})"')


class Altered(Exception):
    """Something is not as it was written."""


class Found:
    """What the checks have shown, in words."""

    def __init__(self) -> None:
        self.proven: list[str] = []
        self.open: list[str] = []
        self.keys: dict[str, str] = {}
        """Fingerprint → which key that is."""


def main(argv: list[str]) -> int:
    """Check the folder that this script is in, or another one; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", metavar="FINGERPRINT|FILE", default="", help="of the key that you trust")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    args = parser.parse_args(argv)
    try:
        wanted = _fingerprint(args.key)
        found = check(args.folder)
    except Altered as error:
        print(f"ALTERED: {error}")
        return 1
    except ImportError:
        print("this needs the package `cryptography`: pip install cryptography", file=sys.stderr)
        return 2
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        print(f"{args.folder}: cannot be checked: {error!r}", file=sys.stderr)
        return 2
    return _report(found, wanted)


def check(folder: Path) -> Found:
    """All checks of an exported version; raises Altered."""
    found = Found()
    files = _checksums(folder)
    found.proven.append(f"{len(files)} files are those of {SUMS}, and there is no other one")
    card = json.loads((folder / "model/card.json").read_bytes())
    model = {name.removeprefix("model/"): sha for name, sha in files.items() if name.startswith("model/")}
    if {name: sha for name, sha in model.items() if name != "card.json"} != card["files"]:
        raise Altered("the files in model/ are not those that model/card.json names")
    found.proven.append(f"model/ holds version {card['version']} of {card['model']}, all files and no other one")
    if (folder / "signer.pem").exists():
        _model_signature(folder, model, found)
    else:
        found.open.append("there is no model signature: the version is older than these, or its run was stopped")
    _records(folder, card, found)
    return found


def _report(found: Found, wanted: str) -> int:
    for each in found.proven:
        print(f"ok    {each}")
    for each in found.open:
        print(f"open  {each}")
    for key, what in found.keys.items():
        print(f"key   {key}  {what}")
    print("\nNot proven by any of this: that the model is good for your purpose, and that its data were right.")
    print("And this script came with the files: whoever could alter them could alter it. The same script is part of")
    print("Trainyard's source.")
    if not wanted:
        print(
            "\nNO KEY GIVEN: all fits together, but anybody can have made it. Ask for the fingerprint: --key FINGERPRINT"
        )
        return 3
    if wanted not in found.keys:
        print(f"\nALTERED: nothing here is signed with the key {wanted}")
        return 1
    print(f"\nVERIFIED with your key: {found.keys[wanted]}")
    return 0


def _fingerprint(given: str) -> str:
    """The SHA-256 that is meant: given as such, or of a file."""
    if not given:
        return ""
    text = given.removeprefix("sha256:").replace(":", "").lower()
    if re.fullmatch("[0-9a-f]{64}", text):
        return text
    data = Path(given).read_bytes() if Path(given).is_file() else b""
    if b"PUBLIC KEY" not in data:
        raise ValueError(
            f"--key {given} is neither a SHA-256 (64 hexadecimal digits) nor the file of a public key (PEM)"
        )
    return hashlib.sha256(data).hexdigest()


def _checksums(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of each file, as listed; raises Altered."""
    listed = {}
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        sha, separator, name = line.partition("  ")
        if not separator or not re.fullmatch("[0-9a-f]{64}", sha) or name in listed:
            raise Altered(f"{SUMS}: {line!r:.200} is not a line of it")
        listed[name] = sha
    there = set(_names(folder)) - {SUMS, SUMS_SIGNATURE}
    for name in sorted(there ^ listed.keys()):
        raise Altered(f"{name}: {'is missing' if name in listed else f'is not in {SUMS}; delete it'}")
    for name, sha in listed.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha:
                raise Altered(f"{name}: its SHA-256 is not that of {SUMS}")
    return listed


def _names(folder: Path) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise Altered(f"{path.relative_to(folder)}: neither a file nor a folder")
        yield from (Path(root, name).relative_to(folder).as_posix() for name in files)


def _model_signature(folder: Path, model: Mapping[str, str], found: Found) -> None:
    """`model.sig` and `provenance.intoto.json`: signed with signer.pem, and about just these files."""
    pem = (folder / "signer.pem").read_bytes()
    bundle = json.loads((folder / "model.sig").read_bytes())
    signed = _payload(bundle["dsseEnvelope"], pem, "model.sig")
    resources = {each["name"]: each["digest"] for each in signed["predicate"]["resources"]}
    if signed["predicateType"] != SIGNED_MODEL or resources != model:
        raise Altered("model.sig: is about other files than those in model/")
    made = _payload(json.loads((folder / "provenance.intoto.json").read_bytes()), pem, "provenance.intoto.json")
    if made["predicateType"] != SLSA or {each["name"]: each["digest"]["sha256"] for each in made["subject"]} != model:
        raise Altered("provenance.intoto.json: is about other files than those in model/")
    found.keys[hashlib.sha256(pem).hexdigest()] = "signer.pem: signed the files in model/, and what they were made from"
    about = made["predicate"]["buildDefinition"]
    sources = ", ".join(f"{each['name']} {each['digest']['gitCommit'][:12]}" for each in about["resolvedDependencies"])
    found.proven.append("model.sig: whoever has the private key of signer.pem has signed just these files")
    found.proven.append(f"provenance.intoto.json: and says that they were made from {sources}")


def _payload(envelope: Mapping[str, Any], pem: bytes, where: str) -> Any:
    """The statement in a DSSE envelope (ECDSA, P-256, SHA-256); raises Altered."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(pem)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Altered("signer.pem: is not a public key of the kind P-256")
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = envelope["signatures"]
    signed = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
    try:
        key.verify(base64.b64decode(signature["sig"], validate=True), signed, ECDSA(SHA256()))
    except InvalidSignature:
        raise Altered(f"{where}: its signature is not by signer.pem") from None
    return json.loads(payload)


def _records(folder: Path, card: Mapping[str, Any], found: Found) -> None:
    """What the registry says of the version: who tested, approved and released it; raises Altered."""
    root = folder / "records"
    place = f"test/{card['model']}/{card['version']}"
    records = {f"{place}/card.json": folder / "model/card.json"}
    if (folder / "attestation.json").exists():
        records[f"test/{card['model']}/attestations/{card['version']}/attestation.json"] = folder / "attestation.json"
    for path in sorted(root.rglob("*.json")) if root.is_dir() else ():
        name = path.relative_to(root).as_posix()
        if not name.startswith("keys/"):
            records[name] = path
    _about_this(records, folder / "model/card.json", card)
    keys = Keys(root / "keys")
    if not keys.records:
        found.open.append(f"README.md and {SUMS} are not signed")
        found.open.append(f"the registry was not signed: nobody vouches for its {len(records)} records")
        return
    _list_is_signed(folder, card, keys, found)
    signed = []
    for name, path in records.items():
        if why := keys.problem(name, path.read_bytes()):
            found.open.append(f"{path.relative_to(folder)}: {why}")
        else:
            signed.append(path)
    if folder / "model/card.json" in signed:  # it names the files in model/
        found.keys[keys.first] = "the registry's first key: it, or one that it has let sign, signed the manifest"
    found.proven.append(f"{len(signed)} records of the registry (manifest, tests, approvals, releases) are signed")
    attestation = folder / "attestation.json"
    if attestation in signed:
        says = json.loads(attestation.read_bytes())["files"]
        if says != {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in says}:
            raise Altered("attestation.json: names other files than signer.pem, model.sig and provenance.intoto.json")
        found.proven.append("attestation.json: the registry's key says that signer.pem is the controller's")


def _list_is_signed(folder: Path, card: Mapping[str, Any], keys: Keys, found: Found) -> None:
    """The signature of the list of all files, README.md among them, by a key of the registry; raises Altered."""
    file = folder / SUMS_SIGNATURE
    if not file.exists():
        found.open.append(
            f"{SUMS} is not signed, and so README.md is not: its numbers are in model/card.json, and the rest is open"
        )
        return
    digest = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    name = f"exports/{card['model']}/{card['version']}/{SUMS}"
    if not keys.has_signed(name, digest, file.read_text(encoding="ascii").strip()):
        raise Altered(f"{SUMS_SIGNATURE}: is not by a key of the registry that counts, of just this {SUMS}")
    found.proven.append(f"{SUMS}, and with it README.md, is signed by a key of the registry")


def _about_this(records: Mapping[str, Path], card_file: Path, card: Mapping[str, Any]) -> None:
    """Raise Altered for a record that is about another version, or other bytes."""
    digest = hashlib.sha256(card_file.read_bytes()).hexdigest()
    for name, path in records.items():
        data = path.read_bytes()
        checksum = CHECKSUM.search(data)
        if not checksum or hashlib.sha256(CHECKSUM.sub(b'\n "seal": ""', data)).hexdigest() != checksum[1].decode():
            raise Altered(f"{name}: its checksum does not match")
        says = json.loads(data)
        if (says["model"], says["version"]) != (card["model"], card["version"]):
            raise Altered(f"{name}: is about another version")
        if not name.endswith("/card.json") and says["card"] != digest:
            raise Altered(f"{name}: is about another manifest than model/card.json")


class Keys:
    """The registry's keys, each record signed by a key that counted before it; raises Altered."""

    def __init__(self, folder: Path) -> None:
        self.records = [path.read_bytes() for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem))]
        self._raw: dict[str, bytes] = {}
        self._ended: dict[str, str] = {}
        self._adopted: dict[str, str] = {}
        self.first, previous = "", ""
        for number, data in enumerate(self.records, 1):
            record = json.loads(data)
            if (record["number"], record["previous"]) != (number, previous):
                raise Altered(f"records/keys/{number:06d}.json: does not follow the record before it")
            self._add(data, record)
            previous = hashlib.sha256(data).hexdigest()
        self.registry = hashlib.sha256(self.records[0]).hexdigest() if self.records else ""

    def _add(self, data: bytes, record: Mapping[str, Any]) -> None:
        name = f"records/keys/{record['number']:06d}.json"
        raw = base64.b64decode(record["public"], validate=True)
        key = hashlib.sha256(raw).hexdigest() if raw else ""
        if raw and (key != record["key"] or key in self._raw):
            raise Altered(f"{name}: its key is not a new one with that id")
        known = {key: raw} if not self.first else {k: v for k, v in self._raw.items() if k not in self._ended}
        signer = _signer(data, known, b"registry key")
        if not signer:
            raise Altered(f"{name}: is not signed by a key that counted before it")
        if record["kind"] in {"rotated", "revoked"}:
            ended = signer if record["kind"] == "rotated" else record["key"]
            self._ended[ended] = {"rotated": "replaced"}.get(record["kind"], record["kind"])
        if record["kind"] == "adopted":
            self._adopted |= {each: mark["digest"] for each, mark in record["marks"].items() if each.endswith(".json")}
        if raw:
            self._raw[key] = raw
            self.first = self.first or key

    def has_signed(self, name: str, digest: str, signature: str) -> bool:
        """Whether a key that counts has signed this digest under this name."""
        valid = {key: raw for key, raw in self._raw.items() if key not in self._ended}
        key, _, value = signature.partition(":")
        purpose = f"registry record\n{self.registry}\n{name}".encode()
        return key in valid and _verifies(valid[key], value, digest.encode(), purpose)

    def problem(self, name: str, data: bytes) -> str:
        """Why a record is not proven to be the registry's; empty when it is. Raises Altered for a wrong signature."""
        if self._adopted.get(name) == hashlib.sha256(data).hexdigest():
            return ""
        if not SIGNED.search(data):
            return "was written before records were signed; only the registry as a whole can show that it was there"
        signer = _signer(data, self._raw, f"registry record\n{self.registry}\n{name}".encode())
        if not signer:
            raise Altered(f"{name}: its signature is not by a key of the registry")
        if ended := self._ended.get(signer):
            return f"is signed by a key that was {ended} later; only the registry as a whole can show that it was there before"
        return ""


def _signer(data: bytes, known: Mapping[str, bytes], purpose: bytes) -> str:
    """The id of the key that has signed a record for this purpose; empty when none of the known ones has."""
    signed = SIGNED.search(data)
    if not signed or signed[1].decode() not in known:
        return ""
    bare = CHECKSUM.sub(b'\n "seal": ""', data.replace(signed[0], b'\n "signed_by": ""'))
    key, digest = signed[1].decode(), hashlib.sha256(bare).hexdigest()
    return key if _verifies(known[key], signed[2].decode(), digest.encode(), purpose) else ""


def _verifies(raw: bytes, signature: str, digest: bytes, purpose: bytes) -> bool:
    """Whether the owner of an Ed25519 key has signed this digest for this purpose."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    message = b"%b\0%d\0%b\0%b" % (DOMAIN, len(purpose), purpose, digest)
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
