"""What the labels of several people come to, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from registry.dataclass import dataclass

State = Literal["open", "accepted", "tied"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an item's labels come to."""

    state: State
    """open: somebody is still to be asked. tied: as many as may be asked say different things."""
    label: str = ""
    by: tuple[str, ...] = ()
    """Who says what was accepted."""


def outcome(labels: Mapping[str, str], labellers: int) -> Outcome:
    """Of one item. `labels`: person → what they say now; `labellers`: how many label each item.

    With two who differ, a third decides; where all three differ, it is tied: nobody is asked again, and it is accepted when one of
    them changes their mind.
    """
    counts = Counter(labels.values())
    if len(labels) < labellers:
        return Outcome("open")
    best, times = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if times * 2 > len(labels):
        return Outcome("accepted", best, tuple(sorted(who for who, label in labels.items() if label == best)))
    return Outcome("open" if len(labels) <= 2 else "tied")


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree on the items that both have labelled."""

    one: str
    other: str
    items: int
    share: float
    """Of them, those with the same label."""
    kappa: float | None
    """Cohen's kappa (1960): 0, as if by chance; 1, always. None: both gave one and the same label throughout, or no item is shared."""


def agreements(items: Sequence[Mapping[str, str]]) -> tuple[Agreement, ...]:
    """Of each two people who share an item; `items`: person → label of each."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for labels in items:
        people = sorted(labels)
        for place, one in enumerate(people):
            for other in people[place + 1 :]:
                pairs.setdefault((one, other), []).append((labels[one], labels[other]))
    return tuple(_agreement(one, other, both) for (one, other), both in sorted(pairs.items()))


def _agreement(one: str, other: str, both: Sequence[tuple[str, str]]) -> Agreement:
    total = len(both)
    same = sum(mine == yours for mine, yours in both) / total
    mine, yours = Counter(each for each, _ in both), Counter(each for _, each in both)
    chance = sum(mine[label] * yours[label] for label in mine) / total**2
    kappa = None if chance >= 1 else (same - chance) / (1 - chance)
    return Agreement(one, other, total, same, kappa)


def estimated_accuracy(right: Sequence[bool]) -> tuple[float, float, float] | None:
    """Accuracy with Wilson's 95 % interval, from the answers that were drawn at random; None without any."""
    if not right:
        return None
    n, share, z = len(right), sum(right) / len(right), 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return share, max(middle - half, 0.0), min(middle + half, 1.0)
