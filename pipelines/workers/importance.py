"""What a model looks at: permutation importance (Breiman 2001), how much worse it gets when an input is shuffled.

An input that is shuffled among the samples keeps its distribution and loses all that it says about the target. Inputs that
say the same share the importance, and none of them may look important.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np

from pipelines.workers.compatibility import Array
from registry.records import Importance, InputImportance, Signature, Task
from training.metrics import Graded

SAMPLES = 2000
"""At most; chosen at random from more."""
MOST_BYTES = 64 << 20
"""Of the samples' inputs."""
REPEATS = 3
SECONDS = 5.0
"""After this nothing more is measured."""
POSITIONS = 64
"""Numbers of an only input, at most, that are taken for inputs of their own."""
KEPT = 100
Z95 = 1.96
Ask = Callable[[Mapping[str, Array]], Graded]
LOSES: Mapping[Task, Literal["accuracy", "mae", "hamming_loss", "mean_score"]] = {
    "classification": "accuracy",
    "regression": "mae",
    "multi-label": "hamming_loss",
    "anomaly": "mean_score",
}
"""By task: the metric whose units the losses are in."""


class Place(NamedTuple):
    """One thing to shuffle: an input, or a number of it."""

    name: str
    input: str
    position: int | None = None


def places(signature: Signature, x: Mapping[str, Array]) -> list[Place]:
    """What can be shuffled: nothing of an image or a series, whose single numbers mean little."""
    names = [each.name for each in signature.inputs]
    if signature.kind == "image":
        return []
    if len(names) > 1:
        return [Place(each, each) for each in names]
    shape = x[names[0]].shape[1:]
    if math.prod(shape) == 1:
        return [Place(names[0], names[0])]
    if len(shape) == 1 and shape[0] <= POSITIONS:
        return [Place(f"{names[0]}[{i}]", names[0], i) for i in range(shape[0])]
    return []


def choose(signature: Signature, x: Mapping[str, Array], samples: int, seed: int) -> tuple[Array, dict[str, Array]]:
    """Which samples to measure on, as sorted indices, and their inputs; none when there is nothing to shuffle."""
    wanted = places(signature, x)
    size = sum(x[each.name].nbytes for each in signature.inputs) // max(samples, 1)
    most = min(SAMPLES, samples, MOST_BYTES // max(size, 1)) if wanted else 0
    rows = np.sort(np.random.default_rng(seed).permutation(samples)[:most])
    return rows, {each.name: np.asarray(x[each.name][rows]) for each in signature.inputs} if most else {}


def importance(
    ask: Ask, signature: Signature, x: Mapping[str, Array], seed: int, clock: Callable[[], float] = time.monotonic
) -> Importance | None:
    """Of each input of the samples `x`, for which `ask` gives the model's answers; None when they are not numbers."""
    wanted, until = places(signature, x), clock() + SECONDS
    before = ask(x)
    usual = before.losses
    if not np.isfinite(usual).all():
        return None

    def rounds() -> Iterator[list[Array]]:
        """The rises of all inputs when they are shuffled once, when the time ends only of some and in the first round: shape
        (2, samples), of each sample, and of the one that got its value."""
        random = np.random.default_rng(seed)
        for number in range(REPEATS):
            rises = list[Array]()
            for place in wanted:
                if rises and clock() > until:
                    break
                order = random.permutation(len(usual))
                rise = ask(_shuffled(x, place, order)).losses - usual
                rises.append(np.stack([rise, rise[np.argsort(order)]]))
            if number == 0 or len(rises) == len(wanted):
                yield rises
            if clock() > until:
                return

    measured = list(rounds())
    means = (np.mean(each, axis=0) for each in zip(*measured, strict=True))
    found = [_interval(place.name, each) for place, each in zip(wanted, means, strict=False)]
    found.sort(key=lambda each: (math.isnan(each.loss), -each.loss))
    return Importance(LOSES[before.task], len(usual), len(measured), tuple(found[:KEPT]), len(wanted))


def _shuffled(x: Mapping[str, Array], place: Place, order: Array) -> dict[str, Array]:
    if place.position is None:
        return {**x, place.input: x[place.input][order]}
    array = x[place.input].copy()
    array[:, place.position] = array[order, place.position]
    return {**x, place.input: array}


def _interval(name: str, rises: Array) -> InputImportance:
    """Mean and 95 % interval. Each sample counts twice, as the values come from the samples as well: what it adds to the
    spread of a mean over pairs is the sum of both (Hoeffding 1948, on U-statistics)."""
    mean, samples = float(rises[0].mean()), rises.shape[1]
    half = Z95 * float(rises.sum(axis=0).std(ddof=1)) / math.sqrt(samples) if samples > 1 else math.nan
    return InputImportance(name, mean, mean - half, mean + half)
