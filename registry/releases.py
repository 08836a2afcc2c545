"""Releases: the highest number is live; no pointer file, no lock and no clock decides.

    production/<model>/<version>/               the same bytes as in test, hashed again on the way
    production/<model>/approvals/000001.json    who approved which manifest
    production/<model>/releases/000001.json     from now on, this version; a rollback is a new release

Each record is checked when it is read, and the whole history before a new approval is used.
"""

from __future__ import annotations

from collections.abc import Iterator

from registry import candidates, codec, heads, version_files
from registry.archived import must_be_here
from registry.chain import Chain, LostRace, Records
from registry.dataclass import dataclass
from registry.errors import Corrupt, Rejected
from registry.records import Approval, Release
from registry.stores import Store, missing, signatures_of
from registry.undo import has_failed


@dataclass(frozen=True, slots=True)
class History:
    """All that was approved and released of one model, read once, with both chains checked."""

    model: str
    approvals: Records[Approval]
    releases: Records[Release]

    @property
    def latest(self) -> Release | None:
        """The release with the highest number, also one that withdraws."""
        return self.releases[-1] if self.releases else None

    def release_with(self, approval: int) -> Release | None:
        """The release that has used up this approval, or is about to: one that was made with it and did not fail."""
        known = self.approvals[approval - 1 : approval]
        alike = self.releases.having("card", known[0].card) if known else self.releases.having("approval", approval)
        return next((each for each in alike if approval in each.approvals and not self._has_failed(each)), None)

    def was_approved(self, made: Release) -> bool:
        """Whether a release was made with approvals, each of just its version."""
        given = [each for number in made.approvals for each in self.approvals[number - 1 : number]]
        alike = [each for each in given if (each.version, each.card) == (made.version, made.card)]
        return bool(alike) and len(alike) == len(made.approvals)

    def unused(self, card: str) -> list[Approval]:
        """The approvals of this manifest that are not used up, the oldest first."""
        made = [each for each in self.releases.having("card", card) if not self._has_failed(each)]
        used_up = {number for each in made for number in each.approvals}
        return [each for each in self.approvals.having("card", card) if each.number not in used_up]

    def _has_failed(self, made: Release) -> bool:
        return has_failed(made, next(iter(self.releases[made.number : made.number + 1]), None))


def read_history(store: Store, model: str) -> History:
    """All approvals and releases; raises Corrupt when one was altered."""
    released = release_chain(store, model).records()  # first: an approval that a release names is then there
    return History(model, approval_chain(store, model).records(), released)


def live(store: Store, model: str) -> Release | None:
    """The release that answers requests; None when nothing was released yet, or the last release was withdrawn."""
    found = latest(store, model)
    return found if found and found.version is not None else None


def latest(store: Store, model: str) -> Release | None:
    """The release with the highest number, also one that withdraws."""
    chain, signatures = release_chain(store, model), signatures_of(store)
    known = signatures.seen(model) if signatures else None
    number = chain.last(known.release if known else 0)
    return chain.read(number) if number else None


def releases(store: Store, model: str) -> list[Release]:
    """All releases, the oldest first, the chain checked."""
    return release_chain(store, model).read_all()


def approvals(store: Store, model: str) -> list[Approval]:
    """All approvals, the oldest first, the chain checked."""
    return approval_chain(store, model).read_all()


def copy_to_production(store: Store, model: str, version: int) -> None:
    """Copy a version from test, hashing every byte on the way, the manifest last. Repeating it checks what is there.

    Raises Corrupt when a file differs from the manifest, ConfigError when there is no such version.
    """
    manifest, digest = candidates.read_manifest(store, model, version)
    source, target = (candidates.version_folder(area, model, version) for area in ("test", "production"))

    wanted = {**manifest.files, "card.json": digest}
    names = [f"{source}/{name}" for name in wanted]
    must_be_here(store, model, version)
    if lost := missing(store, sorted(names)):
        raise Corrupt(f"{lost[0]}: is missing", hint=candidates.RESTORE)
    files = {name: (f"{source}/{name}", sha256) for name, sha256 in wanted.items()}
    for part in (set(manifest.files), {"card.json"}):  # the manifest last
        if others := version_files.store_all(store, target, {name: files[name] for name in part}):
            raise Corrupt(f"{target}/{others[0]}: differs from the manifest", hint=candidates.RESTORE)


def append_approval(store: Store, draft: Approval, history: History | None = None) -> Approval:
    """Append an approval; number and `previous` of the draft are filled in. Gives the one that is there when the same
    person has approved this manifest with the same token before.

    `history`: one that was read before, so that it is not read again. Raises Rejected when the token was used for another
    manifest, TryAgain when a concurrent writer has appended an approval.
    """
    chain = approval_chain(store, draft.model)
    before = history.approvals if history else chain.records()
    for each in before.having("token", draft.token):
        if (each.version, each.card) != (draft.version, draft.card):
            raise Rejected(
                f"{chain.name(each.number)}: this token has approved version {each.version} already",
                hint="ask for a new approval",
            )
        if (each.way, each.seen) == (draft.way, draft.seen):
            return each
    return chain.append(draft, len(before))


def append_release(store: Store, draft: Release, after: int, history: History | None = None) -> Release:
    """Append a release: its version is live from now on. Number and `previous` of the draft are filled in.

    `after`: the number of the latest release that the caller saw, 0 for none. `history`: one that was read before, up to
    that release, so that it is not read again to check the approval.

    Raises TryAgain when a concurrent writer has released since then, Corrupt when production does not hold the draft's
    manifest, Rejected when its approval is of another manifest or was used before.
    """
    model, version = draft.model, draft.version
    if version is not None:
        must_be_here(store, model, version)
    if version is not None and candidates.manifest_digest(store, model, version, "production") != draft.card:
        where = candidates.version_folder("production", model, version)
        raise Corrupt(f"{where}/card.json: is not the manifest with the SHA-256 {draft.card}", hint=candidates.RESTORE)
    heads.must_be_whole(store, model)
    chain = release_chain(store, model)
    if draft.approval is not None and not chain.has(after + 1):  # else `append` raises that the race is lost
        known = history if history and len(history.releases) == after else read_history(store, model)
        for number in draft.approvals:
            _check_approval(store, known, number, draft)
    try:
        made = chain.append(draft, after)
    except LostRace as error:
        raise LostRace(
            f"{model} was released by a concurrent writer ({error})",
            hint=f"check `trainyard registry history {model}`, then retry",
        ) from None
    heads.write_head(store, model, [] if version is None else [version])
    return made


def must_be_approved(store: Store, release: Release) -> None:
    """Raise Corrupt unless a person has approved what this release makes live: with it, or with an earlier one of the same
    manifest."""
    made = [release] if release.approval is not None else _promotions_before(store, release)
    chain, wanted = approval_chain(store, release.model), (release.version, release.card)
    for each in made:
        given = [chain.read(number) for number in each.approvals]
        if all(wanted == (approval.version, approval.card) for approval in given):
            return
    name = release_chain(store, release.model).name(release.number)
    raise Corrupt(
        f"{name}: nobody has approved version {release.version}", hint="`trainyard registry verify` lists every problem"
    )


def _promotions_before(store: Store, release: Release) -> Iterator[Release]:
    """The earlier releases of the same manifest that were made with an approval, the newest first: it is seldom far back."""
    chain = release_chain(store, release.model)
    line = codec.line("card", release.card)
    data = store.get(chain.name(release.number))
    chain.decode(release.number, data)
    for number, each in chain.before(release.number, data):
        if line in each and (found := chain.decode(number, each, vouched=True)).approval is not None:
            yield found


def _check_approval(store: Store, history: History, number: int, draft: Release) -> None:
    model = draft.model
    try:
        given = approval_chain(store, model).read(number)
    except FileNotFoundError:
        given = None
    if given is None or (given.version, given.card) != (draft.version, draft.card):
        raise Rejected(
            f"approval {number} of {model} is not about version {draft.version}", hint="ask for a new approval"
        )
    if made := history.release_with(number):
        raise Rejected(
            f"approval {number} of {model} was used for release {made.number}",
            hint="`trainyard rollback` goes back to an earlier release; anything else needs a new approval",
        )


def release_chain(store: Store, model: str) -> Chain[Release]:
    """The records of `production/<model>/releases`."""
    return Chain(store, Release, f"production/{model}/releases")


def approval_chain(store: Store, model: str) -> Chain[Approval]:
    """The records of `production/<model>/approvals`."""
    return Chain(store, Approval, f"production/{model}/approvals")
