"""Which labels count, for the dataset and for accuracy: pure, over what the label store and the queue have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby

from registry.dataclass import dataclass
from registry.label_queue import Item
from registry.records.labels import Label
from retraining.labels.agreement import Outcome, outcome
from retraining.labels.numbers import Numbers

Asked = Mapping[tuple[str, int], Numbers | None]
"""Instances in the review queue, with how their labels are compared where they are numbers."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is taken for right of one answered instance."""

    request: str
    row: int
    label: str
    """Empty: what the model answered, which was right."""
    by: tuple[str, ...]


def asked(items: Iterable[Item], numbers: Numbers) -> Asked:
    """What is in the queue; of an answer without a class the labels are numbers."""
    return {(each.request, each.row): None if each.answered else numbers for each in items}


def said(labels: Iterable[Label]) -> dict[str, str]:
    """Person → what they say now, of one instance; `labels`: the oldest first. One who says only that the answer was wrong does
    not say what is right, and is left out. Who said something first is the first."""
    newest = {each.by: each for each in labels}
    return {by: each.value for by, each in newest.items() if each.value or each.correct}


def is_wrong(labels: Iterable[Label], labellers: int) -> bool:
    """Whether as many people as are asked say now of one instance that its answer was wrong, and nobody says what is right."""
    newest = {each.by: each for each in labels}
    return len(newest) >= labellers and all(each.correct is False and not each.value for each in newest.values())


def accepted(labels: Iterable[Label], queue: Asked, labellers: int) -> Iterator[Accepted]:
    """Of instances in the review queue, what most of those say who were asked; of others the newest label, whoever says it.

    `labels`: sorted by request and row, the oldest of each first, as `LabelStore.all` gives them.
    """
    for (request, row), group in groupby(labels, key=lambda each: (each.request, each.row)):
        of_row = list(group)
        if (request, row) in queue:
            found = outcome(said(of_row), labellers, queue[request, row])
            if found.state == "accepted":
                yield Accepted(request, row, found.label, found.by)
        elif of_row[-1].value or of_row[-1].correct:
            yield Accepted(request, row, of_row[-1].value, (of_row[-1].by,))


def states(
    labels: Iterable[Label], queue: Asked, labellers: int, unsure: Mapping[tuple[str, int], Collection[str]]
) -> Mapping[tuple[str, int], Outcome]:
    """Of each instance in the queue, how far it is; `unsure`: who is not sure what is right of which."""
    found = dict.fromkeys(queue, Outcome("open"))
    found |= {key: outcome({}, labellers, None, people) for key, people in unsure.items() if key in found}
    for key, group in groupby(labels, key=lambda each: (each.request, each.row)):
        if key in found:
            found[key] = outcome(said(group), labellers, queue[key], unsure.get(key, ()))
    return found
