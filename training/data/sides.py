"""Which split each sample of a dataset belongs to, by the rule that `[split]` names. Rules without I/O.

By hash: see `split_of`. With strata, a stratum that has no sample in the holdout gives it the one with the smallest hash, and
then, likewise, one to the validation split. When samples are added, none that was in train comes into another split by that:
the smallest hash was there before, or is that of a new sample.

By time: the newest samples are the holdout, those before them the validation split. All samples of one time are in one split,
so the shares are at least what was asked for. A group is as new as its newest sample.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.dataset_toml import Fractions
from training.data.spec import SplitName
from training.data.split import splits_of

WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "holdout": "holdout",
    "test": "holdout",
}
FEWEST = 10
"""Samples per stratum, on average: with fewer, the small splits would hold too much."""


@dataclass(frozen=True, slots=True)
class Boundaries:
    """From which time on samples are in the validation split, and in the holdout."""

    validation: float
    holdout: float

    def side(self, time: float) -> SplitName:
        """The split of what was made then."""
        if time >= self.holdout:
            return "holdout"
        return "validation" if time >= self.validation else "train"


def newest(times: Sequence[float], groups: Sequence[str]) -> list[float]:
    """How new each sample counts: as the newest one of its group."""
    if not groups:
        return list(times)
    of_group: dict[str, float] = {}
    for group, time in zip(groups, times, strict=True):
        of_group[group] = max(time, of_group.get(group, time))
    return [of_group[group] for group in groups]


def boundaries(times: Sequence[float], fractions: Fractions) -> Boundaries:
    """Where the splits begin, so that each of the two has at least its share of samples; `times` is not empty."""
    ordered = sorted(times)
    total = len(ordered)
    holdout = ordered[total - max(1, round(fractions.holdout * total))]
    before = bisect_left(ordered, holdout)
    wanted = max(1, round(fractions.validation * total))
    return Boundaries(ordered[max(0, before - wanted)] if before else holdout, holdout)


def in_strata(hashes: Sequence[bytes], strata: Sequence[str], fractions: Fractions) -> list[SplitName]:
    """By the hash of each key, but so that every stratum has one in the holdout, and of two or more one in validation."""
    side: dict[bytes, SplitName] = dict(zip(hashes, splits_of(hashes, fractions), strict=True))
    members: defaultdict[str, set[bytes]] = defaultdict(set)
    for each, stratum in zip(hashes, strata, strict=True):
        members[stratum].add(each)
    small_splits: tuple[SplitName, ...] = ("holdout", "validation")
    for split in small_splits:
        lacking = [group for group in members.values() if not any(side[each] == split for each in group)]
        moved = {
            min(free)
            for group in lacking
            if (free := [each for each in group if split == "holdout" or side[each] != "holdout"])
        }
        side |= dict.fromkeys(moved, split)
    return [side[each] for each in hashes]
