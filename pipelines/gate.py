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
    recent = [_recent(evaluation, policy)] if policy.recent else []
    return TestReport("gate", (*cases, _drop(evaluation, policy), *recent))


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


def _recent(evaluation: Evaluation, policy: Policy) -> TestCase:
    """Worse on recent predictions by more than `max_drop`, and not by chance alone: there are often few of them, and two equal
    models differ by more than that on some. Without enough of them it is skipped, with the reason."""
    title = f"not worse than the live release on recent predictions, by more than {policy.max_drop:g}"
    found = evaluation.recent
    if found is None:
        return TestCase(title, "skipped", message="nothing is live that could be compared on recent predictions")
    notes = "".join(f"; {each}" for each in found.notes)
    if found.samples < policy.min_samples:
        few = f"{found.samples} labelled recent predictions that no training saw, {policy.min_samples} are needed"
        return TestCase(title, "skipped", message=few + notes)
    compared = found.comparison
    if compared is None:
        return TestCase(
            title, "skipped", message=f"{found.samples} labelled recent predictions were not compared{notes}"
        )
    if math.isnan(compared.difference):
        return _case(title, f"{policy.metric} is not a number on {found.samples} recent predictions")
    if -compared.difference <= policy.max_drop + ROUNDING or not compared.high < 0:
        return _case(title)
    interval = f"95 % interval of the difference: {compared.low:.4f} to {compared.high:.4f}"
    return _case(
        title,
        f"{policy.metric} is worse than the live release's by {-compared.difference:.4f} on {found.samples} labelled recent "
        f"predictions, more than {policy.max_drop:g} ({interval})",
    )


def recent_note(evaluation: Evaluation, policy: Policy) -> str:
    """What the comparison on recent predictions came to, for people; empty when nobody has asked for it."""
    if not policy.recent:
        return ""
    case = _recent(evaluation, policy)
    if case.message or evaluation.recent is None:
        return f"recent predictions: {case.message}"
    return f"not worse than the live release on {evaluation.recent.samples} labelled recent predictions"


def not_compared_on_recent(evaluation: Evaluation, policy: Policy) -> str:
    """Why a candidate that has passed was not compared on recent predictions; empty when it was."""
    if not policy.recent:
        return "[gate] recent was false when it was compared with the live release"
    return _recent(evaluation, policy).message


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
