"""Puts each sample of a dataset into its split by the rule of `[split]`, and finds what that gives away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from registry.spelling import spelling
from training.data.checks import SIDES, Checks, SampleList
from training.data.dataset_toml import DatasetFile
from training.data.sides import FEWEST, WORDS, boundaries, in_strata, newest
from training.data.spec import SPLITS, SplitName
from training.data.split import hashes, splits_of
from training.data.times import future

ONE_SIDE = "no group is in two splits"
PAST = "nothing to learn from is newer than the holdout"
NOT_AHEAD = "no sample comes from the future"


def assign(samples: SampleList, keys: Sequence[bytes], settings: DatasetFile, checks: Checks) -> None:
    """Fill `samples.splits`; what keeps a sample from having one goes to `checks`. `keys`: the hash of what each is known by,
    unless it has a group."""
    rule, total = settings.rule, len(samples.names)
    checks.leaks_are_noted = rule.leakage == "report"
    units = hashes(samples.groups) if samples.groups else keys
    if rule.by == "given":
        samples.splits = _given(samples, settings, checks)
    elif rule.by == "time":
        samples.splits = _by_time(samples, settings, checks)
    elif rule.stratify:
        samples.splits = _stratified(samples, units, settings, checks)
    else:
        samples.splits = splits_of(units, settings.split)
    if len(samples.splits) < total:  # it is reported why
        samples.splits = ["train"] * total
    elif not checks.has_failed(SIDES):
        _check_leaks(samples, settings, checks)


def _given(samples: SampleList, settings: DatasetFile, checks: Checks) -> list[SplitName]:
    checks.make(SIDES)
    by = settings.rule.column or settings.rule.file
    known = {text: WORDS.get(spelling(text).lower()) for text in set(samples.said)}
    unknown = Counter(text for text in samples.said if known[text] is None)
    for text, count in unknown.most_common():
        first = samples.called(samples.said.index(text))
        hint = f"write one of {', '.join(SPLITS)}"
        if text:
            message = f"[split] {by!r} says {text!r:.60} of {count:,} samples, the first: {first}"
            checks.fail(SIDES, message, hint, count)
        else:
            checks.fail(SIDES, f"[split] {by!r} names no split for {count:,} samples, the first: {first}", hint, count)
    if samples.said and not unknown:
        there = {known[text] for text in known}
        for split in (each for each in SPLITS if each not in there):
            hint = (
                "say of some samples that they are in it; a model is trained, chosen and measured on different samples"
            )
            checks.fail(SIDES, f"[split] {by!r} puts no sample into {split}", hint)
    return [known[text] or "train" for text in samples.said]


def _by_time(samples: SampleList, settings: DatasetFile, checks: Checks) -> list[SplitName]:
    if samples.times is None or not samples.times.values:
        return []
    times = newest(samples.times.values, samples.groups)
    begin = boundaries(times, settings.split)
    samples.boundaries = samples.times.shown(begin.validation), samples.times.shown(begin.holdout)
    first = "the validation split begins with {}, the holdout with {}".format(*samples.boundaries)
    checks.note(f"split by {settings.rule.time!r}: {first}")
    return [begin.side(time) for time in times]


def _stratified(samples: SampleList, units: Sequence[bytes], settings: DatasetFile, checks: Checks) -> list[SplitName]:
    rule = settings.rule
    strata = samples.strata if isinstance(rule.stratify, str) else samples.labels
    if len(strata) < len(units):
        return []
    different = len(set(strata))
    if isinstance(rule.stratify, str) and different * FEWEST > len(strata):
        message = f"[split] stratify: {rule.stratify!r} has {different:,} values in {len(strata):,} samples"
        checks.fail(SIDES, message, f"name a column with at least {FEWEST} samples per value, or stratify by the class")
    return in_strata(units, strata, settings.split)


def _check_leaks(samples: SampleList, settings: DatasetFile, checks: Checks) -> None:
    if samples.times:
        checks.make(NOT_AHEAD)
        if ahead := future(samples.times, datetime.now(UTC)):
            shown = samples.times.shown(samples.times.values[ahead[0]])
            message = f"{len(ahead):,} samples are newer than now, the first: {samples.called(ahead[0])} ({shown})"
            checks.leak(
                NOT_AHEAD, message, "correct the time: what is not yet known cannot be learned from", len(ahead)
            )
    if samples.groups and settings.rule.by == "given":
        _check_groups(samples, checks)
    if samples.times and settings.rule.by == "given":
        _check_past(samples, checks)
    if samples.times and settings.rule.by == "time":
        oldest = min(t for t, side in zip(samples.times.values, samples.splits, strict=True) if side == "holdout")
        if samples.boundaries and samples.times.shown(oldest) != samples.boundaries[1]:
            group = settings.source.group
            text = f"the holdout begins with {samples.boundaries[1]}, and holds older samples of groups ({group}) which reach into it, from {samples.times.shown(oldest)} on"
            checks.note(text)


def _check_groups(samples: SampleList, checks: Checks) -> None:
    checks.make(ONE_SIDE)
    first: dict[str, dict[SplitName, int]] = {}
    for index, (group, side) in enumerate(zip(samples.groups, samples.splits, strict=True)):
        first.setdefault(group, {}).setdefault(side, index)
    torn = [sides for sides in first.values() if len(sides) > 1]
    if torn:
        places = ", ".join(f"{samples.called(index)} ({side})" for side, index in torn[0].items())
        message = f"{len(torn):,} groups are in several splits, the first: {places}"
        checks.leak(ONE_SIDE, message, "put all samples of a group into one split", len(torn))


def _check_past(samples: SampleList, checks: Checks) -> None:
    """What was made after the first sample of the holdout may know what the holdout asks for."""
    assert samples.times
    checks.make(PAST)
    times = samples.times
    holdout = [t for t, side in zip(times.values, samples.splits, strict=True) if side == "holdout"]
    if not holdout:
        return
    begin = min(holdout)
    sides = zip(times.values, samples.splits, strict=True)
    if late := [i for i, (time, side) in enumerate(sides) if side != "holdout" and time > begin]:
        message = (
            f"{len(late):,} samples of train and validation are newer than the holdout's oldest ({times.shown(begin)}), "
            f"the first: {samples.called(late[0])} ({times.shown(times.values[late[0]])})"
        )
        checks.leak(
            PAST, message, "put the newest samples into the holdout, those before them into validation", len(late)
        )
