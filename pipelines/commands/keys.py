"""`trainyard keys make|list|trust|add|rotate|revoke`: which keys sign the registry's records."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from pipelines import key_changes
from pipelines.attest import KEY as ATTESTING
from pipelines.attest import own_key
from pipelines.commands.promote import add_who, who
from pipelines.config.schema import Config
from pipelines.text.markup import Section, Table, to_text
from pipelines.trust import Signing
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


def _list(own: Signing, *, as_json: bool) -> None:
    if not own.has_begun():
        print(
            json.dumps([]) if as_json else "the registry is new: its first run, or `trainyard keys make`, makes its key"
        )
        return
    rows = [_row(own, each) for each in own.ring.keys.values()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    names = ("key", "state", "since", "by", "reason", "private key")
    table = Table(names, tuple(tuple(str(row[name]) for name in names) for row in rows))
    adopted = [each for each in own.ring.records if each.kind == "adopted"]
    print(to_text("keys of the registry, the oldest first", [Section("", (table,))]), end="")
    for each in adopted:
        print(f"adopted by {each.by} at {each.at}: {len(each.marks)} manifests and chains, as they were")
    for row in rows:
        print(f"{row['key']}  {row['public']}")
    if attesting := own_key(own.folder.root.parent):
        print(f"versions are attested for public tools with key {attesting} (P-256), {own.folder.root / ATTESTING}")
        print("  its public half: signer.pem in test/<model>/attestations/<version>/; `registry show` names the file")


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
