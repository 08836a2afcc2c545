"""`trainyard approve MODEL VERSION --key FILE`: sign an approval with your own key. It promotes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipelines.approvals import signed
from pipelines.approvals.people import approvers
from pipelines.commands.promote import check_model, who
from pipelines.config.schema import Config
from pipelines.text import metrics
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import candidates
from registry.errors import ConfigError
from registry.signatures import load_key


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", metavar="MODEL", help="as in trainyard.toml")
    parser.add_argument("version", metavar="VERSION", type=int, help="the candidate's number")
    parser.add_argument(
        "--key",
        metavar="FILE",
        required=True,
        type=Path,
        help="your private Ed25519 key, e.g. ~/.ssh/id_ed25519 (OpenSSH's format or PEM, without a passphrase)",
    )
    parser.add_argument(
        "--by",
        metavar="NAME",
        default="",
        help="who approves, for the record; default: as [approval] approvers calls the owner of the key, else you",
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the signed text, alone on stdout, and on stderr what it approves."""
    check_model(args.model, config)
    path = args.key.expanduser()
    try:
        signer = load_key(path)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such key", hint="`ssh-keygen -t ed25519` makes one, or name another with --key"
        ) from None
    manifest, digest = candidates.read_manifest(open_registry(config), args.model, args.version)
    listed = [each for each in approvers(config.approval.approvers) if each.key == signer.public.text]
    by = clean(args.by, 100) or next((each.name for each in listed if each.name), "") or who()
    text = signed.sign(signer, args.model, args.version, digest, by, config.approval.valid_days)
    if args.json:
        facts = {"approval": text, "model": args.model, "version": args.version, "card": digest, "by": by}
        print(json.dumps(facts | {"key": signer.public.id}, ensure_ascii=False))
    else:
        print(text)
    policy = manifest.verdict.policy
    measured = metrics.short(manifest.evaluation, policy.measure)
    print(f"{by} approves {args.model} version {args.version} ({measured}), manifest {digest:.12}…", file=sys.stderr)
    if manifest.evaluation.live_note:
        print(f"  note           {clean(manifest.evaluation.live_note)}", file=sys.stderr)
    print(f"  promote with   trainyard promote {args.model} {args.version} --approval TEXT", file=sys.stderr)
    if not listed:
        print(
            f'  note           [approval] approvers of {config.file} does not list this key: "{signer.public.text}"',
            file=sys.stderr,
        )
    return 0
