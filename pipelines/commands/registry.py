"""`trainyard registry list|show|history|verify|adopt|copy|archive|restore`: what the registry knows, and whether it is as it was written."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.approvals.policy import who as approvers_of
from pipelines.commands import registry_archive, registry_copy
from pipelines.commands.of_models import for_each, of_one_registry
from pipelines.commands.promote import add_who, who
from pipelines.config.schema import Config
from pipelines.text import metrics, reference
from pipelines.text.clean import clean
from pipelines.text.markup import Block, Bullets, Paragraph, Section, Table, to_text
from pipelines.trust import keyring, open_registry
from registry import attestations, candidates, codec, decisions, heads, releases
from registry.archived import archived
from registry.checks.signatures import problems_since
from registry.errors import ConfigError, Corrupt, Rejected
from registry.records import Acceptance, Candidate, Decided, Release, TensorSpec
from registry.stores import Store, far_away
from registry.text import shortened
from registry.verify import inspect

OF_REGISTRY = True  # MODEL may be one that only the registry has
MOST_INPUTS = 12  # that `show` lists
AT_ONCE = 8  # versions that are read, where each one has to be asked for
NEWEST = 20  # versions that `list` shows without --all
KINDS = {
    "promotion": "promotion",
    "rollback": "rollback",
    "revert": "automatic revert",
    "withdrawal": "withdrawal",
    "demotion": "demotion",
}
TESTED = {"no": "no", "accepted": "accepted", "refused": "rejected"}
"""Values of the JSON → what the tables say."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("list", "show", "history", "verify", "adopt", "copy", "archive", "restore"),
        help="the versions; one version; the releases; whether every byte is as it was written; vouch for what was "
        "written before records were signed; all of it to another folder or bucket; the bytes of a version out of the "
        "registry, and back",
    )
    parser.add_argument(
        "model",
        nargs="?",
        help="default: the model of trainyard.toml; for verify: all models; for copy: the URL of the registry to copy",
    )
    parser.add_argument(
        "version",
        nargs="?",
        help="for show, archive, restore; for show the newest by default; for copy: the URL where to",
    )
    parser.add_argument(
        "--head",
        metavar="FILE",
        default="",
        help="for verify: a mail, or the head in it, that was seen; - is standard input",
    )
    parser.add_argument("--yes", action="store_true", help="for adopt: do not ask")
    parser.add_argument("--reason", default="", help="for adopt, archive, restore: why, for the record")
    registry_copy.add_arguments(parser)
    registry_archive.add_arguments(parser)
    add_who(parser)
    parser.add_argument("--all", action="store_true", help=f"for list: all versions, not only the newest {NEWEST}")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was asked for; `verify` ends with 2 when something was altered."""
    if args.action == "adopt":
        return _adopt(args, config)
    if args.action == "copy":
        return registry_copy.main(args, config)
    if args.action in {"archive", "restore"}:
        return registry_archive.main(args, config, _number(args.version))
    store = open_registry(config, only_look=True)
    known = candidates.models(store)
    if args.model is not None and args.model not in known:
        hint = f"it has: {', '.join(known)}" if known else "nothing was registered yet: run a pipeline first"
        raise ConfigError(f"the registry has no model {args.model!r}", hint=hint)
    if args.action == "verify":
        return _verify(store, args, config)
    model = args.model or config.model
    if args.action == "list":
        _list(store, model, None if args.all else NEWEST, as_json=args.json)
    elif args.action == "show":
        version = _number(args.version) or candidates.newest(store, model)
        if version is None:
            raise ConfigError(f"{model} has no version yet", hint="run a pipeline first: `trainyard run code`")
        _show(store, model, version, as_json=args.json)
    else:
        _history(store, model, as_json=args.json)
    return 0


def model_in(args: argparse.Namespace) -> str:
    """The model that is named; of `copy` it is the URL of a registry."""
    return "" if args.action == "copy" else args.model or ""


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The versions of one model after the other; what is about the registry, or names a model there, of the one that they share."""
    if args.action in {"list", "show", "history"} and args.model is None:
        return for_each(main, args, configs)
    return main(args, of_one_registry(configs))


def _number(text: str | None) -> int | None:
    if text is None or (text.isascii() and text.isdecimal() and int(text)):
        return int(text) if text else None
    raise ConfigError(f"{text!r} is not the number of a version", hint="`trainyard registry list` shows them")


def _list(store: Store, model: str, limit: int | None, *, as_json: bool) -> None:
    release = releases.live(store, model)
    chosen = candidates.newest_versions(store, model, limit) if limit else candidates.versions(store, model)[::-1]
    live = release.version if release else None
    with ThreadPoolExecutor(AT_ONCE if far_away(store) else 1) as pool:
        rows = list(pool.map(lambda version: _summary(store, model, version, live), chosen))
    away = archived(store, model)
    rows = [row | {"archived": away[row["version"]].url if row["version"] in away else None} for row in rows]
    if as_json:
        _print_json(rows)
        return
    head = ("version", "registered", "how", "measured", "tested", "live")
    lines = (
        (str(row["version"]), row["registered"], row["how"], row["measured"], TESTED[row["tried"]], "*" * row["live"])
        for row in rows
    )
    table = Table(head, tuple(lines))
    blocks: list[Block] = [table] if rows else [Paragraph("no version yet")]
    if gone := [str(row["version"]) for row in rows if row["archived"]]:
        blocks.append(Paragraph(f"archived: version {', '.join(gone)}; `trainyard registry restore` brings one back"))
    if len(rows) == limit:
        blocks.append(Paragraph(f"the newest {limit} versions; --all shows all"))
    print(to_text(model, _one(*blocks)), end="")


def _summary(store: Store, model: str, version: int, live: int | None) -> dict[str, Any]:
    manifest = candidates.manifest(store, model, version)
    tests = candidates.acceptances(store, model, version)
    return {
        "version": version,
        "registered": manifest.created_at,
        "how": manifest.how,
        "measured": metrics.short(manifest.evaluation, manifest.verdict.policy.measure),
        "tried": "no" if not tests else "accepted" if tests[-1].accepted else "refused",
        "live": version == live,
    }


def _show(store: Store, model: str, version: int, *, as_json: bool) -> None:
    manifest, digest = candidates.read_manifest(store, model, version)
    tests = candidates.acceptances(store, model, version)
    signer, decided = attestations.signer(store, model, version), decisions.about(store, model, digest)
    if as_json:
        acceptances, said = ([json.loads(codec.to_json(each)) for each in kind] for kind in (tests, decided))
        shown = {
            "card": json.loads(codec.to_json(manifest)),
            "sha256": digest,
            "acceptances": acceptances,
            "decisions": said,
        }
        _print_json(shown | {"signer": {"key": signer[0], "public": str(signer[1])} if signer else None})
    else:
        attested = ("attested", f"key {signer[0]} (P-256), {signer[1]}" if signer else "")
        away = archived(store, model).get(version)
        where = ("archived", f"its files are in {away.url} since {away.at}" if away else "")
        sections = [*_sections(manifest, digest, tests, (attested, where))]
        if decided:
            sections.insert(1, Section("Decided", (Bullets(tuple(map(_decision, decided))),)))
        print(to_text(f"{model} version {version}", sections), end="")


def _sections(
    manifest: Candidate, digest: str, tests: Sequence[Acceptance], more: tuple[tuple[str, str], ...]
) -> Iterator[Section]:
    head, *rows = (each for each in (*_origin(manifest, digest), *more) if each[1])
    yield Section("", (Table(head, tuple(rows)),))
    policy = manifest.verdict.policy
    measured = metrics.blocks(manifest.evaluation, policy.measure, f"version {manifest.version}", "release")
    yield Section("Measured", tuple(measured))
    accepted = (f"accepted: {policy.measure}, threshold {policy.threshold}", *metrics.rules(policy))
    reasons = manifest.verdict.reasons or accepted
    yield Section("Gate", (Bullets(reasons),))
    if tests:
        lines = tuple(f"{each.at} with tests {each.tests[:7]}: {_outcome(each)}" for each in tests)
        yield Section("Acceptance tests", (Bullets(lines),))
    signature = manifest.signature
    tensors = [("in", *_tensor(each)) for each in signature.inputs[:MOST_INPUTS]]
    if others := len(signature.inputs) - len(tensors):
        tensors.append(("", f"... and {others} more: --json has all", "", ""))
    tensors += [("out", *_tensor(each)) for each in signature.outputs]
    names = ", ".join(map(_short, signature.classes))
    classes = [Paragraph(f"classes: {names}")] if names else []
    if signature.targets:
        rest = f", … and {len(signature.targets) - MOST_INPUTS} more" if len(signature.targets) > MOST_INPUTS else ""
        classes.append(Paragraph(f"targets: {', '.join(map(_short, signature.targets[:MOST_INPUTS]))}{rest}"))
    yield Section("Signature", (Table(("", "name", "shape", "dtype"), tuple(tensors)), *classes))
    files = tuple((sha256[:12], name) for name, sha256 in sorted(manifest.files.items()))
    yield Section("Files", (Table(("SHA-256", "file"), files),))
    if manifest.packages:
        yield Section("Packages", (Table(("package", "version"), tuple(sorted(manifest.packages.items()))),))


def _origin(manifest: Candidate, digest: str) -> list[tuple[str, str]]:
    """Where a version comes from, as rows; some are empty."""
    return [
        ("made", f"{manifest.how}, {manifest.created_at}, by run {manifest.run}"),
        ("from", f"version {manifest.parent}" if manifest.parent else "scratch"),
        ("why", manifest.note),
        *((f"{name} commit", getattr(manifest.sources, name)) for name in ("code", "dataset", "tests")),
        ("seed", str(manifest.seed)),
        ("container image", manifest.image or ""),
        ("served", f"{manifest.served.path}, by {manifest.served.engine}: {manifest.served.reason}"),
        ("reference", reference.in_words(manifest)),
        ("manifest", f"SHA-256 {digest}"),
    ]


def _decision(made: Decided) -> str:
    why = f": {made.reason}" if made.reason else ""
    return f"{made.at} {decisions.WORDS[made.kind]} by {made.by}, signed in by {made.how}{why}"


def _outcome(test: Acceptance) -> str:
    return "accepted" if test.accepted else "rejected: " + "; ".join(test.reasons)


def _short(name: str) -> str:
    return shortened(clean(name), metrics.MAX_NAME)


def _tensor(spec: TensorSpec) -> tuple[str, str, str]:
    return _short(spec.name), " x ".join("any" if each is None else str(each) for each in spec.shape), spec.dtype


def _history(store: Store, model: str, *, as_json: bool) -> None:
    known = releases.read_history(store, model)
    given = {each.number: approvers_of(each) for each in known.approvals}
    rows = [
        json.loads(codec.to_json(each)) | {"approved_by": _approvers(each, given)}
        for each in reversed(list(known.releases))
    ]
    if as_json:
        _print_json(rows)
        return
    lines = tuple(
        (
            str(row["number"]),
            KINDS[row["kind"]],
            str(row["version"] or "none"),
            row["at"],
            row["by"],
            row["approved_by"] or "",
            _reason(row),
        )
        for row in rows
    )
    table = Table(("release", "kind", "version", "at", "by", "approved by", "reason"), lines)
    print(to_text(f"{model}, the newest release first", _one(table if rows else Paragraph("no release yet"))), end="")


def _approvers(release: Release, given: Mapping[int, str]) -> str | None:
    """The people whose approvals made a release; None for one that needs none."""
    return ", ".join(given.get(number, "?") for number in release.approvals) or None


def _reason(row: Mapping[str, Any]) -> str:
    if not row["although"]:
        return str(row["reason"])
    return f"{row['reason']}, although {'; '.join(row['failed'])}: {row['although']}"


def _verify(store: Store, args: argparse.Namespace, config: Config) -> int:
    model = args.model
    report = inspect(store, model)
    if args.head:
        report = dataclasses.replace(report, problems=(*_since(store, args.head), *report.problems))
    if args.json:
        _print_json(dataclasses.asdict(report))
        return Corrupt.exit_code if report.problems else 0
    for each in report.problems:
        print(each)
    for each in report.notes:
        print(f"note: {each}")
    if report.problems:
        print(f"{len(report.problems)} problems: restore these files from a backup; nothing else was harmed")
        return Corrupt.exit_code
    if chosen := [model] if model else candidates.models(store):
        count = sum(len(candidates.versions(store, each)) for each in chosen)
        print(f"every file is as it was written, {count} versions of {', '.join(chosen)}")
        print(f"  {_signed_by(store, config)}")
    else:
        print("the registry is empty: is it the right one, and is its disk there?")
    return 0


def _signed_by(store: Store, config: Config) -> str:
    if ring := keyring(store):
        return f"every record is signed, or was adopted; the keys that count: {', '.join(each.short for each in ring.valid)}"
    adopt = (
        "`trainyard registry adopt` has them signed" if config.registry.require_signatures else "as the config allows"
    )
    return f"no record is signed ({adopt}): who can write the registry can have replaced any of them"


def _since(store: Store, file: str) -> tuple[str, ...]:
    """What the registry does not hold any more since a head was seen; raises ConfigError when that was not one of its heads."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="name a mail, or a file with the head in it") from None
    found, ring = heads.find_lines(text, file), keyring(store)
    if ring is None:
        raise ConfigError("the registry is not signed: it has no heads", hint="is it the right one?")
    seen = [each for each in found if ring.has_signed(heads.head_chain(store, each.model).name(each.number), each)]
    if not seen:
        raise ConfigError(
            f"{file}: no key of this registry has signed this head", hint="it is from another registry, or was altered"
        )
    return tuple(problem for each in seen for problem in problems_since(store, each))


def _adopt(args: argparse.Namespace, config: Config) -> int:
    from pipelines import key_changes

    marks = key_changes.vouched_for(config)
    print(f"{config.registry.url}: this vouches for all that is there, as it is now:")
    for model in sorted({name.split("/")[1] for name in marks}):
        cards = sum(name.startswith(f"test/{model}/") and name.endswith("/card.json") for name in marks)
        print(f"  {model}: {cards} versions with their manifests and acceptance tests")
        for chain in ("approvals", "releases"):
            if mark := marks.get(f"production/{model}/{chain}"):
                print(f"    {mark.count} {chain}, the last with SHA-256 {mark.digest}")
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError("nobody is here to confirm it", hint="check what is listed, then add --yes")
        if input("Type yes to sign this: ").strip() != "yes":
            raise Rejected("nothing was signed")
    made = key_changes.adopt(config, marks, args.by or who(), args.reason)
    print(f"adopted: key record {made.number}; `trainyard keys list` shows the keys")
    return 0


def _one(*blocks: Block) -> list[Section]:
    return [Section("", blocks)]


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))
