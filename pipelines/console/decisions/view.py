"""A candidate in plain words, for people who decide and need not know machine learning. Pure: texts and rows from what is known."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from pipelines.console.decisions.facts import Known
from pipelines.gate import not_compared_on_recent, recent_in_words
from pipelines.text import importance, metrics
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.records import Acceptance, Candidate, Comparison, Evaluation
from training.metric_table import row_of, title

FEW = 200
"""Samples of the holdout: with fewer, a difference is easily chance."""
MOST = 20
"""Items of a list, rows of a table."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table: a metric, or a slice, of the candidate and of the live release."""

    name: str
    live: str
    candidate: str
    tone: str
    """`good`, `bad` or `plain`."""
    said: str
    """Better or worse, and whether chance explains it."""


def verdict(known: Known) -> tuple[str, str]:
    """The first sentence, and its tone: whether this is better than what is live."""
    found = known.candidate.evaluation
    if known.registered.releases and known.live_version is None:
        return "Nothing is live now: this version would be the first to answer again.", "plain"
    if known.live_version is None:
        return "Nothing is live yet: this would be the first version that customers meet.", "plain"
    compared = found.comparison
    if compared is None:
        return (
            f"Nobody knows whether it is better than version {known.live_version}, which is live: the two could not be compared.",
            "warn",
        )
    if compared.live_version != known.live_version:
        return (
            (
                f"It was compared with version {compared.live_version}; version {known.live_version} is live by now. "
                "Before anything is released, the two are compared automatically."
            ),
            "warn",
        )
    worse = [each.name for each in found.slices if each.comparison and each.comparison.high < 0]
    but = f" On some groups it is worse: {_some(worse)}." if worse else ""
    if compared.low > 0:
        said = f"It is better than version {known.live_version}, which is live, and by more than chance explains."
        return f"{said}{but}", "warn" if but else "good"
    if compared.high < 0:
        return f"It is worse than version {known.live_version}, which is live, and by more than chance explains.", "bad"
    said = f"It is about as good as version {known.live_version}, which is live: the difference may well be chance."
    return f"{said}{but}", "warn" if but else "plain"


def for_customers(known: Known) -> Iterator[str]:
    """What customers will notice, a sentence each."""
    candidate, found = known.candidate, known.candidate.evaluation
    live = f"version {found.comparison.live_version}" if found.comparison else "what is live"
    yield metrics.in_words(found, candidate.verdict.policy.measure, f"version {candidate.version}", live)
    if (seen := known.examples) and seen.live_version is not None:
        yield _answers_change(
            seen.differ, seen.fixed, seen.broken, seen.samples, candidate.signature.task == "regression"
        )
    if recent := recent_in_words(found, candidate.verdict.policy):
        yield recent
    if known.live:
        yield from _of_requests(candidate, known.live)
    if speed := _speed(known.registered.tests, known.live_tests):
        yield speed


def _answers_change(differ: int, fixed: int, broken: int, samples: int, numbers: bool) -> str:  # noqa: FBT001  (a fact)
    if not differ:
        return f"Not one of {samples:,} answers changes."
    right, wrong = ("nearer to the truth", "farther from it") if numbers else ("right", "wrong")
    return f"Of {samples:,} answers {differ:,} change: {fixed:,} become {right}, {broken:,} become {wrong}" + (
        "." if fixed + broken == differ else f", the other {differ - fixed - broken:,} neither."
    )


def _of_requests(new: Candidate, old: Candidate) -> Iterator[str]:
    """Whether the programs that ask must change."""
    now, then = ({each.name: (each.shape, each.dtype) for each in one.signature.inputs} for one in (new, old))
    if more := [each for each in now if each not in then]:
        yield f"Programs that ask it must send more than before: {_some(more)}."
    if less := [each for each in then if each not in now]:
        yield f"It does not look any more at: {_some(less)}."
    if other := [each for each in now if each in then and now[each] != then[each]]:
        yield f"Programs that ask it must send otherwise than before: {_some(other)}."
    gained = [each for each in new.signature.classes if each not in old.signature.classes]
    lost = [each for each in old.signature.classes if each not in new.signature.classes]
    if gained:
        yield f"It can give answers that customers have not seen before: {_some(gained)}."
    if lost:
        yield f"It never answers any more: {_some(lost)}."
    if not (more or less or other or gained or lost):
        yield "Programs that ask it need not change: it takes the same requests and gives the same kinds of answers."


def _speed(new: tuple[Acceptance, ...], old: tuple[Acceptance, ...]) -> str:
    mine, live = (next((each.load for each in reversed(tests) if each.load), None) for tests in (new, old))
    if mine is None or not math.isfinite(mine.p95_ms):
        return ""
    said = f"In the load test 95 % of its answers came within {mine.p95_ms:.3g} ms"
    if live and math.isfinite(live.p95_ms):
        said += f"; of the version that is live, within {live.p95_ms:.3g} ms"
    return f"{said}."


def measured(found: Evaluation, first: str) -> list[Measured]:
    """Each metric, the gate's first."""
    compared = {each.metric: each for each in (*found.comparisons, *filter(None, (found.comparison,)))}
    names = sorted(found.candidate.values, key=lambda name: (name != first, name not in compared, row_of(name) is None))
    live = found.live.values if found.live else {}
    rows = []
    for name in names[:MOST]:
        row = row_of(name)
        less = " (less is better)" if row and row.better < 0 else ""
        new, old = found.candidate.values[name], live.get(name)
        better = row.better if row else 0
        rows.append(_row(f"{clean(title(name))}{less}", new, old, compared.get(name), better))
    return rows


def sliced(found: Evaluation, measure: str) -> list[Measured]:
    """The gate's metric on each slice."""
    row = row_of(measure)
    better = row.better if row else 0
    return [
        _row(f"{clean(each.name, 80)} ({each.samples:,} samples)", each.candidate, each.live, each.comparison, better)
        for each in found.slices[:MOST]
    ]


def _row(name: str, new: float, old: float | None, compared: Comparison | None, better: float) -> Measured:
    live = "" if old is None else metrics.number(old)
    if compared:
        sure = compared.low > 0 or compared.high < 0
        tone = "plain" if not sure else "good" if compared.difference > 0 else "bad"
        how = "" if sure else "may be chance: "
        return Measured(name, live, metrics.number(new), tone, f"{how}{metrics.gap(compared)}")
    gain = better * (new - old) if old is not None and math.isfinite(new) and math.isfinite(old) else 0.0
    said = "" if old is None else "better" if gain > 0 else "worse" if gain < 0 else "the same" if new == old else ""
    return Measured(name, live, metrics.number(new), "plain", said)


def tried(known: Known) -> list[tuple[str, str, str]]:
    """What was tried: what, how it went, and its tone."""
    rows = []
    policy = known.candidate.verdict.policy
    asked = len(list(metrics.rules(policy)))
    more = f", and {asked} more rule{'s' if asked != 1 else ''} of the team" if asked else ""
    rows.append((
        "Good enough?",
        (f"Yes: {clean(title(policy.measure))} had to reach {policy.threshold:g}{more}, on {known.candidate.evaluation.candidate.samples:,} "
        "samples that it had never seen."),
        "good",
    ))  # fmt: skip
    names = {"api": "Does it answer as it should?", "load": "Is it fast enough?", "tests": "The team's own tests"}
    tests = known.registered.tests[-1:]
    for report in tests[0].reports if tests else ():
        skipped = sum(each.outcome == "skipped" for each in report.cases)
        passed = len(report.cases) - len(report.failed) - skipped
        said = f"{passed} of {len(report.cases)} passed" + (f", {skipped} were left out" if skipped else "")
        rows.append((names.get(report.suite, clean(report.suite, 60)), f"{said}.", "bad" if report.failed else "good"))
    if not tests:
        rows.append(("Tested as it would run?", "Not yet.", "warn"))
    return rows


def failed(known: Known) -> list[str]:
    """What did not pass in the newest acceptance test."""
    tests = known.registered.tests[-1:]
    if not tests or tests[0].accepted:
        return []
    cases = (f"{each.name}: {each.message}" for report in tests[0].reports for each in report.failed)
    return [clean(each, 300) for each in dict.fromkeys((*tests[0].reasons, *cases))][:MOST]


def risks(known: Known) -> Iterator[str]:
    """What somebody should weigh, a sentence each."""
    candidate, found = known.candidate, known.candidate.evaluation
    new = found.candidate
    if found.live_note and known.live_version is not None:
        yield f"{clean(found.live_note[:1].upper() + found.live_note[1:], 400).rstrip('.')}."
    if known.later:
        yield f"There is a newer version: {known.later[0]}."
    if new.samples < FEW:
        yield f"Only {new.samples:,} samples were measured: small differences are easily chance."
    if unknown := [name for name, each in new.classes.items() if not each.support]:
        yield f"How well it recognises these is not known, as there was no sample of them: {_some(unknown)}."
    weak = [name for name, each in metrics.weakest_classes(new)[:3] if each.support and each.recall < 0.5]
    if weak:
        yield f"It misses more than half of: {_some(weak)}."
    if found.learned:
        yield f"{found.learned:,} samples were left out, as one of the versions has learned from them."
    if candidate.verdict.policy.recent and (few := not_compared_on_recent(found, candidate.verdict.policy)):
        yield f"It was not compared on what customers asked recently: {clean(few, 300)}."
    if candidate.unfenced:
        yield f"While it was trained, its code could have reached: {_some(list(candidate.unfenced))}."
    if candidate.authors is None:
        yield "It is not known who made the changes in it."
    yield "The numbers hold for data like those that were measured. Nothing is known about other data."


def looks_at(known: Known) -> tuple[str, list[tuple[str, str, str]], str]:
    """What the model relies on: a sentence, rows of input, loss and interval, and what the loss is; empty when not measured."""
    found = known.candidate.evaluation.importance
    if found is None:
        return "", [], ""
    rows = [(clean(each.name, 60), metrics.number(each.loss), importance.interval(each)) for each in found.inputs[:10]]
    return re.sub("`([^`]*)`", r"“\1”", importance.in_words(found)), rows, importance.LOST[found.metric]


def _some(names: list[str]) -> str:
    shown = [clean(each, 60) for each in names[:8]]
    return ", ".join(shown) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
