"""Walks the whole registry and reports everything that is not as it was written.

It reads in the order opposite to writing (releases, approvals, decisions, production, test), so that what a record names is there
when it is looked for, also while others write. A version that has a number but no manifest yet is a note, not a problem.
"""

from __future__ import annotations

from datetime import UTC, datetime

from registry import candidates, decisions, releases, version_files
from registry.checks import history, signatures
from registry.checks.findings import Findings
from registry.checks.versions import Versions
from registry.dataclass import dataclass
from registry.keyring import FOLDER as KEYS
from registry.keyring import unsigned
from registry.stores import HasStructure, KeepsOnce, Store, signatures_of
from registry.text import printable

AREAS = ("production", "test")
EMPTY = "is empty: a writer was killed before its first file there, or after its last, or somebody has emptied it"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. Each line begins with the file or folder that it is about."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    """What does no harm: something begun and not finished, or that only a person can assess."""


def verify(store: Store, model: str | None = None) -> list[str]:
    """The problems of one model, or of all."""
    return list(inspect(store, model).problems)


def inspect(store: Store, model: str | None = None) -> Report:
    """The problems and notes of one model, or of all."""
    findings, now = Findings(), datetime.now(UTC)
    if not signatures.check_keys(store, findings):  # then nothing can be verified by them: see what else is wrong
        store = unsigned(store)
    models = _models(store, findings) if model is None else [model]
    versions = [_inspect_model(store, each, now, findings) for each in models]
    files = {name: sha256 for each in versions for name, sha256 in each.files.items()}
    below = unsigned(store)
    own = below.own_files() if model is None and isinstance(below, KeepsOnce) else {}
    findings.problems += version_files.altered_there(store, files, own)
    used = {
        sha256 for each in versions for kept in (each.files, each.test, each.production) for sha256 in kept.values()
    }
    for name, (_, sha256) in own.items():
        if sha256 not in used:
            findings.note(name, "belongs to no version")
    if isinstance(below, HasStructure):
        structure = below.structure([] if model is None else [f"{area}/{model}" for area in AREAS])
        findings.problems += structure.problems
        findings.notes += structure.notes
        for name in structure.empty:
            _check_empty(store, name, versions, findings)
    return Report(_lines(findings.problems), _lines(findings.notes))


def _lines(found: list[str]) -> tuple[str, ...]:
    """Each once, and on one line, whatever names and words somebody has put there to rewrite a terminal or stop it."""
    return tuple(dict.fromkeys(printable(each, instead="?") for each in found))


def _models(store: Store, findings: Findings) -> list[str]:
    """All models; what is not in one of them is a problem."""
    own = signatures_of(store)
    found = set(own.seen_models() if own else ())
    for top in findings.names(store, ""):
        if top.removesuffix("/") not in {*AREAS, KEYS} or not top.endswith("/"):
            findings.wrong(top, "does not belong here")
    for area in AREAS:
        for name in findings.names(store, area):
            if name.endswith("/"):
                found.add(name.removesuffix("/"))
            else:
                findings.wrong(f"{area}/{name}", "does not belong here")
    return sorted(found)


def _inspect_model(store: Store, model: str, now: datetime, findings: Findings) -> Versions:
    """Check every record and manifest, and that what they name exists; gives what is still to be hashed."""
    release_chain, approval_chain = releases.release_chain(store, model), releases.approval_chain(store, model)
    released, approved = findings.records(release_chain), findings.records(approval_chain)
    decision_chain = decisions.decision_chain(store, model)
    decided = findings.records(decision_chain)
    versions = Versions(store, model, now, findings)
    versions.check_archive()
    versions.check_production()
    versions.check_test()
    versions.check_archived(released[-1].version if released else None)

    by_number = {each.number: each for each in approved}
    about = history.Versions(versions.test, versions.production, frozenset(versions.accepted))
    for number, problem in history.wrong_releases(model, released, by_number, about):
        findings.wrong(release_chain.name(number), problem)
    for number, problem in history.wrong_approvals(model, approved, about):
        findings.wrong(approval_chain.name(number), problem)
    for number, problem in history.wrong_decisions(model, decided, about):
        findings.wrong(decision_chain.name(number), problem)
    for each in decided:
        findings.clock(decision_chain.name(each.number), each.at, now)
    for number, what in history.released_although_refused(released, decided):
        findings.note(release_chain.name(number), what)
    used = {number for each in released for number in each.approvals}
    for approval in approved:
        if approval.number not in used:
            findings.note(approval_chain.name(approval.number), f"version {approval.version} was not released with it")
    released_at = {each.number: findings.clock(release_chain.name(each.number), each.at, now) for each in released}
    approved_at = {each.number: findings.clock(approval_chain.name(each.number), each.at, now) for each in approved}
    signatures.check_heads(store, model, findings)
    for number, what in history.released_before_approval(released, approved_at, released_at):
        findings.note(release_chain.name(number), what)
    return versions


def _check_empty(store: Store, name: str, versions: list[Versions], findings: Findings) -> None:
    """An empty folder is a note where a writer that was killed may have left it."""
    area, model, folder, rest, *_ = [*name.split("/", 3), "", "", ""]
    if area not in AREAS or store.names(name):  # a writer has just begun there
        return
    found = next((each for each in versions if each.model == model), None)
    finished = (found.test if area == "test" else found.production) if found else {}
    complete = candidates.is_version(f"{folder}/") and int(folder) in finished and rest != "acceptances"
    if complete and found and int(folder) in found.archived:  # its files were in there
        complete = False
    if complete or (folder == "runs" and "/" in rest):
        findings.wrong(name, "is empty: does not belong here")
    else:
        findings.note(name, EMPTY)
