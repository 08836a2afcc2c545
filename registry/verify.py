"""Walks the whole registry and reports everything that is not as it was written.

It reads in the order opposite to writing (releases, approvals, production, test), so that what a record names is there
when it is looked for, also while others write. A version that has a number but no manifest yet is a note, not a problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from registry import candidates, codec, releases
from registry.candidates import Area, version_folder
from registry.chain import Chain, R
from registry.errors import Corrupt
from registry.records import Approval, Claim, Release
from registry.stores import KeepsOnce, Store, walk
from registry.undo import has_failed


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. Each line begins with the file or folder that it is about."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    """What was begun and not finished; it does no harm."""


def verify(store: Store, model: str | None = None) -> list[str]:
    """The problems of one model, or of all."""
    return list(inspect(store, model).problems)


def inspect(store: Store, model: str | None = None) -> Report:
    """The problems and notes of one model, or of all."""
    areas = {f"{area}/{name}" for area in ("production", "test") for name in store.names(area)}
    models = sorted({name.split("/")[1] for name in areas if name.endswith("/")}) if model is None else [model]
    found = [_Model(store, each) for each in models]
    for each in found:
        each.inspect()
    problems = [problem for each in found for problem in each.problems]
    files = {name: sha256 for each in found for name, sha256 in each.files.items()}
    own = store.own_files() if model is None and isinstance(store, KeepsOnce) else {}
    problems += candidates.altered(store, files, own)
    if model is None:
        strange = [*(set(store.names("")) - {"production/", "test/"}), *(each for each in areas if each[-1] != "/")]
        problems += [f"{name}: does not belong here" for name in sorted(strange)]
    return Report(tuple(problems), tuple(note for each in found for note in each.notes))


@dataclass(slots=True)
class _Model:
    """One model, and what was found so far."""

    store: Store
    name: str
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Name → SHA-256 of all that is still to be hashed."""

    def inspect(self) -> None:
        """Check every record and manifest, and that what they name exists."""
        release_chain = releases.release_chain(self.store, self.name)
        approval_chain = releases.approval_chain(self.store, self.name)
        released, approved = self._chain(release_chain), self._chain(approval_chain)
        production = self._versions("production", {"approvals/", "releases/"})
        test = self._versions("test", {"runs/"})
        self._wishes()

        for version in (version for version, digest in production.items() if test.get(version) != digest):
            where = version_folder("production", self.name, version)
            self.problems.append(f"{where}/card.json: is not the manifest in test")
        used = self._releases(release_chain, released, {each.number: each for each in approved}, production)
        for each in approved:
            if each.model != self.name or test.get(each.version) != each.card:
                self._wrong(
                    approval_chain, each.number, f"approves a manifest that test/…/{each.version} does not have"
                )
            if each.number not in used:
                name = approval_chain.name(each.number)
                self.notes.append(f"{name}: version {each.version} was not released with it")

    def _releases(
        self,
        chain: Chain[Release],
        released: Iterable[Release],
        approved: Mapping[int, Approval],
        production: Mapping[int, str],
    ) -> set[int]:
        """Check every release; gives the approvals that releases name."""
        named: set[int] = set()
        used_up: set[int] = set()
        after = {each.number - 1: each for each in released}
        for each in released:
            if each.model != self.name:
                self._wrong(chain, each.number, f"is a release of {each.model}")
            if each.version is not None and production.get(each.version) != each.card:
                self._wrong(chain, each.number, f"releases a manifest that production/…/{each.version} does not have")
            if each.approval is None:
                continue
            approval = approved.get(each.approval)
            if approval is None or (approval.version, approval.card) != (each.version, each.card):
                self._wrong(chain, each.number, f"names approval {each.approval}, which is not about this manifest")
            if each.approval in used_up:
                self._wrong(chain, each.number, f"names approval {each.approval}, which was used before")
            named.add(each.approval)
            if not has_failed(each, after.get(each.number)):
                used_up.add(each.approval)
        return named

    def _versions(self, area: Area, others: set[str]) -> dict[int, str]:
        """Check every version; gives version → SHA-256 of the manifest."""
        digests = {}
        for name in self.store.names(f"{area}/{self.name}"):
            if candidates.is_version(name):
                if digest := self._version(area, int(name[:-1])):
                    digests[int(name[:-1])] = digest
            elif name not in others:
                self.problems.append(f"{area}/{self.name}/{name}: does not belong here")
        return digests

    def _version(self, area: Area, version: int) -> str:
        """Check one version; gives the SHA-256 of its manifest, "" when none can be read."""
        where = version_folder(area, self.name, version)
        own = candidates.OWN if area == "test" else {"card.json"}
        there = set(walk(self.store, where))
        run = self._claim(version, published="card.json" in there) if area == "test" else ""
        if "card.json" not in there:
            if any(each.startswith("acceptances/") for each in there):
                self.problems.append(f"{where}/card.json: is missing, though the version was tested")
            else:
                self.notes.append(f"{where}: was begun{f' by run {run}' if run else ''} and not finished")
            return ""
        try:
            manifest, digest = candidates.read_manifest(self.store, self.name, version, area)
        except Corrupt as error:
            self.problems.append(str(error))
            return ""
        if run not in {"", manifest.run}:
            self.problems.append(f"{where}/claim.json: says run {run}, the manifest says {manifest.run}")
        extra = {each for each in there if each.split("/")[0] not in own} - manifest.files.keys()
        self.problems += [f"{where}/{each}: is not in the manifest" for each in sorted(extra)]
        self.files |= {f"{where}/{each}": sha256 for each, sha256 in manifest.files.items()}
        if area == "test":
            self._acceptances(version, digest)
        return digest

    def _claim(self, version: int, *, published: bool) -> str:
        """The run that has the number, "" when that cannot be read."""
        try:
            return candidates.claimed_by(self.store, self.name, version)
        except Corrupt as error:
            self.problems.append(str(error))
        except FileNotFoundError:
            if published:
                self.problems.append(f"{version_folder('test', self.name, version)}/claim.json: is missing")
        return ""

    def _acceptances(self, version: int, digest: str) -> None:
        chain = candidates.acceptance_chain(self.store, self.name, version, digest)
        for each in self._chain(chain):
            if (each.model, each.version, each.card) != (self.name, version, digest):
                self._wrong(chain, each.number, "is about another manifest")

    def _wishes(self) -> None:
        """Check which run wants which number."""
        where = f"test/{self.name}/runs"
        for name in walk(self.store, where):
            try:
                wish = codec.from_json(
                    Claim, self.store.get(f"{where}/{name}"), f"{where}/{name}", checksum_required=True
                )
            except Corrupt as error:
                self.problems.append(str(error))
            else:
                if (wish.model, wish.run) != (self.name, name.partition("/")[0]):
                    self.problems.append(f"{where}/{name}: is about run {wish.run} of {wish.model}")

    def _chain(self, chain: Chain[R]) -> list[R]:
        """The readable records of a chain."""
        records, problems = chain.check()
        self.problems += problems
        known = {chain.name(number) for number in chain.numbers()}
        strange = [f"{chain.folder}/{name}" for name in walk(self.store, chain.folder)]
        self.problems += [f"{name}: does not belong here" for name in strange if name not in known]
        return records

    def _wrong(self, chain: Chain[R], number: int, what: str) -> None:
        self.problems.append(f"{chain.name(number)}: {what}")
