"""The gate's criteria on slices of the holdout: a floor of each, and the live release on the same samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipelines.gate_cases import ROUNDING, case, pair
from registry.records import Evaluation, Policy, SliceMetrics, TestCase
from training.metric_table import row_of


def slice_cases(evaluation: Evaluation, policy: Policy) -> Iterator[TestCase]:
    """Every criterion about a slice; one with too few samples is skipped, with the reason."""
    for each in evaluation.slices:
        floor = policy.slice_floors.get(each.name, policy.slice_floor)
        if floor is not None:
            yield _floor(each, policy, floor)
    yield from slice_drops(evaluation, policy)


def slice_drops(evaluation: Evaluation, policy: Policy) -> Iterator[TestCase]:
    """Those that compare with the live release."""
    if policy.slice_max_drop is not None:
        for each in evaluation.slices:
            yield _drop(each, evaluation, policy, policy.slice_max_drop)


def _few(each: SliceMetrics, policy: Policy) -> str:
    if each.samples >= policy.slice_min_samples:
        return ""
    return f"{each.samples} samples of the holdout, {policy.slice_min_samples} are needed"


def _floor(each: SliceMetrics, policy: Policy, floor: float) -> TestCase:
    row = row_of(policy.measure)
    sign = row.better if row else 1
    name = f"slice {each.name}: {policy.measure}"
    title = f"{name} at {'least' if sign > 0 else 'most'} {floor:g}"
    if few := _few(each, policy):
        return TestCase(title, "skipped", message=few)
    if sign * each.candidate >= sign * floor:  # asked this way round, NaN fails
        return case(title)
    if math.isnan(each.candidate):
        return case(title, f"{name} is not a number on {each.samples} samples")
    shown, wanted = pair(each.candidate, floor)
    return case(
        title, f"{name} {shown} is {'under' if sign > 0 else 'over'} the floor {wanted} ({each.samples} samples)"
    )


def _drop(each: SliceMetrics, evaluation: Evaluation, policy: Policy, at_most: float) -> TestCase:
    """As on recent predictions: a slice is small, so that chance alone must not reject."""
    title = f"slice {each.name}: not worse than the live release, by more than {at_most:g}"
    if few := _few(each, policy):
        return TestCase(title, "skipped", message=few)
    found = each.comparison
    if found is None:
        return TestCase(title, "skipped", message=evaluation.live_note or "nothing is live")
    if math.isnan(found.difference):
        return case(title, f"slice {each.name}: {policy.measure} is not a number, so they cannot be compared")
    if -found.difference <= at_most + ROUNDING or not found.high < 0:
        return case(title)
    return case(
        title,
        f"slice {each.name}: {policy.measure} is worse than the live release's by {-found.difference:.4f} on {each.samples} "
        f"samples, more than {at_most:g} (95 % interval of the difference: {found.low:.4f} to {found.high:.4f})",
    )
