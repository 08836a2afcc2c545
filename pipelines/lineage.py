"""Where a version comes from, and where it went: what `trainyard lineage` prints and the report draws."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pipelines.approvals.policy import who as approvers_of
from pipelines.config.schema import Config
from pipelines.repositories.git import redact
from pipelines.text.markup import Bullets, Paragraph, Section, Table
from pipelines.text.sizes import bytes_text
from registry import candidates, codec, lineage, releases
from registry.dataclass import dataclass
from registry.records import Acceptance, Approval, Candidate, Release
from registry.stores import Store

NOT_KEPT = "not known: made before versions kept this"
MOST = 20
"""Children that are listed."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """All that the registry knows of one version's origin and use."""

    card: Candidate
    digest: str
    """SHA-256 of the manifest."""
    ancestors: tuple[int, ...]
    """The versions whose weights it began with, the nearest first."""
    children: tuple[int, ...]
    """The versions that began with its weights."""
    acceptances: tuple[Acceptance, ...]
    approvals: tuple[Approval, ...]
    releases: tuple[Release, ...]
    repositories: Mapping[str, str]
    """Where they are now, without what is secret in a URL; empty for a model that the config is not about."""


def trace(store: Store, config: Config, model: str, version: int) -> Lineage:
    """The lineage of a version; raises ConfigError when there is no such version, Corrupt when a record was altered."""
    card, digest = candidates.read_manifest(store, model, version)
    parents = {number: lineage.parent_of(each) for number, each in lineage.cards(store, model).items()}
    history = releases.read_history(store, model)
    urls = {name: redact(config.repositories.address_of(name)) for name in ("code", "dataset", "tests")}
    return Lineage(
        card,
        digest,
        tuple(lineage.ancestors(parents, version)),
        tuple(number for number, parent in parents.items() if parent == version),
        tuple(candidates.acceptances(store, model, version)),
        tuple(each for each in history.approvals if each.card == digest),
        tuple(each for each in history.releases if each.card == digest),
        urls if model == config.model else {},
    )


def as_json(known: Lineage) -> dict[str, Any]:
    """The whole of it as plain values."""
    card = known.card
    return {
        "model": card.model, "version": card.version, "manifest": known.digest, "created_at": card.created_at,
        "run": card.run, "how": card.how, "note": card.note, "authors": card.authors,
        "code": {"commit": card.sources.code, "repository": known.repositories.get("code")},
        "dataset": {"commit": card.sources.dataset, "repository": known.repositories.get("dataset")}
        | {"tree": asdict(card.dataset) if card.dataset else None},
        "tests": {"commit": card.sources.tests, "repository": known.repositories.get("tests")},
        "labels": asdict(card.labels) if card.labels else None,
        "seed": card.seed, "settings": asdict(card.training) if card.training else None,
        "gate": asdict(card.verdict.policy),
        "image": card.image, "packages": card.packages, "machine": card.machine or None,
        "unfenced": card.unfenced,
        "began_with": card.base, "ancestors": known.ancestors, "children": known.children,
        "acceptances": [_plain(each) for each in known.acceptances],
        "approvals": [_plain(each) for each in known.approvals],
        "releases": [_plain(each) for each in known.releases],
        "files": card.files,
    }  # fmt: skip


def sections(known: Lineage) -> Iterator[Section]:
    """The same for a person."""
    card = known.card
    yield Section("", (Table(("version", str(card.version)), tuple(_origin(known))),))
    yield Section("Trained with", (Table(("setting", "value"), tuple(_settings(card))),))
    yield Section("Where it was trained", (Table(("what", "value"), tuple(_environment(card))),))
    became = [f"{each.at} acceptance test {each.number}: {_tested(each)}" for each in known.acceptances]
    became += [f"{each.at} approval {each.number} by {approvers_of(each)}" for each in known.approvals]
    became += [f"{each.at} release {each.number}: {each.kind}, by {each.by}" for each in known.releases]
    became += [f"version {each} began with its weights" for each in known.children[:MOST]]
    if more := len(known.children) - MOST:
        became += [f"and {more} more: --json has all"] * (more > 0)
    yield Section("What became of it", (Bullets(tuple(became)) if became else Paragraph("nothing yet"),))


def _origin(known: Lineage) -> Iterator[tuple[str, str]]:
    card, tree = known.card, known.card.dataset
    yield "made", f"{card.how}, {card.created_at}, by run {card.run}"
    yield "why", card.note
    for name in ("code", "dataset", "tests"):
        at = known.repositories.get(name)
        yield f"{name} commit", getattr(card.sources, name) + (f" of {at}" if at else "")
    if tree:
        yield "dataset files", f"{tree.files:,} files, {bytes_text(tree.bytes)}, SHA-256 {tree.digest}"
        keys = f"{tree.keys:,} listed" if tree.keys is not None else "not listed: more than [lineage] row_keys"
        yield "row keys", keys
    else:
        yield "dataset files", NOT_KEPT
    if card.labels:
        people = ", ".join(f"{name} {count:,}" for name, count in list(card.labels.people.items())[:MOST])
        yield "labels in it", f"{card.labels.samples:,} answers of an API, labelled by {people}"
    yield "began with", ", which came from ".join(f"version {each}" for each in known.ancestors) or "no other version"
    if card.base is not None and lineage.parent_of(card) is None:
        yield (
            "retraining of",
            f"version {card.base}; a training from scratch came out better, or was all that could be done",
        )
    yield "manifest", f"SHA-256 {known.digest}"


def _settings(card: Candidate) -> Iterator[tuple[str, str]]:
    yield "seed", str(card.seed)
    if card.training is None:
        yield "all others", NOT_KEPT
        return
    for name, value in asdict(card.training).items():
        if name not in {"seed", "model", "parity_command"} and (value or isinstance(value, bool)):
            yield name, " ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _environment(card: Candidate) -> Iterator[tuple[str, str]]:
    yield "container image", card.image or "none: a process"
    yield from sorted(card.packages.items())
    yield from sorted(card.machine.items()) or [("machine", NOT_KEPT)]


def _tested(each: Acceptance) -> str:
    return "accepted" if each.accepted else "rejected"


def _plain(record: object) -> Any:
    return json.loads(codec.to_json(record))
