"""Heads: what a model's part of the registry held at a moment, signed: `production/<model>/heads/000001.json`, ….

A record that is removed leaves no gap when it was the last one. So with each release, and before each mail, a head is
written; its line goes into mails and to Jenkins. Whoever has seen it can show that the registry does not hold any more what
it held then.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterable, Iterator, Mapping

from registry import attestations, candidates, codec
from registry.chain import Chain, LostRace
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.head_changes import GONE, changed_versions
from registry.keyring import FOLDER as KEYS
from registry.keyring import VERIFY
from registry.marks import mark_after, mark_of
from registry.records import Head, HeadFold, Mark, SeenHead, VersionMark, utc_now
from registry.signatures import SHOWN
from registry.stores import Signatures, Store, signatures_of

WORD = SeenHead.WORD
FOLD_AFTER = 16
"""So many heads are read again at most, for each that is written."""
LINE = re.compile(
    WORD + r":1:(?P<model>[A-Za-z0-9_-]{1,64}):(?P<number>[0-9]{1,9}):(?P<release>[0-9]{1,9}):(?P<digest>[0-9a-f]{64})"
    r":(?P<key>[0-9a-f]{16}):(?P<signature>[A-Za-z0-9+/]{86}==)"
)


def head_chain(store: Store, model: str) -> Chain[Head]:
    """The records of `production/<model>/heads`."""
    return Chain(store, Head, f"production/{model}/heads")


def write_head(store: Store, model: str, about: Iterable[int] | None = None) -> SeenHead | None:
    """Append a head, unless the last one says all that is there; gives the last one, None in an unsigned registry.

    `about`: the versions that it is written for: in a bucket, others that were there before are then not all looked at. See
    `registry.head_changes`.
    """
    signatures = signatures_of(store)
    if signatures is None:
        return None
    while True:
        chain = head_chain(store, model)
        number, known = _known(store, model, signatures)
        last = _read(chain, number) if number else None
        _must_hold(store, model, signatures, last)  # a new head must not make good what was removed since
        draft = _draft(store, model, known, last[0] if last else None, about)
        if last and not draft.versions and _marks(draft) == _marks(last[0]):
            found = seen(*last)
        else:
            try:
                chain.append(draft, number)
            except LostRace:
                continue  # that one may say all that is there
            found = seen(*_read(chain, number + 1))
        signatures.saw(found)
        return found


def _known(store: Store, model: str, signatures: Signatures) -> tuple[int, dict[str, VersionMark]]:
    """The last head's number, and what all heads say of each version.

    Heads that this machine has read before are not read again: the last of them is as it was, and names those before it.
    """
    chain, kept = head_chain(store, model), signatures.folded(model)
    if kept is None or not _is_head(store, chain.name(kept.number), kept.digest):
        kept = HeadFold(0, chain.first, {})
    later = chain.records_after(kept.number, kept.digest)
    number, versions = kept.number + len(later), kept.versions | dict(versions_in(later))
    if len(later) >= FOLD_AFTER:
        signatures.fold(model, HeadFold(number, sha256_bytes(store.get(chain.name(number))), versions))
    return number, versions


def _is_head(store: Store, name: str, digest: str) -> bool:
    try:
        return sha256_bytes(store.get(name)) == digest
    except FileNotFoundError:
        return False


def must_be_whole(store: Store, model: str) -> None:
    """Raise Corrupt when the registry does not hold any more what its newest head, or one that this machine has seen, says.

    Only the ends of chains are compared: `registry verify` compares everything.
    """
    signatures = signatures_of(store)
    if signatures is None:
        return
    chain, known = head_chain(store, model), signatures.seen(model)
    number = chain.last(known.number if known else 0)
    _must_hold(store, model, signatures, _read(chain, number) if number else None)


def _must_hold(store: Store, model: str, signatures: Signatures, last: tuple[Head, bytes] | None) -> None:
    """Raise Corrupt unless all is there that the `last` head says, and the one that this machine has seen."""
    found, known = seen(*last) if last else None, signatures.seen(model)
    if known and known != found:
        check_seen(store, known)
    if last and found:
        for folder, mark in _chains(model, last[0]):
            if mark.count:
                for problem in _compared(store, f"{folder}/{mark.count:06d}.json", mark.digest):
                    raise Corrupt(problem, hint=VERIFY)
        signatures.saw(found)


def _read(chain: Chain[Head], number: int) -> tuple[Head, bytes]:
    data = chain.store.get(chain.name(number))
    return chain.decode(number, data), data


def newest(store: Store, model: str) -> SeenHead | None:
    """The last head, its signature verified; None without one. Raises Corrupt."""
    chain, signatures = head_chain(store, model), signatures_of(store)
    known = signatures.seen(model) if signatures else None
    number = chain.last(known.number if known else 0) if signatures else 0
    return seen(*_read(chain, number)) if number else None


def seen(head: Head, data: bytes) -> SeenHead:
    """What a line says of this head."""
    signed = codec.signature_in(data)
    assert signed is not None  # it was decoded, and so verified
    return SeenHead(head.model, head.number, head.releases.count, signed.digest, signed.key[:SHOWN], signed.signature)


def find_lines(text: str, where: str) -> list[SeenHead]:
    """The heads in a text: a line, or a whole mail that has one; raises ConfigError, naming `where`, when there is none.

    All of them: a mail quotes what others have written, who may have put an older one before its own.
    """
    decoded = quopri.decodestring(text.encode()).decode(errors="replace")  # as mails in quoted-printable need it
    texts = [again for each in (text, decoded) for again in (each, re.sub(r"\s+", "", each))]  # a header may be folded
    found = {
        SeenHead(
            each["model"], int(each["number"]), int(each["release"]), each["digest"], each["key"], each["signature"]
        )
        for words in texts
        for each in LINE.finditer(words)
    }
    if found:
        return sorted(found, key=lambda each: (each.model, each.number))
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
    kept = chain.decode(head.number, data)
    found = codec.signature_in(data)
    if found is None or found.digest != head.digest or kept.releases.count != head.release:
        raise Corrupt(f"{name}: is not the head that was seen", hint="the registry was written anew since then")


def _compared(store: Store, name: str, digest: str) -> Iterator[str]:
    try:
        found = sha256_bytes(store.get(name))
    except FileNotFoundError:
        yield f"{name}: {GONE}"
        return
    if found != digest:
        yield f"{name}: is not what it was when a head was written"


def _draft(
    store: Store, model: str, known: Mapping[str, VersionMark], last: Head | None, about: Iterable[int] | None
) -> Head:
    """A head of all that is there, with the versions that `known` does not have as they are."""
    nothing = Mark(0, "")
    before = last or Head(model, 0, nothing, nothing, nothing, at="", previous="")
    released, approved, keys = (mark_after(store, folder, mark) for folder, mark in _chains(model, before))
    changed = changed_versions(store, model, known, about)
    new = {version: _version_mark(store, model, version, known.get(version)) for version in changed}
    return Head(model, 0, released, approved, keys, at=utc_now(), previous="", versions=new)


def _version_mark(store: Store, model: str, version: str, known: VersionMark | None) -> VersionMark:
    """What is there of a version; its manifest is read once only."""
    number, tested = int(version), mark_of(store, f"test/{model}/{version}/acceptances")
    card = known.card if known else candidates.manifest_digest(store, model, number)
    attested = (known.attestation if known else "") or attestations.record_digest(store, model, number)
    return VersionMark(card, tested.count, tested.digest, attested)


def _marks(head: Head) -> tuple[Mark, Mark, Mark]:
    return head.releases, head.approvals, head.keys


def _chains(model: str, head: Head) -> tuple[tuple[str, Mark], ...]:
    production = f"production/{model}"
    return (f"{production}/releases", head.releases), (f"{production}/approvals", head.approvals), (KEYS, head.keys)
