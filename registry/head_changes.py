"""Which versions are not as the heads of their model say: new ones, and those that were tested or attested since.

In a folder, every version that a head knows is looked at. In a bucket that would take thousands of requests for each release, so
who has changed something says which versions it is about, and only these are looked at, with the newest ones, and those
that are new. The head of a mail, which nobody waits for, still looks at all, and `registry verify` reads all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from registry import attestations, candidates
from registry.errors import Corrupt
from registry.keyring import VERIFY
from registry.records import VersionMark
from registry.stores import Store, lists_onwards, missing, present

GONE = "is missing, though a head says that it was there"
NEWEST = 8
"""Versions that are looked at, whatever a head is about; and so many of those that were claimed and not published."""
ALL = 64
"""Of so few versions all are looked at."""


def changed_versions(
    store: Store, model: str, known: Mapping[str, VersionMark], about: Iterable[int] | None = None
) -> list[str]:
    """The versions that are not as `known` says, as text; raises Corrupt when something of one is gone. Only names are looked for.

    `about`: the versions that something was done with; None: all are looked at.
    """
    if about is None or len(known) <= ALL or lists_onwards(store) is None:
        looked, numbers = set(known), candidates.numbers(store, model)
    else:
        there = sorted(map(int, known))
        looked = {str(each) for each in {*about, *there[-NEWEST:]}} & known.keys()
        unpublished = sorted({*range(1, there[-1]), *about} - set(there))
        numbers = [*unpublished[-NEWEST:], *candidates.numbers_after(store, model, there[-1])]
    must: list[str] = []
    new = {f"test/{model}/{number}/card.json": str(number) for number in numbers if str(number) not in known}
    for version in looked:
        folder, mark = f"test/{model}/{version}", known[version]
        must.append(f"{folder}/card.json")
        if mark.acceptances:
            must.append(f"{folder}/acceptances/{mark.acceptances:06d}.json")
        new[f"{folder}/acceptances/{mark.acceptances + 1:06d}.json"] = version
        if not mark.attestation:
            new[f"{attestations.folder(model, int(version))}/{attestations.RECORD}"] = version
    found = present(store, [*must, *new])
    if lost := missing(store, [name for name in must if name not in found]):
        raise Corrupt(f"{lost[0]}: {GONE}", hint=VERIFY)
    return sorted({new[name] for name in found if name in new})
