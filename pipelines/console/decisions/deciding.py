"""A decision is written down: first who has decided, which settles a race, then the approval; then the promotion begins."""

from __future__ import annotations

import contextlib
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.console.decisions.facts import read_registered
from pipelines.console.decisions.promoting import Promotion
from pipelines.console.decisions.state import Registered, missing_approvals, state_of
from registry import releases
from registry.chain import LostRace
from registry.dataclass import dataclass
from registry.decisions import append_decision
from registry.records import Approval, Decided, DecisionKind
from registry.stores import Store


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person has chosen on the page, and what the page was about."""

    kind: DecisionKind
    reason: str
    over: int
    """The number of the newest release on the page."""
    seen: int
    """How many decisions about the version were on it."""


def write_decision(store: Store, known: Registered, choice: Choice, mine: Approval, how: str) -> Decided:
    """Append the decision, and the approval that it makes. Raises DecidedMeanwhile when another person was first."""
    token = secrets.token_urlsafe(12) if choice.kind == "approved" else ""
    draft = Decided(
        0,
        known.model,
        known.version,
        known.card,
        choice.kind,
        mine.by,
        how,
        mine.at,
        choice.reason,
        choice.over,
        "",
        token,
    )
    made = append_decision(store, draft, choice.seen)
    write_missing(store, known.model, known.card, [made])
    return made


def write_missing(store: Store, model: str, card: str, decided: list[Decided]) -> None:
    """Append the approvals of these decisions that are not there yet."""
    while True:
        history = releases.read_history(store, model)
        known = Registered(model, decided[0].version, card, None, (), tuple(decided), (), ())
        missing = missing_approvals(known, history.approvals.having("card", card))
        if not missing:
            return
        with contextlib.suppress(LostRace):  # it may be about another version
            releases.append_approval(store, missing[0], history)


def promote_if_approved(store: Store, config: Config, home: Path, version: int, over: int) -> bool:
    """Begin the promotion when enough people have approved; gives whether one runs now."""
    _, known = read_registered(store, config, version)
    if decided := [each for each in known.decided if each.kind == "approved"]:
        write_missing(store, config.model, known.card, decided)
    _, known = read_registered(store, config, version)
    kind = state_of(known, config.approval, datetime.now(UTC)).kind
    if kind not in {"approved", "live"}:
        return False
    return Promotion(home, config.model, version).start(config, version, over)
