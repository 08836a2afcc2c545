"""Heads: what a model's part of the registry held at a moment, signed: `production/<model>/heads/000001.json`, ….

A record that is removed leaves no gap when it was the last one. So with each release, and before each mail, a head is
written; its line goes into mails and to Jenkins. Whoever has seen it can show that the registry does not hold any more what
it held then.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from registry import attestations, candidates, codec
from registry.candidates import version_folder
from registry.chain import NAME, Chain, LostRace
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.keyring import FOLDER as KEYS
from registry.keyring import VERIFY
from registry.marks import mark_of
from registry.records import Head, Mark, SeenHead, VersionMark, utc_now
from registry.signatures import SHOWN
from registry.stores import Store, signatures_of

WORD = SeenHead.WORD
GONE = "is missing, though a head says that it was there"
LINE = re.compile(
    WORD + r":1:(?P<model>[A-Za-z0-9_-]{1,64}):(?P<number>[0-9]{1,9}):(?P<release>[0-9]{1,9}):(?P<digest>[0-9a-f]{64})"
    r":(?P<key>[0-9a-f]{16}):(?P<signature>[A-Za-z0-9+/]{86}==)"
)


def head_chain(store: Store, model: str) -> Chain[Head]:
    """The records of `production/<model>/heads`."""
    return Chain(store, Head, f"production/{model}/heads")


def write_head(store: Store, model: str) -> SeenHead | None:
    """Append a head, unless the last one says all that is there; gives the last one, None in an unsigned registry."""
    signatures = signatures_of(store)
    if signatures is None:
        return None
    must_be_whole(store, model)  # a new head must not make good what was removed since
    while True:
        chain = head_chain(store, model)
        known = chain.records()
        draft = _draft(store, model, len(known), dict(versions_in(known)))
        last = known[-1] if known else None
        if last and not draft.versions and _marks(draft) == _marks(last):
            found = seen(last, known.bytes[-1])
        else:
            try:
                number = chain.append(draft, len(known)).number
            except LostRace:
                continue  # that one may say all that is there
            found = seen(*_read(chain, number))
        signatures.saw(found)
        return found


def must_be_whole(store: Store, model: str) -> None:
    """Raise Corrupt when the registry does not hold any more what its newest head, or one that this machine has seen, says.

    Only the ends of chains are compared: `registry verify` compares everything.
    """
    signatures = signatures_of(store)
    if signatures is None:
        return
    if known := signatures.seen(model):
        check_seen(store, known)
    chain = head_chain(store, model)
    if number := chain.last():
        head, data = _read(chain, number)
        for folder, mark in _chains(model, head):
            if mark.count:
                for problem in _compared(store, f"{folder}/{mark.count:06d}.json", mark.digest):
                    raise Corrupt(problem, hint=VERIFY)
        signatures.saw(seen(head, data))


def _read(chain: Chain[Head], number: int) -> tuple[Head, bytes]:
    data = chain.store.get(chain.name(number))
    return chain.decode(number, data), data


def newest(store: Store, model: str) -> SeenHead | None:
    """The last head, its signature verified; None without one. Raises Corrupt."""
    chain = head_chain(store, model)
    number = chain.last() if signatures_of(store) else 0
    return seen(*_read(chain, number)) if number else None


def seen(head: Head, data: bytes) -> SeenHead:
    """What a line says of this head."""
    signed = codec.signature_in(data)
    assert signed is not None  # it was decoded, and so verified
    return SeenHead(head.model, head.number, head.releases.count, signed.digest, signed.key[:SHOWN], signed.signature)


def find_line(text: str, where: str) -> SeenHead:
    """The head in a text: a line, or a whole mail that has it; raises ConfigError, naming `where`, when there is none."""
    decoded = quopri.decodestring(text.encode()).decode(errors="replace")  # as mails in quoted-printable need it
    for each in (text, decoded):
        if found := LINE.search(each) or LINE.search(re.sub(r"\s+", "", each)):  # a header may be folded
            number, release = int(found["number"]), int(found["release"])
            return SeenHead(found["model"], number, release, found["digest"], found["key"], found["signature"])
    raise ConfigError(
        f"{where}: there is no head in it",
        hint=f"a head is one line that begins with {WORD}; mails have it under 'For the record'",
    )


def versions_in(heads: Iterable[Head]) -> Iterator[tuple[str, VersionMark]]:
    """Version → what the heads say of it, the oldest first; a dict of it has the newest."""
    for head in heads:
        yield from head.versions.items()


def missing_since(store: Store, model: str, heads: Iterable[Head]) -> Iterator[str]:
    """What these heads vouch for, and the registry does not hold any more or holds otherwise; the oldest first."""
    known: dict[str, VersionMark] = {}
    chains: dict[tuple[str, int], str] = {}
    for head in heads:
        for folder, mark in _chains(model, head):
            if mark.count and mark.digest != chains.setdefault((folder, mark.count), mark.digest):
                yield f"{folder}/{mark.count:06d}.json: heads disagree about it"
        known |= head.versions
    for (folder, count), digest in chains.items():
        yield from _compared(store, f"{folder}/{count:06d}.json", digest)
    for version, tested in known.items():
        where = f"test/{model}/{version}"
        yield from _compared(store, f"{where}/card.json", tested.card)
        if tested.acceptances:
            yield from _compared(store, f"{where}/acceptances/{tested.acceptances:06d}.json", tested.last)
        if tested.attestation:
            name = f"{attestations.folder(model, int(version))}/{attestations.RECORD}"
            yield from _compared(store, name, tested.attestation)


def check_seen(store: Store, head: SeenHead) -> None:
    """Raise Corrupt unless the registry still holds this head, which somebody has seen."""
    chain = head_chain(store, head.model)
    name = chain.name(head.number)
    since = "the registry was truncated, or restored from a backup that is older than this head"
    try:
        data = store.get(name)
    except FileNotFoundError:
        raise Corrupt(
            f"{name}: is missing, though it was seen: release {head.release} was the newest", hint=since
        ) from None
    chain.decode(head.number, data)
    found = codec.signature_in(data)
    if found is None or found.digest != head.digest:
        raise Corrupt(f"{name}: is not the head that was seen", hint="the registry was written anew since then")


def _compared(store: Store, name: str, digest: str) -> Iterator[str]:
    try:
        found = sha256_bytes(store.get(name))
    except FileNotFoundError:
        yield f"{name}: {GONE}"
        return
    if found != digest:
        yield f"{name}: is not what it was when a head was written"


def _draft(store: Store, model: str, number: int, known: Mapping[str, VersionMark]) -> Head:
    """A head of all that is there, with the versions that `known` does not have as they are."""
    production = f"production/{model}"
    released, approved, keys = (
        mark_of(store, each) for each in (f"{production}/releases", f"{production}/approvals", KEYS)
    )
    there = {str(version) for version in candidates.versions(store, model)}
    if gone := known.keys() - there:
        raise Corrupt(f"{version_folder('test', model, int(min(gone)))}/card.json: {GONE}", hint=VERIFY)
    found = {version: _version_mark(store, model, version, known.get(version)) for version in there}
    new = {version: mark for version, mark in sorted(found.items()) if mark != known.get(version)}
    return Head(model, number, released, approved, keys, at=utc_now(), previous="", versions=new)


def _version_mark(store: Store, model: str, version: str, known: VersionMark | None) -> VersionMark:
    """What is there of a version; nothing that is known already is read again."""
    folder, number = f"test/{model}/{version}", int(version)
    attested = known.attestation if known else ""
    attested = attested or attestations.record_digest(store, model, number)
    if known is None:
        tested = mark_of(store, f"{folder}/acceptances")
        return VersionMark(candidates.manifest_digest(store, model, number), tested.count, tested.digest, attested)
    count = sum(NAME.fullmatch(each) is not None for each in store.names(f"{folder}/acceptances"))
    if count < known.acceptances:
        raise Corrupt(f"{folder}/acceptances/{known.acceptances:06d}.json: {GONE}", hint=VERIFY)
    if count == known.acceptances:
        return replace(known, attestation=attested)
    return VersionMark(known.card, count, mark_of(store, f"{folder}/acceptances").digest, attested)


def _marks(head: Head) -> tuple[Mark, Mark, Mark]:
    return head.releases, head.approvals, head.keys


def _chains(model: str, head: Head) -> tuple[tuple[str, Mark], ...]:
    production = f"production/{model}"
    return (f"{production}/releases", head.releases), (f"{production}/approvals", head.approvals), (KEYS, head.keys)
