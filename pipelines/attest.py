"""The controller vouches for a version that it has registered, in the formats of other tools; no worker has its key."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.runs import RunFolder
from registry import attestations, candidates
from registry.errors import ConfigError
from registry.files import sweep, write_new
from registry.records import Candidate, utc_now
from registry.stores import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

KEY = "model-signing.pem"
BUILD_TYPE = "urn:trainyard:pipeline:1"
"""What was run, and what its parameters mean: docs/how-to/verify-a-model.md."""


def attest(store: Store, folder: RunFolder, version: int, home: Path, repositories: dict[str, str]) -> None:
    """Have the signature and the provenance of a registered version beside it. Repeating it adds what is missing."""
    manifest, digest = candidates.read_manifest(store, folder.run.model, version)
    files = {**manifest.files, "card.json": digest}
    where = attestations.folder(manifest.model, version)
    there = store.names(where)
    if set(there) >= set(attestations.NAMES):
        attestations.check(store, manifest.model, version, files)
        return
    key = _key(home / "keys")
    made = attestations.make(
        key, f"{manifest.model}-{version}", files, _provenance(manifest, folder, key, repositories)
    )
    if (
        attestations.PUBLIC_KEY in there
        and store.get(f"{where}/{attestations.PUBLIC_KEY}") != made[attestations.PUBLIC_KEY]
    ):
        raise ConfigError(
            f"{where}/{attestations.PUBLIC_KEY}: was begun with another key than {home / 'keys' / KEY}",
            hint="repeat the step on the machine that began it, or delete this folder: nothing depends on it yet",
        )
    for name in (attestations.PUBLIC_KEY, attestations.MODEL_SIGNATURE, attestations.PROVENANCE):
        with contextlib.suppress(FileExistsError):  # by the same key, and a signature holds whenever it was made
            store.create(f"{where}/{name}", made[name])
    attestations.record(store, manifest.model, version, files, made[attestations.PUBLIC_KEY])
    attestations.check(store, manifest.model, version, files)


def own_key(home: Path) -> bytes | None:
    """The public half, as PEM, of the key that this machine attests with; None when it has none yet. Raises ConfigError."""
    with contextlib.suppress(FileNotFoundError):
        return attestations.public_pem(_load(home / "keys" / KEY))
    return None


def _provenance(
    manifest: Candidate, folder: RunFolder, key: EllipticCurvePrivateKey, repositories: dict[str, str]
) -> dict[str, Any]:
    """The predicate of SLSA provenance v1: what the version was made from, by whom, in which run."""
    run, commits = folder.run, manifest.sources
    names = ("code", "dataset", "tests")
    sources = {name: {"uri": repositories[name], "commit": getattr(commits, name)} for name in names}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"model": run.model, "trigger": run.trigger, "sources": sources},
            "internalParameters": {"config": run.config, "image": manifest.image or "", "seed": manifest.seed},
            "resolvedDependencies": [
                {"name": name, "uri": repositories[name], "digest": {"gitCommit": getattr(commits, name)}}
                for name in names
            ],
        },
        "runDetails": {
            "builder": {"id": f"urn:trainyard:controller:{attestations.key_id(attestations.public_pem(key))}"},
            "metadata": {"invocationId": run.id, "startedOn": run.created_at, "finishedOn": utc_now()},
        },
    }


def _key(folder: Path) -> EllipticCurvePrivateKey:
    """The controller's private key, made when it is not there; raises ConfigError."""
    path = folder / KEY
    with contextlib.suppress(FileNotFoundError):
        return _load(path)
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(folder)
        with contextlib.suppress(FileExistsError):  # by another run, a moment ago
            write_new(path, pem, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="[home] must be a folder that we may write to") from None
    return _load(path)


def _load(path: Path) -> EllipticCurvePrivateKey:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 14) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}", hint="run as the user who made it") from None
    if mode & 0o077:
        raise ConfigError(
            f"{path}: others may read or write this private key",
            hint=f"if nobody else has read it: chmod 600 {path}; else delete it: a new one is made",
        )
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigError(
            f"{path}: is not a private key (P-256, PEM, without a passphrase)", hint="delete it: a new one is made"
        )
    return key
