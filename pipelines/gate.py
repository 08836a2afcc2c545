"""The gate: whether a candidate is good enough, as a pure function that gives every failed criterion.

No files, no clock, no settings but the policy. The live release counts as it was measured anew on the same holdout: a
number from an old manifest does not compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from registry.records import DIRECTION, Evaluation, Metrics, Outcome, Policy, TestCase, TestReport, Verdict

ROUNDING = 1e-9
"""0.95 - 0.94 is a little more than 0.01 to a computer; no model should be rejected for that."""


def decide(evaluation: Evaluation, policy: Policy) -> Verdict:
    """Accepted, or the reasons: every failed criterion, not only the first one."""
    reasons = tuple(case.message for case in gate_report(evaluation, policy).failed)
    return Verdict(accepted=not reasons, reasons=reasons, policy=policy)


def gate_report(evaluation: Evaluation, policy: Policy) -> TestReport:
    """What `decide` looks at, as one case per criterion; the messages of the failed ones are the verdict's reasons."""
    new = evaluation.candidate
    cases = [_metric(new, policy), _samples(new, policy), *_numbers(new), *_floors(new, policy)]
    return TestReport("gate", (*cases, _drop(evaluation, policy)))


def worse_than_live(evaluation: Evaluation, policy: Policy) -> tuple[str, ...]:
    """The one criterion that depends on what is live, for a candidate that passed the gate before; empty when it holds."""
    case = _drop(evaluation, policy)
    return (case.message,) if case.outcome == "failed" else ()


def _metric(new: Metrics, policy: Policy) -> TestCase:
    name, limit = policy.metric, policy.threshold
    if name not in DIRECTION:
        return _case("threshold", f"[gate] metric: {name!r} is not known; known: {', '.join(DIRECTION)}")
    title, word = (
        (f"{name} at least {limit:g}", "under") if DIRECTION[name] > 0 else (f"{name} at most {limit:g}", "over")
    )
    if name not in new.values:
        return _case(title, f"{name} is not measured for {new.task}; measured: {', '.join(new.values)}")
    value = new.values[name]
    if DIRECTION[name] * value >= DIRECTION[name] * limit:  # asked this way round, NaN fails
        return _case(title)
    if math.isnan(value):
        return _case(title, f"{name} is not a number")
    shown, wanted = _pair(value, limit)
    return _case(title, f"{name} {shown} is {word} the threshold {wanted}")


def _samples(new: Metrics, policy: Policy) -> TestCase:
    title = f"at least {policy.min_samples} samples"
    if new.samples >= policy.min_samples:
        return _case(title)
    return _case(title, f"measured on {new.samples} holdout samples, the policy wants at least {policy.min_samples}")


def _numbers(new: Metrics) -> Iterator[TestCase]:
    """A metric that is NaN or infinite means that the model's answers are, whichever metric the policy names."""
    bad = [name for name, value in new.values.items() if not math.isfinite(value)]
    yield _case(
        "every metric is a number",
        f"not a number: {', '.join(bad)}; the model answers NaN or infinity on the holdout" if bad else "",
    )


def _floors(new: Metrics, policy: Policy) -> Iterator[TestCase]:
    floor = policy.class_floor
    if floor is None:
        return
    if not new.classes:
        yield _case("class floor", f"[gate] class_floor is set, but there are no classes ({new.task})")
    for name, each in new.classes.items():
        title = f"class {name!r}: recall at least {floor:g}"
        if not each.support:
            yield _case(title, f"class {name!r} has no sample in the holdout, so its recall is not known")
        elif each.recall >= floor:
            yield _case(title)
        else:
            shown, wanted = _pair(each.recall, floor)
            yield _case(title, f"class {name!r}: recall {shown} is under the floor {wanted} ({each.support} samples)")


def _drop(evaluation: Evaluation, policy: Policy) -> TestCase:
    name, title = policy.metric, f"at most {policy.max_drop:g} worse than the live release"
    if evaluation.live is None:
        return TestCase(title, "skipped", message=evaluation.live_note or "nothing is live")
    old, new = evaluation.live.values.get(name), evaluation.candidate.values.get(name)
    if old is None or new is None or name not in DIRECTION:
        return _case(title, f"{name} was not measured for both the candidate and the live release")
    drop = DIRECTION[name] * (old - new)
    if drop <= policy.max_drop + ROUNDING:  # asked this way round, NaN fails
        return _case(title)
    if math.isnan(drop):
        whose = "the live release" if math.isfinite(new) else "the candidate"
        return _case(title, f"{name} of {whose} is not a number on this holdout, so they cannot be compared")
    shown, live = _pair(new, old)
    return _case(title, f"{name} {shown} is worse than the live release's {live}, by more than {policy.max_drop:g}")


def _case(name: str, message: str = "") -> TestCase:
    outcome: Outcome = "failed" if message else "passed"
    return TestCase(name, outcome, message=message)


def _pair(one: float, other: float) -> tuple[str, str]:
    """Both numbers with as few digits as distinguish them: never `0.9000 is under 0.9000`."""
    for digits in (4, 6, 9):
        shown = f"{one:.{digits}f}", f"{other:.{digits}f}"
        if shown[0] != shown[1]:
            return shown
    return repr(one), repr(other)
