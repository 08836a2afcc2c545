"""What people have decided about candidates: `production/<model>/decisions/000001.json`, a chain.

An approval here only says who has decided: what makes a release is the approval in `production/<model>/approvals`, which is written
next. A refusal is final, and a promotion respects it.
"""

from __future__ import annotations

import contextlib

from registry.chain import Chain, LostRace
from registry.errors import Rejected
from registry.records import Decided
from registry.stores import Store

WORDS = {"approved": "approved", "rejected": "rejected", "changes asked": "sent back with a request for changes"}
"""What a decision has done with a version."""


class DecidedMeanwhile(Rejected):
    """Another person was first; `first` says who, and what."""

    def __init__(self, first: Decided) -> None:
        super().__init__(
            f"{first.model} version {first.version} was {WORDS[first.kind]} by {first.by} at {first.at}",
            hint="look at that decision first",
        )
        self.first = first


def decision_chain(store: Store, model: str) -> Chain[Decided]:
    """The records of `production/<model>/decisions`."""
    return Chain(store, Decided, f"production/{model}/decisions")


def about(store: Store, model: str, card: str) -> list[Decided]:
    """All decisions about a manifest, the oldest first, the chain checked; raises Corrupt."""
    return decision_chain(store, model).records().having("card", card)


def append_decision(store: Store, draft: Decided, known: int) -> Decided:
    """Append a decision; number and `previous` of the draft are filled in.

    `known`: how many decisions about this manifest the person has seen. Raises DecidedMeanwhile when there are more, or one of
    them is final: of those who decide at once, one does.
    """
    chain = decision_chain(store, draft.model)
    while True:
        records = chain.records()
        before = records.having("card", draft.card)
        if final := next((each for each in before if each.kind != "approved"), None):
            raise DecidedMeanwhile(final)
        if len(before) > known:
            raise DecidedMeanwhile(before[-1])
        with contextlib.suppress(LostRace):  # it may be about another version
            return chain.append(draft, len(records))


def must_not_be_refused(store: Store, model: str, card: str) -> None:
    """Raise Rejected when a person has refused this manifest."""
    for each in about(store, model, card):
        if each.kind != "approved":
            why = f': "{each.reason}"' if each.reason else ""
            raise Rejected(
                f"{model} version {each.version} was {WORDS[each.kind]} by {each.by} at {each.at}{why}",
                hint="that is final; a new version gets a new decision",
            )
