"""The gate: whether a candidate is good enough, as a pure function that gives every failed criterion.

No files, no clock, no settings but the policy. The live release counts as it was measured anew on the same holdout: a
number from an old manifest does not compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from pipelines.gate_cases import ROUNDING, case, pair
from pipelines.gate_slices import slice_cases, slice_drops
from pipelines.text import metrics
from registry.dataclass import dataclass
from registry.records import Comparison, Evaluation, Metrics, Policy, TestCase, TestReport, Verdict
from registry.records.measure import SCRIPT, name_after
from training.metric_table import METRICS, better, row_of


@dataclass(frozen=True, slots=True)
class Drop:
    """How much worse than the live release one metric may be."""

    measure: str
    at_most: float
    of: str = ""
    """Names the metric, where it is not the gate's own."""


def drops(policy: Policy) -> tuple[Drop, ...]:
    """By the gate's metric, then by its rules."""
    rules = (
        Drop(each.measure, each.max_drop, f"{each.measure}: ") for each in policy.rule if each.max_drop is not None
    )
    return (Drop(policy.measure, policy.max_drop), *rules)


def decide(evaluation: Evaluation, policy: Policy) -> Verdict:
    """Accepted, or the reasons: every failed criterion, not only the first one."""
    reasons = tuple(case.message for case in gate_report(evaluation, policy).failed)
    return Verdict(accepted=not reasons, reasons=reasons, policy=policy)


def gate_report(evaluation: Evaluation, policy: Policy) -> TestReport:
    """What `decide` looks at, as one case per criterion; the messages of the failed ones are the verdict's reasons."""
    new = evaluation.candidate
    cases = [_metric(new, policy), _samples(new, policy), *_numbers(new), *_floors(new, policy)]
    cases += _rules(evaluation, policy)
    dropped = [_drop(evaluation, each) for each in drops(policy)]
    again = [each for each in drops(policy) if not each.measure.startswith(SCRIPT)] if policy.recent else []
    recent = [_recent(evaluation, policy, each) for each in again]
    return TestReport("gate", (*cases, *slice_cases(evaluation, policy), *dropped, *recent))


def worse_than_live(evaluation: Evaluation, policy: Policy) -> tuple[str, ...]:
    """The criteria that depend on what is live, for a candidate that passed the gate before; empty when they hold."""
    cases = (*(_drop(evaluation, each) for each in drops(policy)), *slice_drops(evaluation, policy))
    return tuple(case.message for case in cases if case.outcome == "failed")


def _metric(new: Metrics, policy: Policy) -> TestCase:
    row = row_of(policy.measure)
    if row is None:
        return case("threshold", f"[gate] metric: {policy.metric!r} is not known; known: {', '.join(METRICS)}")
    return _limit(new.values.get(policy.measure), new, policy.measure, policy.threshold, row.better, "threshold")


def _rules(evaluation: Evaluation, policy: Policy) -> Iterator[TestCase]:
    for rule in policy.rule:
        value = _value(evaluation, rule.measure)
        if rule.min is not None:
            yield _limit(value, evaluation.candidate, rule.measure, rule.min, 1, "minimum")
        if rule.max is not None:
            yield _limit(value, evaluation.candidate, rule.measure, rule.max, -1, "maximum")


def _value(evaluation: Evaluation, measure: str) -> float | None:
    """Of the candidate: as it was measured, or as the script says that has made it; None: neither."""
    if name := name_after(SCRIPT, measure):
        return evaluation.reported.get(name)
    return evaluation.candidate.values.get(measure)


def _limit(value: float | None, new: Metrics, name: str, limit: float, sign: int, called: str) -> TestCase:
    """At least, with `sign` 1, or at most."""
    title = f"{name} at least {limit:g}" if sign > 0 else f"{name} at most {limit:g}"
    word = "under" if sign > 0 else "over"
    if value is None and name.startswith(SCRIPT):
        return case(title, f"{name} is not among the numbers that the training script has reported")
    if value is None:
        return case(title, f"{name} is not measured for {new.task}; measured: {', '.join(new.values)}")
    if sign * value >= sign * limit:  # asked this way round, NaN fails
        return case(title)
    if math.isnan(value):
        return case(title, f"{name} is not a number{_why(name)}")
    shown, wanted = pair(value, limit)
    return case(title, f"{name} {shown} is {word} the {called} {wanted}")


def _why(name: str) -> str:
    row = row_of(name)
    return f": {row.undefined}" if row and row.undefined else ""


def _samples(new: Metrics, policy: Policy) -> TestCase:
    title = f"at least {policy.min_samples} samples"
    if new.samples >= policy.min_samples:
        return case(title)
    return case(title, f"measured on {new.samples} holdout samples, the policy wants at least {policy.min_samples}")


def _numbers(new: Metrics) -> Iterator[TestCase]:
    """A metric that is NaN or infinite means that the model's answers are, whichever metric the policy names."""
    bad = [name for name, value in new.values.items() if not math.isfinite(value) and not _why(name)]
    yield case(
        "every metric is a number",
        f"not a number: {', '.join(bad)}; the model answers NaN or infinity on the holdout" if bad else "",
    )


def _floors(new: Metrics, policy: Policy) -> Iterator[TestCase]:
    floor = policy.class_floor
    if floor is None:
        return
    if not new.classes:
        yield case("class floor", f"[gate] class_floor is set, but there are no classes ({new.task})")
    for name, each in new.classes.items():
        title = f"class {name!r}: recall at least {floor:g}"
        if not each.support:
            yield case(title, f"class {name!r} has no sample in the holdout, so its recall is not known")
        elif each.recall >= floor:
            yield case(title)
        else:
            shown, wanted = pair(each.recall, floor)
            yield case(title, f"class {name!r}: recall {shown} is under the floor {wanted} ({each.support} samples)")


def _drop(evaluation: Evaluation, of: Drop) -> TestCase:
    name, title = of.measure, f"{of.of}at most {of.at_most:g} worse than the live release"
    if evaluation.live is None:
        return TestCase(title, "skipped", message=evaluation.live_note or "nothing is live")
    new = _value(evaluation, name)
    if said := name_after(SCRIPT, name):
        if said not in evaluation.live_reported:
            return TestCase(title, "skipped", message=f"no script has reported {said} of the live release")
        old: float | None = evaluation.live_reported[said]
    else:
        old = evaluation.live.values.get(name)
    if old is None or new is None or row_of(name) is None:
        return case(title, f"{name} was not measured for both the candidate and the live release")
    drop = better(name) * (old - new)
    if drop <= of.at_most + ROUNDING:  # asked this way round, NaN fails
        return case(title)
    if math.isnan(drop):
        whose = "the live release" if math.isfinite(new) else "the candidate"
        return case(title, f"{name} of {whose} is not a number on this holdout{_why(name)}, so they cannot be compared")
    shown, live = pair(new, old)
    return case(title, f"{name} {shown} is worse than the live release's {live}, by more than {of.at_most:g}")


def _recent(evaluation: Evaluation, policy: Policy, of: Drop) -> TestCase:
    """Worse on recent predictions by more than `max_drop`, and not by chance alone: there are often few of them, and two equal
    models differ by more than that on some. Without enough of them it is skipped, with the reason."""
    title = f"{of.of}not worse than the live release on recent predictions, by more than {of.at_most:g}"
    found = evaluation.recent
    if found is None:
        return TestCase(title, "skipped", message="nothing is live that could be compared on recent predictions")
    notes = "".join(f"; {each}" for each in found.notes)
    if found.samples < policy.min_samples:
        few = f"{found.samples} labelled recent predictions that no training saw, {policy.min_samples} are needed"
        return TestCase(title, "skipped", message=few + notes)
    compared = _comparison((found.comparison, *found.comparisons), of.measure)
    if compared is None:
        return TestCase(
            title, "skipped", message=f"{found.samples} labelled recent predictions were not compared{notes}"
        )
    if math.isnan(compared.difference):
        return case(title, f"{of.measure} is not a number on {found.samples} recent predictions{_why(of.measure)}")
    if -compared.difference <= of.at_most + ROUNDING or not compared.high < 0:
        return case(title)
    interval = f"95 % interval of the difference: {compared.low:.4f} to {compared.high:.4f}"
    return case(
        title,
        f"{of.measure} is worse than the live release's by {-compared.difference:.4f} on {found.samples} labelled recent "
        f"predictions, more than {of.at_most:g} ({interval})",
    )


def _comparison(known: Iterable[Comparison | None], measure: str) -> Comparison | None:
    return next((each for each in known if each and each.metric == measure), None)


def recent_note(evaluation: Evaluation, policy: Policy) -> str:
    """What the comparison on recent predictions came to, for people; empty when nobody has asked for it."""
    if not policy.recent:
        return ""
    case = _recent(evaluation, policy, drops(policy)[0])
    if case.message or evaluation.recent is None:
        return f"recent predictions: {case.message}"
    return f"not worse than the live release on {evaluation.recent.samples} labelled recent predictions"


def recent_in_words(evaluation: Evaluation, policy: Policy) -> str:
    """The comparison on recent predictions as sentences for mail and model card; empty when nobody has asked for it, or the verdict
    says it."""
    if not policy.recent:
        return ""
    of = drops(policy)[0]
    case, found = _recent(evaluation, policy, of), evaluation.recent
    if case.outcome == "failed":
        return ""
    compared = _comparison((found.comparison, *found.comparisons), of.measure) if found else None
    if case.message or found is None or compared is None:
        return f"Not compared on recent predictions: {case.message}."
    values = [each.values.get(of.measure, math.nan) if each else math.nan for each in (found.candidate, found.live)]
    new, old = (metrics.number(each) for each in values)
    return (
        f"On {found.samples:,} labelled recent predictions that no training saw, {of.measure} is {new}, and the live release's {old}. "
        f"{metrics.difference(compared)}"
    )


def not_compared_on_recent(evaluation: Evaluation, policy: Policy) -> str:
    """Why a candidate that has passed was not compared on recent predictions; empty when it was."""
    if not policy.recent:
        return "[gate] recent was false when it was compared with the live release"
    return _recent(evaluation, policy, drops(policy)[0]).message
