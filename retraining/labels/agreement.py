"""What the labels of several people come to, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from registry.dataclass import dataclass
from retraining.labels.numbers import Numbers, number

State = Literal["open", "accepted", "tied", "unclear"]
MOST_UNSURE = 2
"""As soon as so many people are not sure what is right of an item, nobody else is asked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an item's labels come to."""

    state: State
    """open: somebody is still to be asked. tied: as many as may be asked say different things. unclear:
    MOST_UNSURE people are not sure."""
    label: str = ""
    by: tuple[str, ...] = ()
    """Who says what was accepted."""


def outcome(
    labels: Mapping[str, str], labellers: int, numbers: Numbers | None = None, unsure: Collection[str] = ()
) -> Outcome:
    """Of one item. `labels`: person → what they say now, who said something first being the first; `labellers`: how many label each
    item; `numbers`: how their labels are compared where they are numbers; `unsure`: who is not sure what is right.

    With two who differ, a third decides; where all three differ, it is tied: nobody is asked again, and it is accepted when one of
    them changes their mind.
    """
    undecided = Outcome("unclear" if len(set(unsure) - labels.keys()) >= MOST_UNSURE else "open")
    if len(labels) < labellers:
        return undecided
    people = numbers.largest(labels) if numbers else _most(labels)
    if len(people) * 2 > len(labels):
        said = [label for who, label in labels.items() if who in people]
        return Outcome("accepted", numbers.of(said) if numbers else said[0], tuple(sorted(people)))
    return undecided if len(labels) <= 2 else Outcome("tied")


def _most(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Who say what most people say."""
    best = min(Counter(labels.values()).items(), key=lambda pair: (-pair[1], pair[0]), default=("", 0))[0]
    return tuple(who for who, label in labels.items() if label == best)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree on the items that both have labelled."""

    one: str
    other: str
    items: int
    share: float
    """Of them, those with the same label; of numbers, with labels that agree."""
    kappa: float | None
    """Cohen's kappa (1960): 0, as if by chance; 1, always. None: of numbers, or both gave one and the same label throughout."""
    difference: float | None = None
    """By how much their numbers differ on average; None: of classes."""


def agreements(items: Sequence[Mapping[str, str]], numbers: Numbers | None = None) -> tuple[Agreement, ...]:
    """Of each two people who share an item; `items`: person → label of each; `numbers` as for `outcome`."""
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for labels in items:
        people = sorted(labels)
        for place, one in enumerate(people):
            for other in people[place + 1 :]:
                pairs.setdefault((one, other), []).append((labels[one], labels[other]))
    return tuple(
        _of_numbers(one, other, both, numbers) if numbers else _agreement(one, other, both)
        for (one, other), both in sorted(pairs.items())
    )


def _of_numbers(one: str, other: str, both: Sequence[tuple[str, str]], numbers: Numbers) -> Agreement:
    same = sum(numbers.agree(mine, yours) for mine, yours in both)
    pairs = [(number(mine), number(yours)) for mine, yours in both]
    off = [abs(mine - yours) for mine, yours in pairs if mine is not None and yours is not None]
    return Agreement(one, other, len(both), same / len(both), None, sum(off) / len(off) if off else None)


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
    share = sum(right) / len(right)
    return share, *share_interval(share, len(right))


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share of `n` samples; raises ZeroDivisionError without any."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)
