"""Candidates: `test/<model>/<version>/`, numbered 1, 2, 3, …, each with its manifest and the records of its acceptance tests.

    test/<model>/runs/<run>/1.json          which number a run wants (2.json: its second try, when it lost the race)
    test/<model>/<version>/claim.json       which run has the number
    test/<model>/<version>/…                the files
    test/<model>/<version>/card.json        the manifest, last: a version exists when its manifest does
    test/<model>/<version>/acceptances/     the acceptance tests, a chain that begins with the manifest

Nothing here holds a lock, and every function can be repeated after a kill: what exists is found, what is missing is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from registry import codec
from registry.archived import must_be_here
from registry.chain import Chain, LostRace, signed_bytes
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes
from registry.records import Acceptance, Candidate, Claim
from registry.stores import Store, create_or_same, far_away, lists_onwards, present, signatures_of, walk
from registry.version_files import altered, store_all

Area = Literal["test", "production"]
T = TypeVar("T")
OWN = {"claim.json", "card.json", "acceptances"}
"""What the registry itself puts into a version's folder in test."""
RESTORE = "`trainyard registry verify` lists every problem; restore the file from a backup, or use another version"
AHEAD = 8
"""So many numbers in a row may be missing: a writer that was killed in a folder may have left a number without a claim."""
BEGUN_OTHERWISE = "the run was registered halfway before, with other files; with --force it gets a new number"


def models(store: Store) -> list[str]:
    """The models that have candidates."""
    return [name[:-1] for name in store.names("test") if name.endswith("/")]


def claim(store: Store, model: str, run: str) -> int:
    """The number of `run`'s version: the same at every call, and no other run's.

    Each try asks for a number that is written down first, so a killed run, or two processes of one run, ask for the
    same number again; who gets it is decided by `claim.json`.
    """
    attempt, taken = 1, 0
    while True:
        wish = _wish(store, model, run, attempt, taken)
        with contextlib.suppress(FileExistsError):
            store.create(f"{version_folder('test', model, wish.version)}/claim.json", codec.with_checksum(wish))
        if claimed_by(store, model, wish.version) == run:
            return wish.version
        attempt, taken = attempt + 1, wish.version


def find_run(store: Store, model: str, run: str) -> int | None:
    """The number that `run` has claimed, published or not."""
    with contextlib.suppress(FileNotFoundError):  # the last try was not written down, or not made
        attempt = 1
        while True:
            wish = _read(store, Claim, _wish_name(model, run, attempt))
            if claimed_by(store, model, wish.version) == run:
                return wish.version
            attempt += 1
    return None


def claimed_by(store: Store, model: str, version: int) -> str:
    """The run that has the number; raises FileNotFoundError or Corrupt."""
    name = f"{version_folder('test', model, version)}/claim.json"
    found = _read(store, Claim, name)
    if (found.model, found.version) != (model, version):
        raise Corrupt(f"{name}: is about {found.model} {found.version}", hint="restore this file from a backup")
    return found.run


def publish(store: Store, candidate: Candidate, source: Path) -> None:
    """Store the files of a claimed version from the folder `source`, each checked against its manifest, then the manifest.

    Repeating it resumes. Raises Corrupt when a file differs from the manifest, or when the version holds something else
    already.
    """
    target = version_folder("test", candidate.model, candidate.version)
    if claimed_by(store, candidate.model, candidate.version) != candidate.run:
        raise Corrupt(f"{target}/claim.json: the number belongs to another run than {candidate.run}")
    for name in candidate.files:
        if name.split("/")[0] in OWN:
            raise ConfigError(f"{source / name}: this name is reserved", hint="give the file another name")
        if not (source / name).is_file():
            raise Corrupt(f"{source / name}: is missing, though the manifest names it", hint="repeat the step before")
    files = {name: (source / name, sha256) for name, sha256 in candidate.files.items()}
    if others := store_all(store, target, files):
        raise Corrupt(f"{target}/{others[0]}: a different file exists", hint=BEGUN_OTHERWISE)
    if extra := {each for each in walk(store, target) if each.split("/")[0] not in OWN} - candidate.files.keys():
        raise Corrupt(f"{target}/{min(extra)}: is not in the manifest", hint=BEGUN_OTHERWISE)
    _store_manifest(store, f"{target}/card.json", candidate)


def _store_manifest(store: Store, name: str, candidate: Candidate) -> None:
    """Store it, or find one that differs in nothing but the time: the run was killed and repeated."""
    data = signed_bytes(store, name, candidate)
    if not create_or_same(store, name, data):
        there, _ = read_manifest(store, candidate.model, candidate.version)
        mine = codec.from_json(Candidate, data, "the new manifest")  # NaN and infinity as they are read back
        if codec.to_json(replace(there, created_at="")) != codec.to_json(replace(mine, created_at="")):
            raise Corrupt(f"{name}: a different manifest exists", hint=BEGUN_OTHERWISE)


def manifest(store: Store, model: str, version: int, area: Area = "test") -> Candidate:
    """The manifest of a version; raises ConfigError when there is no such version, Corrupt when it was altered."""
    return read_manifest(store, model, version, area)[0]


def manifest_digest(store: Store, model: str, version: int, area: Area = "test") -> str:
    """The SHA-256 of the manifest's bytes, which identifies the whole version; raises as `manifest` does."""
    return read_manifest(store, model, version, area)[1]


def read_manifest(store: Store, model: str, version: int, area: Area = "test") -> tuple[Candidate, str]:
    """The manifest of a version and the SHA-256 of its bytes; raises as `manifest` does."""
    name = f"{version_folder(area, model, version)}/card.json"
    try:
        data = store.get(name)
    except FileNotFoundError:
        hint = f"`trainyard registry list {model}` shows the versions"
        what = f"{model} version {version}" if area == "test" else name
        raise ConfigError(f"{what}: there is no such version", hint=hint) from None
    found = codec.from_json(Candidate, data, name, checksum_required=True)
    if (found.model, found.version) != (model, version):
        raise Corrupt(f"{name}: is the manifest of {found.model} {found.version}", hint=RESTORE)
    if signatures := signatures_of(store):
        signatures.check(name, data)
    return found, sha256_bytes(data)


def newest_first(store: Store, model: str) -> Iterator[int]:
    """The versions, highest number first; each is looked up only when it is asked for."""
    found = numbers(store, model)
    if lists_onwards(store):  # a bucket's listing may lag behind
        found += numbers_after(store, model, found[-1] if found else 0)
    for number in reversed(found):
        if "card.json" in store.names(version_folder("test", model, number)):
            yield number


def versions(store: Store, model: str) -> list[int]:
    """All versions, lowest number first."""
    return sorted(newest_first(store, model))


def newest(store: Store, model: str) -> int | None:
    """The version with the highest number."""
    return next(newest_first(store, model), None)


def local_folder(store: Store, area: Area, model: str, version: int, digest: str = "") -> Path:
    """A local folder with the files of a version, for reading only, every file checked against the manifest.

    With `digest`, the manifest must have it. Raises Corrupt naming the file, or ConfigError when there is no such version.
    """
    where = version_folder(area, model, version)
    found, found_digest = read_manifest(store, model, version, area)
    if digest not in {"", found_digest}:
        raise Corrupt(f"{where}/card.json: is not the manifest with the SHA-256 {digest}", hint=RESTORE)
    files = {f"{where}/{name}": sha256 for name, sha256 in found.files.items()}
    if far := far_away(store):
        far.bring(files)
    if wrong := altered(store, files):
        must_be_here(store, model, version)
        raise Corrupt(wrong[0], hint=RESTORE)
    return store.path(f"{where}/card.json").parent


def acceptances(store: Store, model: str, version: int) -> list[Acceptance]:
    """All acceptance tests of a version, the oldest first, the chain checked."""
    return acceptance_chain(store, model, version, manifest_digest(store, model, version)).read_all()


def append_acceptance(store: Store, draft: Acceptance, after: int | None = None) -> Acceptance:
    """Append an acceptance test; number and `previous` of the draft are filled in. Raises Corrupt when it tested another
    manifest.

    With `after`, the number of the last one that the caller knows, raises LostRace when others have appended since.
    """
    digest = manifest_digest(store, draft.model, draft.version)
    chain = acceptance_chain(store, draft.model, draft.version, digest)
    if draft.card != digest:
        raise Corrupt(f"{chain.folder}: the tested manifest is not this version's", hint="repeat the test")
    if after is not None:
        return chain.append(draft, after)
    while True:
        with contextlib.suppress(LostRace):  # the order of acceptance tests does not matter: take the next number
            return chain.append(draft, chain.last())


def acceptance_chain(store: Store, model: str, version: int, digest: str) -> Chain[Acceptance]:
    """The records of one version's acceptance tests; the first one follows the manifest with this `digest`."""
    return Chain(store, Acceptance, f"{version_folder('test', model, version)}/acceptances", first=digest)


def version_folder(area: Area, model: str, version: int) -> str:
    """Where a version lies in the store."""
    return f"{area}/{model}/{version}"


def is_version(name: str) -> bool:
    """Whether `name`, from a listing, is a version's folder."""
    number = name.removesuffix("/")
    return number != name and number.isdecimal() and number.isascii() and not number.startswith("0")


def _wish(store: Store, model: str, run: str, attempt: int, taken: int) -> Claim:
    """The number of this try: chosen once, the first free one at that moment; after `taken`, which the try before it wanted,
    and a listing may not show yet."""
    name = _wish_name(model, run, attempt)
    with contextlib.suppress(FileNotFoundError):
        return _read(store, Claim, name)
    free = max([taken, *numbers(store, model)]) + 1
    with contextlib.suppress(FileExistsError):
        store.create(name, codec.with_checksum(Claim(model, free, run)))
    return _read(store, Claim, name)


def numbers(store: Store, model: str) -> list[int]:
    """The numbers of all version folders, unfinished ones too, in order, by one listing."""
    return sorted(int(name[:-1]) for name in store.names(f"test/{model}") if is_version(name))


def numbers_after(store: Store, model: str, known: int) -> list[int]:
    """The numbers after `known` that were claimed, without a listing: who claims one takes the next."""
    found: list[int] = []
    while True:
        top = found[-1] if found else known
        claims = {
            f"{version_folder('test', model, number)}/claim.json": number for number in range(top + 1, top + 1 + AHEAD)
        }
        there = present(store, list(claims))
        if not there:
            return found
        found += [number for name, number in claims.items() if name in there]


def newest_versions(store: Store, model: str, most: int) -> list[int]:
    """As `newest_first`, the first `most` of them. In a bucket whose history this machine knows, not all numbers are listed."""
    signatures = signatures_of(store)
    fold = signatures.folded(model) if signatures and lists_onwards(store) else None
    if fold is None or not fold.versions:
        return list(islice(newest_first(store, model), most))
    known, found = max(map(int, fold.versions)), list[int]()
    top = max([known, *numbers_after(store, model, known)])
    while top > 0 and len(found) < most:
        cards = {
            f"{version_folder('test', model, each)}/card.json": each for each in range(top, max(0, top - most), -1)
        }
        there = present(store, list(cards))
        found += [number for name, number in cards.items() if name in there]
        top -= most
    return found[:most]


def _wish_name(model: str, run: str, attempt: int) -> str:
    return f"test/{model}/runs/{run}/{attempt}.json"


def _read(store: Store, kind: type[T], name: str) -> T:
    return codec.from_json(kind, store.get(name), name, checksum_required=True)
