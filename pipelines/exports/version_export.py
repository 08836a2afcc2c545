"""A version for somebody who has no Trainyard: its files, what is known of it, and a script that checks all of it.

    README.md                  the model card, with the front matter that Hugging Face reads
    verify.py, SHA256SUMS      checks all of this with Python and `cryptography`; every file but itself
    SHA256SUMS.sig             the signature of SHA256SUMS by a key of the registry, where this machine has one
    model/                     the version, as in production: MLmodel, sbom.cdx.json, card.json and the model's own files
    model.sig, provenance.intoto.json, signer.pem, attestation.json
    records/                   the registry's signed records of it, under their names: tests, approvals, releases, keys

What is here is read and made; `pipelines.exports.destination` writes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.exports import cyclonedx
from pipelines.exports.version_files import SBOM
from pipelines.report.model_card import card_markdown
from registry import attestations, candidates, releases
from registry.chain import Chain, Records
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.keyring import key_chain
from registry.records import Candidate
from registry.stores import Store, signatures_of

SUMS = "SHA256SUMS"
SUMS_SIGNATURE = f"{SUMS}.sig"
VERIFY = Path(__file__).parent / "given" / "verify.py"
UNKNOWN = "not recorded with this version"


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written: made files (name → bytes), and the model's own (name → file, SHA-256)."""

    made: dict[str, bytes]
    model: dict[str, tuple[Path, str]]
    signer: str
    """The SHA-256 of signer.pem; empty without one."""
    first_key: str
    """The id of the key that the registry began with; empty when it is not signed."""
    notes: tuple[str, ...]
    signature: str
    """Of `SHA256SUMS`, as records have it; empty without a key."""

    @property
    def checked(self) -> dict[str, bytes]:
        """The made files, with the list of all checksums and its signature."""
        signature = {SUMS_SIGNATURE: f"{self.signature}\n".encode("ascii")} if self.signature else {}
        return self.made | {SUMS: _sums(self.made, self.model)} | signature


def gather(store: Store, model: str, version: int) -> Export:
    """All of a version, every byte checked; raises ConfigError when there is no such version, Corrupt for altered bytes."""
    manifest, digest = candidates.read_manifest(store, model, version)
    folder = candidates.local_folder(store, "test", model, version, digest)
    digests = {**manifest.files, "card.json": digest}
    tests = candidates.acceptances(store, model, version)
    notes: list[str] = []
    made = {
        "README.md": card_markdown(manifest, tests[-1] if tests else None).encode(),
        "verify.py": VERIFY.read_bytes(),
    }
    if SBOM not in manifest.files:
        notes.append(f"the version has no {SBOM} of its own: the one here was made now, and is not signed")
        repositories = dict.fromkeys(("code", "dataset", "tests"), UNKNOWN)
        made[SBOM] = cyclonedx.bom(manifest, repositories, manifest.created_at)
    if "pyfunc/model.json" not in manifest.files:
        notes.append(
            "the version has no MLmodel by Trainyard: MLflow cannot load it, or loads what the training has left"
        )
    signed = _attested(store, manifest, digests)
    if not signed:
        notes.append(
            "the version has no model signature: repeat the step `register` of its run, if its folder is there"
        )
    keys = {f"records/{name}": data for name, data in _keys(store)}
    made |= signed | keys | {f"records/{name}": data for name, data in _records(store, manifest, digest)}
    pem = signed.get(attestations.PUBLIC_KEY)
    files = {f"model/{name}": (folder / name, sha256) for name, sha256 in digests.items()}
    signature = ""
    if keys:
        try:
            signature = _signature(store, manifest, sha256_bytes(_sums(made, files)))
        except ConfigError as error:
            notes.append(f"README.md and {SUMS} are not signed: {error} ({error.hint})")
    return Export(made, files, sha256_bytes(pem) if pem else "", _first(store, keys), tuple(notes), signature)


def _sums(made: dict[str, bytes], model: dict[str, tuple[Path, str]]) -> bytes:
    """`SHA256SUMS`, as `sha256sum -c` reads it."""
    digests = {name: sha256_bytes(data) for name, data in made.items()}
    digests |= {name: sha256 for name, (_, sha256) in model.items()}
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(digests.items())).encode()


def _signature(store: Store, manifest: Candidate, digest: str) -> str:
    """That of the list of checksums, under a name that no record has; raises ConfigError without a key that counts here."""
    signatures = signatures_of(store)
    name = f"exports/{manifest.model}/{manifest.version}/{SUMS}"
    return signatures.sign(name, digest) if signatures else ""


def _attested(store: Store, manifest: Candidate, digests: dict[str, str]) -> dict[str, bytes]:
    """Signature, provenance and public key, checked; nothing when the version has none. Raises Corrupt."""
    where = attestations.folder(manifest.model, manifest.version)
    if not set(store.names(where)) & set(attestations.FOR_OTHERS):
        return {}
    try:
        attestations.check(store, manifest.model, manifest.version, digests)
    except FileNotFoundError as error:
        raise Corrupt(f"{error.args[0]}: is missing", hint=attestations.HINT) from None
    return {name: store.get(f"{where}/{name}") for name in attestations.NAMES}


def _records(store: Store, manifest: Candidate, digest: str) -> Iterator[tuple[str, bytes]]:
    """The records that are about just this manifest, as the registry has them; their chains are checked."""
    tests = candidates.acceptance_chain(store, manifest.model, manifest.version, digest)
    history = releases.read_history(store, manifest.model)
    yield from _of(manifest, digest, tests, tests.records())
    yield from _of(manifest, digest, releases.approval_chain(store, manifest.model), history.approvals)
    yield from _of(manifest, digest, releases.release_chain(store, manifest.model), history.releases)


def _of(manifest: Candidate, digest: str, chain: Chain[Any], found: Records[Any]) -> Iterator[tuple[str, bytes]]:
    for each, data in zip(found, found.bytes, strict=True):
        if (each.version, each.card) == (manifest.version, digest):
            yield chain.name(each.number), data


def _keys(store: Store) -> Iterator[tuple[str, bytes]]:
    chain = key_chain(store)
    for number in chain.numbers():
        yield chain.name(number), store.get(chain.name(number))


def _first(store: Store, keys: dict[str, bytes]) -> str:
    chain = key_chain(store)
    with contextlib.suppress(FileNotFoundError):
        return chain.read(1).key if keys else ""
    return ""
