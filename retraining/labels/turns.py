"""Whose turn it is: which item of the review queue somebody is asked about next, and what of others' labels they may see. Pure.

Who labels must not know what others have said of the same item: two who copy each other agree always, and say nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence

from registry.records.labels import Label
from retraining.labels.accepted import is_wrong
from retraining.labels.agreement import Outcome

Key = tuple[str, int]
"""Request and row."""


def may_be_asked(who: str, outcome: Outcome, labels: Sequence[Label], unsure: Collection[str], labellers: int) -> bool:
    """Whether somebody is still to be asked about an item, and `who` may be that. `labels`: its labels, the oldest first."""
    return (
        outcome.state == "open"
        and who not in unsure
        and all(each.by != who for each in labels)
        and not is_wrong(labels, labellers)
    )


def next_of(waiting: Sequence[Key], held: Container[Key], after: Key | None = None) -> Key | None:
    """Of what somebody may be asked about, in the queue's order: the first that nobody else is looking at (`held`); only held ones
    are left: the first of those. `after`: it was passed over, so that the next one behind it comes, and it comes last."""
    place = waiting.index(after) + 1 if after in waiting else 0
    turned = [*waiting[place:], *waiting[:place]]
    return next((each for each in turned if each not in held), turned[0] if turned else None)


def visible(
    who: str, outcomes: Mapping[Key, Outcome], labels: Mapping[Key, Sequence[Label]], held: Container[Key]
) -> list[Key]:
    """The items of which `who` may see what others have said, also in a count of several: those that `who` has labelled, and those
    that nobody is asked about any more, unless `who` is looking at them right now (`held`)."""
    return [
        key
        for key, of_item in labels.items()
        if any(each.by == who for each in of_item) or (outcomes[key].state != "open" and key not in held)
    ]
