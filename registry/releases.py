"""Releases: the highest number is live; no pointer file, no lock and no clock decides.

    production/<model>/<version>/               the same bytes as in test, hashed again on the way
    production/<model>/approvals/000001.json    who said yes, to which card
    production/<model>/releases/000001.json     from now on, this version; a rollback is a new release

Each record is checked when it is read, and the whole history before a new approval is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry import candidates
from registry.chain import Chain, LostRace, Records
from registry.errors import Corrupt, Rejected
from registry.records import Approval, Release, utc_now
from registry.stores import Store


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
        """The release that was made with this approval."""
        return next(iter(self.releases.having("approval", approval)), None)


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
    chain = release_chain(store, model)
    number = chain.last()
    return chain.read(number) if number else None


def releases(store: Store, model: str) -> list[Release]:
    """All releases, the oldest first, the chain checked."""
    return release_chain(store, model).read_all()


def approvals(store: Store, model: str) -> list[Approval]:
    """All approvals, the oldest first, the chain checked."""
    return approval_chain(store, model).read_all()


def copy_to_production(store: Store, model: str, version: int) -> None:
    """Copy a version from test, hashing every byte on the way, the card last. Repeating it checks what is there.

    Raises Corrupt when a file differs from the card, ConfigError when there is no such version.
    """
    card, digest = candidates.read_card(store, model, version)
    source, target = (candidates.version_folder(area, model, version) for area in ("test", "production"))

    def there(name: str) -> Path:
        try:
            return store.path(f"{source}/{name}")
        except FileNotFoundError:
            raise Corrupt(f"{source}/{name}: is missing", hint=candidates.RESTORE) from None

    files = {name: (there(name), sha256) for name, sha256 in card.files.items()}
    for part in (files, {"card.json": (there("card.json"), digest)}):  # the card last
        if others := candidates.store_all(store, target, part):
            raise Corrupt(f"{target}/{others[0]}: differs from the card", hint=candidates.RESTORE)


def append_approval(  # noqa: PLR0913  (the fields of an approval, by name)
    store: Store, model: str, version: int, *, card: str, token: str, by: str, known: History | None = None
) -> Approval:
    """Append that `by` said yes to the card; the approval that is there already when this token was used for it.

    `known` is a history that was read before, so that it is not read again. Raises Rejected when the token was used
    for another card, TryAgain when someone else approved meanwhile.
    """
    chain = approval_chain(store, model)
    before = known.approvals if known else chain.records()
    for each in before.having("token", token):
        if (each.version, each.card) != (version, card):
            raise Rejected(
                f"{chain.name(each.number)}: this token has approved version {each.version} already",
                hint="ask for a new approval",
            )
        return each
    return chain.append(
        lambda number, previous: Approval(number, model, version, card, token, by, utc_now(), previous), len(before)
    )


def append_release(  # noqa: PLR0913  (the fields of a release, by name)
    store: Store,
    model: str,
    version: int | None,
    *,
    card: str,
    by: str,
    reason: str,
    approval: int | None,
    after: int | None,
    known: History | None = None,
) -> Release:
    """Append the release that makes `version` live, or with None withdraws what is live.

    `card` is the card's SHA-256 ("" to withdraw), `after` the number of the latest release that the caller saw.
    `known` is a history up to that release, so that it is not read again to check the `approval`.

    Raises TryAgain when someone else released since then, Corrupt when production does not hold this card, Rejected when
    the approval is of another card or was used before.
    """
    if version is not None and candidates.card_digest(store, model, version, "production") != card:
        where = candidates.version_folder("production", model, version)
        raise Corrupt(f"{where}/card.json: is not the card with the SHA-256 {card}", hint=candidates.RESTORE)
    chain = release_chain(store, model)
    if approval is not None and chain.last() == (after or 0):
        current = known and (known.latest.number if known.latest else 0) == (after or 0)
        _check_approval(store, known if known and current else read_history(store, model), approval, (version, card))
    try:
        return chain.append(
            lambda number, previous: Release(number, model, version, card, by, utc_now(), reason, approval, previous),
            after or 0,
        )
    except LostRace as error:
        raise LostRace(
            f"someone else released {model} meanwhile ({error})",
            hint=f"look at `trainyard registry history {model}`, then run again",
        ) from None


def _check_approval(store: Store, known: History, number: int, wanted: tuple[int | None, str]) -> None:
    model = known.model
    try:
        given = approval_chain(store, model).read(number)
    except FileNotFoundError:
        given = None
    if given is None or (given.version, given.card) != wanted:
        raise Rejected(f"approval {number} of {model} is not about version {wanted[0]}", hint="ask for a new approval")
    if made := known.release_with(number):
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
