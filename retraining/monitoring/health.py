"""What was found in a window, as checks: an outcome each, with a sentence for people. Pure.

Of columns that pass, one check each is kept, and of those that fail every one: a record of thousands of columns stays readable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from registry.records.monitoring import Check, CheckOutcome
from retraining.monitoring.calibration import Estimate
from retraining.monitoring.drift import Column, Finding, Limits
from retraining.monitoring.quality import FEWEST, Floats, Measured, has_dropped, proportion
from retraining.monitoring.sequences import PageHinkley, follow
from retraining.monitoring.sketches import Categories, Numbers
from training.metric_table import better

WORTH = (
    "estimated from the model's own confidence: true where only other cases come than before; where the right answer to the "
    "same case has changed, it does not see that"
)
DROPPED_SHARE = 0.01
"""Of the lines, those that the API may lose before a check fails."""
NAMED = 5
"""Columns that a note names."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a window says of the API itself."""

    requests: int
    """That were answered or refused, and logged."""
    errors: int
    """Those with 5xx."""
    milliseconds: Floats
    """Of answered requests, shape (requests,)."""
    lines: int
    """Of the log."""
    dropped: int
    """That the API could not write."""
    quiet_hours: float | None
    """From the last line to the end of the window; None: there has never been one."""


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """When a check of the API fails."""

    error_share: float = 0.05
    latency_ms: float = 0.0
    """Of 95 % of the answers; 0: any."""
    quiet_hours: float = 0.0
    """0: for ever."""


def drift_checks(
    findings: Sequence[Finding],
    then: Mapping[str, Numbers | Categories],
    now: Mapping[str, Column],
    limits: Limits,
) -> Iterator[Check]:
    """Every failed finding; of a column without one, the check of its distribution."""
    by_column = sorted(findings, key=lambda each: each.column)
    for column, group in groupby(by_column, key=lambda each: each.column):
        found = list(group)
        if failed := [each for each in found if each.failed]:
            yield from (_drifted(each, then[column], now[column], limits) for each in failed)
            continue
        whole = next((each for each in found if each.what == "distribution"), None)
        if whole:
            reason = f"{column}: no change that matters, in {whole.rows:,} rows"
            yield _of_finding(whole, "passed", reason, limits.effect)
        else:
            reason = f"{column}: fewer than {limits.min_rows:,} rows have a value, too few to compare"
            yield Check("drift", "distribution", "unknown", reason, column, rows=found[0].rows)


def quality_check(
    metric: str, now: Measured | str, then: float, of_then: int, max_drop: float, labels: str = ""
) -> Check:
    """Of answers with labels. `now`: a sentence where there is nothing to measure; `labels`: which those are, in words."""
    if isinstance(now, str):
        return Check("decay", metric, "unknown", now)
    limit = then - better(metric) * max_drop
    seen = (
        f"{metric} is {now.value:.4g} (95 %: {now.low:.4g} to {now.high:.4g}) on {now.rows:,} labelled answers{labels}"
    )
    if not math.isfinite(then):
        outcome: CheckOutcome = "unknown"
        reason = f"{seen}; the version's card does not have it for the holdout"
        limit_shown = None
    elif now.rows < FEWEST:
        outcome, limit_shown = "unknown", _short(limit)
        reason = f"{seen}: fewer than {FEWEST} are too few to decide; it was {then:.4g} on the holdout"
    else:
        failed = has_dropped(metric, now, then, of_then, max_drop)
        outcome, limit_shown = "failed" if failed else "passed", _short(limit)
        reason = f"{seen}; on the holdout it was {then:.4g}" + (
            f", and {max_drop:.4g} worse is allowed" if failed else ""
        )
    return Check(
        "decay", metric, outcome, reason, statistic=_short(now.value), threshold=limit_shown, then=_short(then),
        now=_short(now.value), low=_short(now.low), high=_short(now.high), rows=now.rows,
    )  # fmt: skip


def sequence_check(start: PageHinkley, errors: NDArray[np.bool_]) -> Check:
    """Of the errors, one labelled answer after the other: bool, shape (rows,), True where one was wrong."""
    followed, rows, usual = follow(start, errors), len(errors), 100 * start.usual
    found = followed.last
    if found.found:
        next_ones = errors[found.since : found.seen]
        reason = (
            f"errors have become more frequent after {found.since:,} of {rows:,} labelled answers: of the next {len(next_ones):,} "
            f"{np.mean(next_ones):.1%} were wrong, and not {usual:.3g} %, as the holdout leads to expect; chance does so once in {math.exp(found.threshold):,.0f} answers"
        )
    else:
        newest = f"the newest {rows - followed.recovered:,} of {rows:,}" if followed.recovered else f"{rows:,}"
        reason = f"the order of errors in {newest} labelled answers speaks for no more of them than {usual:.3g} of 100"
        if followed.recovered:
            reason += "; before, they were more frequent"
    return Check(
        "decay", "sequence of errors", "failed" if found.found else "passed", reason,
        statistic=_short(found.evidence), threshold=_short(found.threshold), rows=rows,
    )  # fmt: skip


def estimate_check(found: Estimate, then: float, max_drop: float) -> Check:
    """Of accuracy without labels. Its interval has the chance of the holdout in it already. Unknown where the model was right about
    all of the holdout: then no confidence is known to mean an error."""
    if then >= 1:
        reason = "on the holdout every answer was right, so that no confidence is known to mean errors: labels would say more"
        return Check("decay", "estimated accuracy", "unknown", reason, then=1.0, rows=found.rows)
    failed = found.high < then - max_drop
    reason = (
        f"accuracy is probably {found.value:.4g} (95 %: {found.low:.4g} to {found.high:.4g}) on {found.rows:,} answers, and was "
        f"{then:.4g} on the holdout; {WORTH}"
    )
    return Check(
        "decay", "estimated accuracy", "failed" if failed else "passed", reason, statistic=_short(found.value),
        threshold=_short(then - max_drop), then=_short(then), now=_short(found.value), low=_short(found.low),
        high=_short(found.high), rows=found.rows,
    )  # fmt: skip


def service_checks(seen: Traffic, limits: ServiceLimits) -> Iterator[Check]:
    """Of the API, as the log shows it."""
    if seen.requests:
        yield _error_check(seen, limits.error_share)
    if limits.latency_ms:
        yield _latency_check(seen.milliseconds, limits.latency_ms)
    if limits.quiet_hours:
        yield _traffic_check(seen, limits.quiet_hours)
    if seen.lines or seen.dropped:
        yield _dropped_check(seen)


def names_in_words(names: Sequence[str]) -> str:
    """Some of them, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def failed_first(checks: Sequence[Check]) -> tuple[Check, ...]:
    """In the order of a health record."""
    return tuple(sorted(checks, key=lambda each: each.outcome != "failed"))


def _error_check(seen: Traffic, limit: float) -> Check:
    """Failed where the interval of the share lies above what is allowed: one of three requests shows little."""
    found = proportion(seen.errors, seen.requests)
    failed = found.low > limit
    reason = f"{seen.errors:,} of {seen.requests:,} requests ended with 5xx ({_percent(found.value)}; {_percent(limit)} are allowed)"
    return Check(
        "service", "error share", "failed" if failed else "passed", reason, statistic=_short(found.value), threshold=limit,
        now=_short(found.value), low=_short(found.low), high=_short(found.high), rows=seen.requests,
    )  # fmt: skip


def _latency_check(milliseconds: Floats, limit: float) -> Check:
    known = np.sort(milliseconds[np.isfinite(milliseconds)])
    count = len(known)
    if count < FEWEST:
        return Check(
            "service", "latency", "unknown", f"{count} answers are too few to measure a latency by", rows=count
        )
    half = 1.96 * math.sqrt(0.95 * 0.05 / count)
    low, value, high = (
        float(known[min(int(count * share), count - 1)]) for share in (0.95 - half, 0.95, min(0.95 + half, 1))
    )
    reason = f"95 % of {count:,} answers took at most {value:.4g} ms; {limit:.4g} ms are allowed"
    return Check(
        "service", "latency", "failed" if low > limit else "passed", reason, statistic=value, threshold=limit, now=value,
        low=low, high=high, rows=count,
    )  # fmt: skip


def _traffic_check(seen: Traffic, limit: float) -> Check:
    if seen.quiet_hours is None:
        return Check("service", "traffic", "unknown", "the prediction log has never had a line", threshold=limit)
    failed = seen.quiet_hours >= limit
    reason = f"the last request was {seen.quiet_hours:.3g} hours before the end of the window; {limit:.3g} are allowed"
    quiet = _short(seen.quiet_hours)
    return Check("service", "traffic", "failed" if failed else "passed", reason, threshold=limit, now=quiet)


def _dropped_check(seen: Traffic) -> Check:
    share = seen.dropped / (seen.dropped + seen.lines)
    if seen.dropped:
        reason = (
            f"the API could not keep {seen.dropped:,} of {seen.dropped + seen.lines:,} lines of the prediction log "
            f"({_percent(share)}; {_percent(DROPPED_SHARE)} are allowed): the disk is full, or there is too much traffic for it"
        )
    else:
        reason = f"the API has kept all {seen.lines:,} lines of the prediction log"
    outcome: CheckOutcome = "failed" if share > DROPPED_SHARE else "passed"
    now = _short(share)
    return Check("service", "dropped lines", outcome, reason, threshold=DROPPED_SHARE, now=now, rows=seen.lines)


def _drifted(found: Finding, then: Numbers | Categories, now: Column, limits: Limits) -> Check:
    rows = f"{found.rows:,} rows; chance alone does so in {_seldom(found.p)} windows"
    limit = limits.effect if found.what == "distribution" else limits.share
    matters = f"; from {_percent(limit)} on it matters"
    if found.what == "distribution":
        changed, old, new = _changed(then, now)
        how = (
            f"{_percent(found.effect)} of the rows have another value than before"
            if isinstance(then, Categories)
            else f"the share of rows below one value has changed by {_percent(found.effect)}"
        )
        reason = f"{found.column}: on the holdout {changed}; {how}{matters} ({rows})"
        return _of_finding(found, "failed", reason, limit, old, new)
    old, new = _shares(found, then, now)
    if found.what == "missing":
        what = "it is missing"
    elif found.what == "new values":
        what = f"it has values that the holdout did not have{_examples(then, now)}"
    else:
        what = f"it is outside of the holdout's range{_range(then)}"
    reason = (
        f"{found.column}: in {_percent(new)} of the rows {what}; on the holdout in {_percent(old)}{matters} ({rows})"
    )
    return _of_finding(found, "failed", reason, limit, old, new)


def _of_finding(
    found: Finding,
    outcome: CheckOutcome,
    reason: str,
    limit: float,
    then: float | None = None,
    now: float | None = None,
) -> Check:
    return Check(
        "drift", found.what, outcome, reason, found.column, statistic=_short(found.statistic), threshold=limit,
        p=_short(found.p), effect=_short(found.effect), then=_short(then), now=_short(now), rows=found.rows,
    )  # fmt: skip


def _changed(then: Numbers | Categories, now: Column) -> tuple[str, float, float]:
    """What has changed most, in words, and as numbers: a median, or the share of one value."""
    if isinstance(then, Numbers) or not isinstance(now, Categories):
        assert isinstance(then, Numbers)
        assert not isinstance(now, Categories)
        old = float(then.knots[min(int(np.searchsorted(then.upto, 0.5)), len(then.knots) - 1)])
        new = float(np.median(now[np.isfinite(now)]))
        return f"the median was {old:,.6g}, and now it is {new:,.6g}", old, new
    shares = {
        each: (then.counts.get(each, 0) / then.count, now.counts.get(each, 0) / now.count)
        for each in sorted({*then.counts, *now.counts})
    }
    value, (old, new) = max(shares.items(), key=lambda each: abs(each[1][0] - each[1][1]))
    return f"{value[:60]!r} was {_percent(old)}, and now it is {_percent(new)}", old, new


def _shares(found: Finding, then: Numbers | Categories, now: Column) -> tuple[float, float]:
    """Of the holdout's samples and of the window's rows."""
    if found.what == "missing":
        missing = now.missing if isinstance(now, Categories) else int((~np.isfinite(now)).sum())
        return then.missing / max(then.count + then.missing, 1), missing / found.rows
    if isinstance(then, Categories):
        old = sum(count == 1 for count in then.counts.values()) / max(then.count, 1)
    else:
        old = min(2, then.count) / max(then.count, 1)
    return old, old + found.effect


def _examples(then: Numbers | Categories, now: Column) -> str:
    assert isinstance(then, Categories)
    assert isinstance(now, Categories)
    new = sorted((each for each in now.counts if each not in then.counts), key=lambda each: (-now.counts[each], each))
    return f" ({names_in_words([repr(each[:60]) for each in new])})" if new else ""


def _range(then: Numbers | Categories) -> str:
    return f", {then.knots[0]:,.6g} to {then.knots[-1]:,.6g}" if isinstance(then, Numbers) else ""


def _seldom(p: float) -> str:
    return f"fewer than 1 of {10 ** min(6, int(-math.log10(max(p, 1e-9)))):,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(number: float | None) -> float | None:
    """With six digits, as records are read by people; None for what is not finite."""
    return float(f"{number:.6g}") if number is not None and math.isfinite(number) else None
