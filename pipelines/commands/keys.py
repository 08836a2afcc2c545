"""`trainyard keys make|list|trust|add|rotate|revoke`: which keys sign the registry's records."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import key_changes
from pipelines.attest import KEY as ATTESTING
from pipelines.attest import own_key
from pipelines.commands.of_models import of_one_registry
from pipelines.commands.promote import add_who, who
from pipelines.config.schema import Config
from pipelines.text.markup import Section, Table, to_text
from pipelines.trust import Signing
from registry import attestations
from registry.errors import ConfigError
from registry.keyring import Key
from registry.signatures import ID, PublicKey, read_public_key

ACTIONS = {
    "make": "the registry's first key, if it has none; the first run makes it by itself",
    "list": "the keys, which of them count, and the private keys of this machine",
    "trust": "KEY is the one that the registry began with: for a machine that sees it for the first time",
    "add": "KEY may sign, too: another controller's",
    "rotate": "replace the key of this machine by a new one",
    "revoke": "KEY counts for nothing that is written from now on",
}
VERIFY = (
    f"model_signing verify key --public_key {attestations.PUBLIC_KEY} --signature {attestations.MODEL_SIGNATURE} FOLDER"
)
"""FOLDER: a copy of the version from production; see docs/how-to/verify-a-model.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("action", choices=ACTIONS, help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()))
    parser.add_argument("key", nargs="?", metavar="KEY", help="an id as `list` shows it, or the file of a public key")
    parser.add_argument("--reason", default="", help="why, for the record")
    add_who(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was asked for, or the keys as they are then."""
    by = args.by or who()
    if (args.key is None) == (args.action in {"trust", "add", "revoke"}):
        raise ConfigError(f"keys {args.action}: " + ("name a KEY" if args.key is None else "it takes no KEY"))
    if args.action == "make":
        key_changes.signing(config).signer()
    elif args.action == "trust":
        key_changes.trust(config, _id(args.key))
    elif args.action == "add":
        key_changes.add(config, _public(args.key), by, args.reason)
    elif args.action == "rotate":
        key_changes.rotate(config, by, args.reason)
    elif args.action == "revoke":
        key_changes.revoke(config, args.key, by, args.reason)
    _list(key_changes.signing(config), as_json=args.json)
    return 0


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The keys of the registry that they share."""
    return main(args, of_one_registry(configs))


def _list(own: Signing, *, as_json: bool) -> None:
    """The same facts as text and as JSON."""
    ring = own.ring if own.has_begun() else None
    facts: dict[str, Any] = {
        "keys": [_row(own, each) for each in ring.keys.values()] if ring else [],
        "adopted": [
            {"by": each.by, "at": each.at, "count": len(each.marks)} for each in ring.records if each.kind == "adopted"
        ]
        if ring
        else [],
        "model signing": _attesting(own),
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        print("\n".join(_lines(facts)))


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    rows = facts["keys"]
    if rows:
        names = ("key", "state", "since", "by", "reason", "private key")
        table = Table(names, tuple(tuple(str(row[name]) for name in names) for row in rows))
        yield to_text("keys of the registry, the oldest first", [Section("", (table,))]).rstrip("\n")
    else:
        yield "the registry is new: its first run, or `trainyard keys make`, makes its key"
    for each in facts["adopted"]:
        yield f"adopted by {each['by']} at {each['at']}: {each['count']} manifests and chains, as they were"
    for row in rows:
        yield f"{row['key']}  {row['public']}"
    if attesting := facts["model signing"]:
        yield f"versions are attested for public tools with key {attesting['key']} (P-256), {attesting['private key']}"
        yield f"  {attesting['verify']}, with this as {attestations.PUBLIC_KEY}:"
        yield attesting["public"].rstrip("\n")


def _attesting(own: Signing) -> dict[str, str] | None:
    """The key for public tools, and how these verify with it; None as long as there is none."""
    home = own.folder.root.parent
    if (pem := own_key(home)) is None:
        return None
    return {
        "key": attestations.key_id(pem),
        "private key": str(home / "keys" / ATTESTING),
        "public": pem.decode(),
        "verify": VERIFY,
    }


def _row(own: Signing, key: Key) -> dict[str, object]:
    record = own.ring.records[key.since - 1]
    ended = own.ring.records[key.until - 1] if key.until else None
    state = "counts" if ended is None else f"{'revoked' if key.revoked else 'replaced'} at {ended.at}"
    path = own.folder.path(key.public.id)
    return {
        "key": key.public.id,
        "state": state,
        "since": record.at,
        "by": record.by,
        "reason": ended.reason if ended else record.reason,
        "private key": str(path) if path.exists() else "",
        "public": key.public.text,
    }


def _id(given: str) -> str:
    """An id, or that of the public key in a file."""
    return given if ID.fullmatch(given) else _public(given).id


def _public(given: str) -> PublicKey:
    if re.match(r"ssh-ed25519 ", given):
        return read_public_key(given, "KEY")
    try:
        return read_public_key(Path(given).read_text(encoding="utf-8"), given)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{given}: cannot read it: {error}", hint="name the file of a public key (.pub)") from None
