"""Which of the answers people are asked about: the doubtful ones, and a random share, from which accuracy is estimated.

Labels of doubtful answers alone say how often the model is wrong where it is in doubt, which is more often than it is wrong. So a
share of the queue is drawn at random from all answers, and only those count when accuracy is estimated.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from registry.dataclass import dataclass
from training.data.near_images import NEAR

By = Literal["margin", "entropy", "disagreement"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answered instance that may be asked about."""

    request: str
    row: int
    shares: tuple[float, ...] = ()
    """The probabilities, all or the largest; empty: none are known."""
    content: str = ""
    """The same for the same inputs; empty: not known."""
    image_hash: int | None = None
    """64 bits; near images differ in few."""
    other_class: bool = False
    """Another model, the candidate, answers another class."""
    labelled: bool = False
    """It has a label already, or is in the queue."""
    drawn: bool = False
    """It was drawn at random before."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One that goes into the queue."""

    answer: Answer
    why: Literal["random", "doubtful"]
    score: float
    """How doubtful, 0 to 1."""


def doubt(answer: Answer, by: By) -> float:
    """How doubtful an answer is, 0 to 1; 0 too where its probabilities are not known.

    margin: 1 - (p1 - p2) of the two largest probabilities. entropy: of all that are known, with the rest as one more, over the
    logarithm of how many there are. disagreement: 1 where the candidate answers another class, and half the margin's doubt elsewhere.
    """
    shares = sorted((each for each in answer.shares if each > 0), reverse=True)
    margin = 0.0 if not shares else 1.0 - (shares[0] - (shares[1] if len(shares) > 1 else 0.0))
    if by == "disagreement":
        return 1.0 if answer.other_class else min(max(margin, 0.0), 1.0) / 2
    if by == "margin" or len(answer.shares) < 2:
        return min(max(margin, 0.0), 1.0)
    rest = 1.0 - sum(shares)
    parts = [*shares, rest] if rest > 1e-6 else shares
    of = math.log(max(len(answer.shares) + (rest > 1e-6), 2))
    return min(max(-sum(each * math.log(each) for each in parts) / of, 0.0), 1.0)


def choose(answers: Sequence[Answer], most: int, random_share: float, by: By) -> tuple[Chosen, ...]:
    """At most `most` of `answers`: `random_share` of them (rounded up) at random, then the most doubtful, each with a doubt above 0.

    Who is chosen at random depends on the ids alone: the same answers give the same choice, whatever the order. It is a sample of
    all answers that were not drawn before, doubtful or not; so one that is labelled already may be among them, and counts as drawn
    at random from now on. Of the others no two have the same content or nearly the same image, nor those of one that is labelled.
    """
    if most < 1:
        return ()
    seen = _Seen(each for each in answers if each.labelled)
    drawn = sorted((each for each in answers if not each.drawn), key=draw)[: math.ceil(most * random_share)]
    chosen = [Chosen(each, "random", doubt(each, by)) for each in drawn if each.labelled or seen.is_new(each)]
    picked = {(each.answer.request, each.answer.row) for each in chosen}
    left = most - len(drawn)
    ranked = [
        (doubt(each, by), each) for each in answers if not each.labelled and (each.request, each.row) not in picked
    ]
    for score, each in sorted(ranked, key=lambda pair: (-pair[0], tie(pair[1]))):
        if left < 1 or score <= 0:
            break
        if seen.is_new(each):
            chosen.append(Chosen(each, "doubtful", score))
            left -= 1
    return tuple(chosen)


def tie(answer: Answer) -> bytes:
    """As `draw`, and independent of it: which of equally doubtful ones comes first."""
    return draw(answer)[::-1]


def draw(answer: Answer) -> bytes:
    """16 bytes that look random and depend on the ids alone: those with the least are drawn first."""
    return hashlib.blake2b(f"{answer.request}\0{answer.row}".encode(errors="replace"), digest_size=16).digest()


class _Seen:
    """What is in the queue already."""

    def __init__(self, answers: Iterator[Answer]) -> None:
        self._contents: set[str] = set()
        self._hashes: list[int] = []
        for each in answers:
            self.is_new(each)

    def is_new(self, answer: Answer) -> bool:
        """Whether nothing like it was seen; now it was."""
        if answer.content and answer.content in self._contents:
            return False
        if answer.image_hash is not None and _is_near(answer.image_hash, self._hashes):
            return False
        if answer.content:
            self._contents.add(answer.content)
        if answer.image_hash is not None:
            self._hashes.append(answer.image_hash)
        return True


def _is_near(image_hash: int, others: Collection[int]) -> bool:
    return any((image_hash ^ each).bit_count() <= NEAR for each in others)
