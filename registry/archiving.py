"""The bytes of a version move to another store, and back; its manifest, acceptance tests, approvals and signatures stay.

    1. the files are copied, and read again there
    2. production/<model>/archive/000001.json    says so: from now on the version cannot be used
    3. the files are removed here

Every step can be repeated after a kill: what was copied is found, and what is recorded is removed. Who brings the version back
copies first, and records then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from registry import candidates, version_files
from registry.archived import archive_chain, archived, moved
from registry.candidates import Area, version_folder
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain
from registry.records import Archiving, Candidate, Release
from registry.stores import Removes, Store, create_or_same, far_away, present, walk
from registry.undo import good_before, live_before

AREAS: tuple[Area, ...] = ("test", "production")
LIVE, NEXT = "it is live", "it is what a rollback goes back to"


def way_out(reasons: Sequence[str]) -> str:
    """What has to happen before a version with these reasons may be moved."""
    ways = {
        LIVE: "release another version",
        NEXT: "release another version, so that a rollback goes back to a newer one",
    }
    first = [ways[each] for each in reasons if each in ways]
    waits = len(first) < len(reasons)
    return "; ".join([*first, *(["wait: [registry] archive_days says how long a version stays"] if waits else [])])


OTHER_ARCHIVE = "name another folder or prefix: this one holds the files of another registry, or damaged ones"
Protected = Callable[[], Iterable[str]]
"""Why a version may not be moved, as it is now; nothing: it may."""


@dataclass(frozen=True, slots=True)
class Who:
    """What a record says beside what was done."""

    by: str
    at: str
    reason: str


def why_protected(manifest: Candidate, releases: Sequence[Release], now: datetime, days: float) -> Iterator[str]:
    """Every reason why the bytes of a version have to stay. `releases`: the whole history, the oldest first."""
    version = manifest.version
    live = releases[-1].version if releases else None
    if version == live:
        yield LIVE
    elif releases and version in {each.version for each in (live_before(releases), good_before(releases)) if each}:
        yield NEXT
    ends = {each.number: following.at for each, following in pairwise(releases)}
    used = [("was registered", manifest.created_at)]
    used += [("was live until", ends[each.number]) for each in releases[:-1] if each.version == version]
    word, newest = max(used, key=lambda each: datetime.fromisoformat(each[1]))
    if now - datetime.fromisoformat(newest) < timedelta(days=days):
        yield f"it {word} {newest}, less than {days:g} days ago"


def archive(
    store: Store, target: Store, url: str, wanted: tuple[str, int], who: Who, protected: Protected
) -> Archiving:
    """Move the files of `wanted` (model, version) to `target`, which is at `url`; gives the record that says so.

    Raises Rejected when the version is protected, Corrupt when bytes differ from the manifest, TryAgain when it became
    protected meanwhile.
    """
    model, version = wanted
    manifest, digest = candidates.read_manifest(store, model, version)
    found = archived(store, model).get(version)
    if found is None:
        if reasons := list(protected()):
            raise Rejected(f"{model} version {version} stays: {'; '.join(reasons)}", hint=way_out(reasons))
        files = moved(manifest)
        _copy(store, target, manifest, files)
        chain = archive_chain(store, model)
        draft = Archiving(0, model, "archived", version, digest, url, files, who.by, who.at, who.reason, "")
        found = chain.append(draft, chain.last())
        if reasons := list(protected()):  # released since: whoever did that may have looked before our record was there
            chain.append(replace(draft, kind="restored", reason=f"not moved: {reasons[0]}"), found.number)
            raise TryAgain(f"{model} version {version} stays: {'; '.join(reasons)}", hint="nothing was removed")
    elif found.url != url:
        raise ConfigError(
            f"{model} version {version} is archived in {found.url} already",
            hint=f"`trainyard registry restore {model} {version}` brings it back; then it can be moved elsewhere",
        )
    _must_be_there(target, url, found)
    _remove(store, target, found)
    return found


def restore(store: Store, source: Store, url: str, wanted: tuple[str, int], who: Who) -> Archiving:
    """Bring the files of `wanted` (model, version) back from `source`, which is at `url` and keeps them; gives the record that
    says so.

    Raises ConfigError when it is not archived, Corrupt when bytes differ from the manifest.
    """
    model, version = wanted
    manifest, _ = candidates.read_manifest(store, model, version)
    found = archived(store, model).get(version)
    if found is None:
        raise ConfigError(f"{model} version {version} is not archived", hint="its files are in the registry")
    where = version_folder("test", model, version)
    _must_be_there(source, url, found)
    if far := far_away(source):
        far.bring(f"{where}/{name}" for name in found.files)
    files = {name: (source.path(f"{where}/{name}"), sha256) for name, sha256 in found.files.items()}
    for area in AREAS:
        target = version_folder(area, model, version)
        if not present(store, [f"{target}/card.json"]):
            continue
        if others := version_files.store_all(store, target, files):
            raise Corrupt(f"{target}/{others[0]}: a different file exists", hint=candidates.RESTORE)
        whole = {f"{target}/{name}": sha256 for name, sha256 in manifest.files.items()}
        if wrong := version_files.altered_there(store, whole, {}):
            raise Corrupt(wrong[0], hint=candidates.RESTORE)
    chain = archive_chain(store, model)
    draft = replace(found, kind="restored", by=who.by, at=who.at, reason=who.reason)
    return chain.append(draft, chain.last())


def _copy(store: Store, target: Store, manifest: Candidate, files: dict[str, str]) -> None:
    model, version = manifest.model, manifest.version
    where = version_folder("test", model, version)
    here = candidates.local_folder(store, "test", model, version)
    target.probe()
    if others := version_files.store_all(target, where, {name: (here / name, files[name]) for name in files}):
        raise Corrupt(f"{where}/{others[0]}: a different file exists in the archive", hint=OTHER_ARCHIVE)
    if not create_or_same(target, f"{where}/card.json", store.get(f"{where}/card.json")):
        raise Corrupt(f"{where}/card.json: a different version exists in the archive", hint=OTHER_ARCHIVE)


def _must_be_there(target: Store, url: str, record: Archiving) -> None:
    """Raise Corrupt unless the archive has every byte, as it is there now."""
    where = version_folder("test", record.model, record.version)
    wanted = {f"{where}/{name}": sha256 for name, sha256 in record.files.items()}
    if wrong := version_files.altered_there(target, wanted, {}):
        raise Corrupt(f"{url}: {wrong[0]}", hint="is this the archive? Restore the file there from a backup")


def _remove(store: Store, target: Store, record: Archiving) -> None:
    below = getattr(store, "unsigned", store)
    if not isinstance(below, Removes):
        raise ConfigError("this registry's store cannot remove files", hint="use a folder or a bucket")
    where = version_folder("test", record.model, record.version)
    names = {
        f"{version_folder(area, record.model, record.version)}/{name}": sha256
        for area in AREAS
        for name, sha256 in record.files.items()
    }
    below.remove(names, _needed(store))
    for sha256 in _needed(store) & set(record.files.values()):  # a concurrent writer has begun to use it
        name = next(each for each, other in record.files.items() if other == sha256)
        below.keep(target.path(f"{where}/{name}"), sha256)


def _needed(store: Store) -> set[str]:
    """The SHA-256 of all files that other versions have, or will have, and of what stays of this one."""
    far = far_away(store)
    if far is None:  # hard links know
        return set()
    needed: set[str] = set()
    for model in candidates.models(store):
        away = archived(store, model)
        for version in candidates.numbers(store, model):
            where = version_folder("test", model, version)
            try:
                manifest, _ = candidates.read_manifest(store, model, version)
            except ConfigError:  # it is being registered
                needed |= {far.digest(f"{where}/{name}") for name in walk(store, where)}
                continue
            gone = away[version].files if version in away else {}
            needed |= {sha256 for name, sha256 in manifest.files.items() if name not in gone}
    return needed
