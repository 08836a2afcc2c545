"""The versions of a model in `test` and `production`: their manifests, claims, acceptance tests and files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from registry import attestations, candidates, codec
from registry.archived import archive_chain, moved, newest_of
from registry.candidates import version_folder
from registry.checks.findings import Findings
from registry.dataclass import dataclass
from registry.records import Archiving, Candidate, Claim
from registry.stores import Store, signatures_of

COMPLETE = "if its run was killed, the step `register`, repeated in the run's folder, adds what is missing"
WISH = re.compile(r"([^/]+)/([1-9][0-9]*)\.json")


@dataclass(slots=True)
class Versions:
    """One model's versions, and what was found so far."""

    store: Store
    model: str
    now: datetime
    findings: Findings
    files: dict[str, str] = field(default_factory=dict)
    """Name → SHA-256 of all that is still to be hashed."""
    test: dict[int, str] = field(default_factory=dict)
    production: dict[int, str] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    copied: dict[int, list[str]] = field(default_factory=dict)
    """Version → the files of a copy in production that has no manifest yet."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Run → the number that it has."""
    signed: dict[int, dict[str, str]] = field(default_factory=dict)
    """Version → its files with their SHA-256, as other tools see it."""
    parents: dict[int, int] = field(default_factory=dict)
    archived: dict[int, Archiving] = field(default_factory=dict)

    def check_production(self) -> None:
        """Check what was copied; to be called before `check_test`, for the writers do it in the opposite order."""
        for version, name in self._folders(
            "production", {"approvals/", "archive/", "decisions/", "heads/", "releases/"}
        ):
            there = self._contents(name, {"card.json"})
            if "card.json" not in there:
                self.copied[version] = there
                self.findings.note(name, "was begun and not finished")
            elif found := self._manifest("production", version, there, {"card.json"}):
                self.production[version] = found[1]

    def check_test(self) -> None:
        """Check what was registered, and that what is in production is the same."""
        attested = self._attested()
        for version, _ in self._folders("test", {"runs/", f"{attestations.FOLDER}/"}):
            self._check_registered(version)
        self._check_attestations(attested)
        for version, parent in self.parents.items():
            if parent not in self.test:
                self._wrong("test", version, "card.json", f"was trained from version {parent}, which is not there")
        wishes = self._wishes()
        for run, version in self.numbers.items():
            if version not in wishes.get(run, set()):
                self.findings.wrong(f"test/{self.model}/runs/{run}", f"does not ask for number {version}")
        for version, digest in self.production.items():
            if self.test.get(version) != digest:
                self._wrong("production", version, "card.json", "is not the manifest in test")
        for version, names in self.copied.items():
            self._check_copied(version, names)

    def _check_registered(self, version: int) -> None:
        where = version_folder("test", self.model, version)
        there = self._contents(where, candidates.OWN)
        run = self._claim(version, published="card.json" in there)
        if run:
            first = self.numbers.setdefault(run, version)
            if first != version:
                self._wrong("test", version, "claim.json", f"gives run {run} a second number, after {first}")
        if "card.json" not in there:
            if any(each.startswith("acceptances/") for each in there):
                self._wrong("test", version, "card.json", "is missing, though the version was tested")
            else:
                self.findings.note(where, f"was begun{f' by run {run}' if run else ''} and not finished")
            return
        if not (found := self._manifest("test", version, there, candidates.OWN)):
            return
        manifest, digest = found
        self.test[version] = digest
        self.signed[version] = {**manifest.files, "card.json": digest}
        if run not in {"", manifest.run}:
            self._wrong("test", version, "claim.json", f"says run {run}, the manifest says {manifest.run}")
        if not manifest.verdict.accepted:
            self._wrong("test", version, "card.json", "was registered though the gate has rejected it")
        if manifest.parent is not None:
            self.parents[version] = manifest.parent
        self.findings.clock(f"{where}/card.json", manifest.created_at, self.now)
        self._acceptances(version, digest)

    def _folders(self, area: candidates.Area, others: set[str]) -> list[tuple[int, str]]:
        """Number and folder of every version; what is neither one nor in `others` is a problem."""
        found = []
        for name in self.findings.names(self.store, f"{area}/{self.model}"):
            if candidates.is_version(name):
                found.append((int(name[:-1]), f"{area}/{self.model}/{name[:-1]}"))
            elif name not in others:
                self.findings.wrong(f"{area}/{self.model}/{name}", "does not belong here")
        return sorted(found)

    def _contents(self, where: str, own: set[str]) -> list[str]:
        """The files of a version; a folder that is called like a record, or the other way round, is a problem."""
        for name in self.findings.names(self.store, where):
            is_folder = name.endswith("/")
            if name.removesuffix("/") in own and is_folder == name.startswith(("card.json", "claim.json")):
                self.findings.wrong(f"{where}/{name}", "does not belong here")
        return self.findings.below(self.store, where)

    def _manifest(
        self, area: candidates.Area, version: int, there: list[str], own: set[str]
    ) -> tuple[Candidate, str] | None:
        """The manifest and its SHA-256, None when it cannot be read; its files are to be hashed."""
        where = version_folder(area, self.model, version)
        with self.findings.collecting():
            manifest, digest = candidates.read_manifest(self.store, self.model, version, area)
            for each in there:
                if each not in manifest.files and each.split("/")[0] not in own:
                    self.findings.wrong(f"{where}/{each}", "is not in the manifest")
            self.findings.spelling(self.store, f"{where}/card.json")
            away = self._moved(where, manifest, digest, there)
            self.files |= {f"{where}/{each}": sha256 for each, sha256 in manifest.files.items() if each not in away}
            return manifest, digest
        return None

    def check_archive(self) -> None:
        """Check the records of what was archived; to be called before the versions are."""
        chain = archive_chain(self.store, self.model)
        records = self.findings.records(chain)
        for each in records:
            if each.model != self.model:
                self.findings.wrong(chain.name(each.number), f"is about {each.model}")
            self.findings.clock(chain.name(each.number), each.at, self.now)
        self.archived = newest_of(records)

    def check_archived(self, live: int | None) -> None:
        """Check that what was archived is in test, and not live."""
        chain = archive_chain(self.store, self.model)
        for version, each in self.archived.items():
            if self.test.get(version) != each.card:
                self.findings.wrong(chain.name(each.number), f"archives a manifest that test/…/{version} does not have")
            if version == live:
                self.findings.wrong(chain.name(each.number), f"archives version {version}, which is live: restore it")

    def _moved(self, where: str, manifest: Candidate, digest: str, there: list[str]) -> dict[str, str]:
        """The files of a version that are elsewhere; a note says where."""
        record = self.archived.get(manifest.version)
        if record is None or record.card != digest:
            return {}
        if record.files != moved(manifest):
            number = archive_chain(self.store, self.model).name(record.number)
            self.findings.wrong(number, f"does not name the files of version {manifest.version}")
            return {}
        here = [each for each in there if each in record.files]
        again = f"; {here[0]} is still here: the same `registry archive` removes it" if here else ""
        self.findings.note(where, f"archived: its bytes are in {record.url}, and are not checked here{again}")
        return record.files

    def _claim(self, version: int, *, published: bool) -> str:
        """The run that has the number, "" when that cannot be read."""
        with self.findings.collecting():
            try:
                run = candidates.claimed_by(self.store, self.model, version)
                self.findings.spelling(self.store, f"{version_folder('test', self.model, version)}/claim.json")
                return run
            except FileNotFoundError:
                if published:
                    self._wrong("test", version, "claim.json", "is missing")
        return ""

    def _acceptances(self, version: int, digest: str) -> None:
        chain = candidates.acceptance_chain(self.store, self.model, version, digest)
        for each in self.findings.records(chain):
            name = chain.name(each.number)
            if (each.model, each.version, each.card) != (self.model, version, digest):
                self.findings.wrong(name, "is about another manifest")
            elif each.accepted:
                self.accepted.add(version)
            self.findings.clock(name, each.at, self.now)

    def _attested(self) -> set[int]:
        """The versions that something is attested of; what is not an attestation is a problem."""
        where = f"test/{self.model}/{attestations.FOLDER}"
        found = set()
        for name in self.findings.names(self.store, where):
            if candidates.is_version(name):
                found.add(int(name[:-1]))
            else:
                self.findings.wrong(f"{where}/{name}", "does not belong here")
        for version in found:
            for name in self.findings.names(self.store, f"{where}/{version}"):
                if name not in attestations.NAMES:
                    self.findings.wrong(f"{where}/{version}/{name}", "does not belong here")
        return found

    def _check_attestations(self, attested: set[int]) -> None:
        """Model signature and provenance of every version but those from before there were any.

        `attested` was listed before the versions were: what is registered meanwhile is not missing. Of what is signed,
        heads say what was removed: see `heads.missing_since`.
        """
        without = []
        signed = signatures_of(self.store) is not None
        for version, files in self.signed.items():
            with self.findings.collecting():
                try:
                    attestations.check(self.store, self.model, version, files)
                    self.findings.spelling(
                        self.store, f"{attestations.folder(self.model, version)}/{attestations.RECORD}"
                    )
                except FileNotFoundError:
                    where = attestations.folder(self.model, version)
                    there = {*self.findings.names(self.store, where)}
                    later = version in self.accepted and min(attested, default=version) < version
                    if attestations.RECORD in there or (later and not signed):  # the record is written last
                        for name in sorted({*attestations.NAMES} - there):
                            self.findings.wrong(f"{where}/{name}", "is missing")
                    else:
                        without.append(version)
        if without:
            listed = ", ".join(map(str, without[:5])) + (", …" if without[5:] else "")
            self.findings.note(
                f"test/{self.model}", f"without model signature and provenance: version {listed}; {COMPLETE}"
            )
        for version in sorted(attested - self.test.keys()):
            self.findings.wrong(attestations.folder(self.model, version), "is about a version that is not there")

    def _wishes(self) -> Mapping[str, set[int]]:
        """Check which run wants which number; gives run → numbers."""
        where = f"test/{self.model}/runs"
        found: dict[str, set[int]] = {}
        for name in self.findings.below(self.store, where):
            if not (parts := WISH.fullmatch(name)):
                self.findings.wrong(f"{where}/{name}", "does not belong here")
                continue
            with self.findings.collecting():
                data = self.store.get(f"{where}/{name}")
                wish = codec.from_json(Claim, data, f"{where}/{name}", checksum_required=True)
                self.findings.spelling(self.store, f"{where}/{name}")
                if (wish.model, wish.run) != (self.model, parts[1]):
                    self.findings.wrong(f"{where}/{name}", f"is about run {wish.run} of {wish.model}")
                found.setdefault(parts[1], set()).add(wish.version)
        return found

    def _check_copied(self, version: int, names: list[str]) -> None:
        """A copy that was begun holds nothing that the version in test does not have."""
        where = version_folder("production", self.model, version)
        if version not in self.test:
            self.findings.wrong(where, "was never in test")
            return
        with self.findings.collecting():
            manifest, _ = candidates.read_manifest(self.store, self.model, version)
            for each in names:
                if each not in manifest.files:
                    self.findings.wrong(f"{where}/{each}", "is not in the manifest")
                else:
                    self.files[f"{where}/{each}"] = manifest.files[each]

    def _wrong(self, area: candidates.Area, version: int, name: str, what: str) -> None:
        self.findings.wrong(f"{version_folder(area, self.model, version)}/{name}", what)
