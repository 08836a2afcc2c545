"""Measurements as a person reads them: what was measured, against what is live, and whether chance explains it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

from pipelines.text.clean import clean
from pipelines.text.markup import Block, Paragraph, Table
from registry.records import ClassMetrics, Comparison, Evaluation, Metrics, Policy, TargetMetrics, Task
from registry.text import shortened
from training.metric_table import row_of, title

NOT_COMPARABLE = "not comparable"
"""What `retraining.policy.other_classes` says of a live release that has other classes."""
REPORTED = "said by the training script, not measured here"
MAX_CLASSES = 20
MAX_NAME = 48
"""Characters of a class's name in a table."""


def short(evaluation: Evaluation, metric: str) -> str:
    """`accuracy 0.981 (live 0.972)`, or that what is live is not comparable."""
    said = f"{metric} {number(evaluation.candidate.values.get(metric, math.nan))}"
    if evaluation.live and metric in evaluation.live.values:
        said += f" (live {number(evaluation.live.values[metric])})"
    elif NOT_COMPARABLE in evaluation.live_note:
        said += f" ({NOT_COMPARABLE} with live)"
    return said


def in_words(evaluation: Evaluation, metric: str, candidate: str, live: str) -> str:
    """One or two sentences: the metric, the live release's, and how sure the difference is."""
    new, old = evaluation.candidate, evaluation.live
    value = new.values.get(metric, math.nan)
    on = f"On {new.samples:,} samples that it had never seen, {candidate}"
    if metric == "accuracy" and math.isfinite(value):
        right = "exactly the right labels" if new.task == "multi-label" else "the right answer"
        said = f"{on} gives {right} for {value * 100:.1f} %"
        if old and math.isfinite(old.values.get(metric, math.nan)):
            said += f"; {live}, which is live now, for {old.values[metric] * 100:.1f} % of the same samples"
    else:
        said = f"{on} has {_name(metric, new.task)} {number(value)}{_mean_of(new, metric)}"
        if old and metric in old.values:
            said += f"; {live}, which is live now, has {number(old.values[metric])} on the same samples"
    if evaluation.learned:
        said += f" ({evaluation.learned:,} more are left out: {live} has learned from them)"
    if evaluation.comparison:
        return f"{said}. {difference(evaluation.comparison)}"
    return f"{said}. {_sentence(evaluation.live_note)}".strip()


def blocks(evaluation: Evaluation, metric: str, candidate: str, live: str) -> Iterator[Block]:
    """All measurements against the live release's, the gate's metric first, and the classes, the weakest first."""
    new, old = evaluation.candidate, evaluation.live
    names = sorted(new.values, key=lambda name: (name != metric, row_of(name) is None))
    if old:
        rows = tuple(
            (_name(each, new.task), number(new.values[each]), number(old.values.get(each, math.nan))) for each in names
        )
        yield Table(("on samples kept aside (holdout)", candidate, f"live {live}"), rows, numbers=True)
    else:
        alone = tuple((_name(each, new.task), number(new.values[each])) for each in names)
        yield Table(("on samples kept aside (holdout)", candidate), alone, numbers=True)
        if evaluation.live_note:
            yield Paragraph(_sentence(evaluation.live_note))
    if evaluation.learned:
        yield Paragraph(
            f"Measured without {evaluation.learned:,} more samples of the holdout: {live or 'the live release'} has learned from them, as their split "
            "was another one then."
        )
    if new.classes:
        yield from _classes(new)
    if new.targets:
        yield from _targets(new, old)
    if evaluation.slices:
        yield from slices(evaluation, metric)
    if evaluation.reported:
        yield Table((REPORTED, candidate, f"live {live}, then"), tuple(reported(evaluation)), numbers=True)


def _classes(metrics: Metrics) -> Iterator[Block]:
    weakest = weakest_classes(metrics)
    rows = tuple(
        (
            shortened(clean(name), MAX_NAME),
            number(each.recall),
            number(each.precision),
            number(each.f1),
            f"{each.support:,}",
        )
        for name, each in weakest[:MAX_CLASSES]
    )
    yield Table(
        (f"{named(metrics.task)}, weakest first", "found", "right when said", "F1", "samples"), rows, numbers=True
    )
    if len(weakest) > MAX_CLASSES:
        yield Paragraph(f"... and {len(weakest) - MAX_CLASSES} more {named(metrics.task, 2)}, all better than these")


def named(task: Task, count: int = 1) -> str:
    """What is predicted of a sample: one class, or some labels."""
    if task == "multi-label":
        return "label" if count == 1 else "labels"
    if task == "anomaly":
        return "mark" if count == 1 else "marks"
    return "class" if count == 1 else "classes"


def _targets(new: Metrics, old: Metrics | None) -> Iterator[Block]:
    live = old.targets if old else {}
    shown = weakest_targets(new)
    rows = tuple(
        (
            shortened(clean(name), MAX_NAME),
            number(each.r2),
            number(each.mae),
            number(live[name].mae) if name in live else "",
            number(each.rmse),
        )
        for name, each in shown
    )
    head = ("target", "R2", "mean absolute error", "live", "root mean square error")
    yield Table(head, rows, numbers=True)
    more = len(new.targets) - len(shown)
    above = f"{sentence_of_means(new)} " if not more else f"{sentence_of_means(new)} These have the lowest R2. "
    yield Paragraph(f"{above}Each target is in units of its own.")


def sentence_of_means(metrics: Metrics) -> str:
    """What a metric that names no target is."""
    return f"A metric that names no target is the mean over all {len(metrics.targets):,}."


def weakest_targets(metrics: Metrics) -> list[tuple[str, TargetMetrics]]:
    """In the order of the dataset; of many those with the lowest R2."""
    by_r2 = sorted(
        metrics.targets, key=lambda name: (not math.isnan(metrics.targets[name].r2), metrics.targets[name].r2)
    )
    kept = set(by_r2[:MAX_CLASSES])
    return [(name, each) for name, each in metrics.targets.items() if name in kept]


def _mean_of(metrics: Metrics, metric: str) -> str:
    return f" (mean over {len(metrics.targets):,} targets)" if metrics.targets and "target=" not in metric else ""


def reported(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """What the training script says of the candidate, and one said of the live release."""
    for name, value in evaluation.reported.items():
        live = evaluation.live_reported.get(name)
        yield shortened(clean(name), MAX_NAME), number(value), "" if live is None else number(live)


def slices(evaluation: Evaluation, metric: str) -> Iterator[Block]:
    """The gate's metric on each slice, beside the live release's on the same samples."""
    rows = tuple(
        (shortened(clean(each.name), MAX_NAME), number(each.candidate), _live(each.live), f"{each.samples:,}")
        for each in evaluation.slices[:MAX_CLASSES]
    )
    yield Table((f"slice: {clean(metric, MAX_NAME)}", "candidate", "live", "samples"), rows, numbers=True)
    if more := len(evaluation.slices) - MAX_CLASSES:
        yield from [Paragraph(f"... and {more} more slices")] * (more > 0)


def _live(value: float | None) -> str:
    return "" if value is None else number(value)


def weakest_classes(metrics: Metrics) -> list[tuple[str, ClassMetrics]]:
    """By F1, the lowest first; a class without a sample has none, and comes before all others."""
    return sorted(metrics.classes.items(), key=lambda item: (not math.isnan(item[1].f1), item[1].f1))


def rules(policy: Policy) -> Iterator[str]:
    """What the gate's rules ask for, one line each; those that are only shown have none."""
    for rule in policy.rule:
        limits = (
            ("at least {:g}", rule.min),
            ("at most {:g}", rule.max),
            ("at most {:g} worse than live", rule.max_drop),
        )
        if asked := [words.format(each) for words, each in limits if each is not None]:
            yield f"{clean(rule.measure)}: {', '.join(asked)}"
    floors = [
        *policy.slice_floors.items(),
        *[("each other slice", policy.slice_floor)] * (policy.slice_floor is not None),
    ]
    yield from (f"{clean(name)}: {clean(policy.measure)} no worse than {floor:g}" for name, floor in floors)
    if policy.slice_max_drop is not None:
        yield f"each slice: at most {policy.slice_max_drop:g} worse than live"


def gap(comparison: Comparison) -> str:
    """`0.013 better (95 % interval: 0.002 worse to 0.024 better)`: of an error, too, no sign has to be read."""
    low, high = _side(comparison.low), _side(comparison.high)
    return f"{_side(comparison.difference)} (95 % interval: {low} to {high})"


def _side(difference: float) -> str:
    if not math.isfinite(difference):
        return "unknown"
    word = "better" if difference > 0 else "worse" if difference < 0 else "different"
    return f"{abs(difference):.3g} {word}"


def difference(comparison: Comparison) -> str:
    """How large a difference is, and how sure, as a sentence."""
    low, high, size = comparison.low, comparison.high, comparison.difference
    if not all(map(math.isfinite, (low, high, size))):
        return "How sure the difference is could not be computed."
    between = f"between {_side(low)} and {_side(high)}, with 95 % confidence"
    if low > 0:
        return f"That is better by {size:.3g}, and more than chance explains ({between})."
    if high < 0:
        return f"That is worse by {-size:.3g}, and more than chance explains ({between})."
    looks = "better" if size > 0 else "worse" if size < 0 else "neither better nor worse"
    by = f" by {abs(size):.3g}, but that" if size else "; any difference"
    return f"That looks {looks}{by} may well be chance ({between})."


def number(value: float) -> str:
    """Three decimals for shares, three or more significant digits else."""
    if not math.isfinite(value):
        return "n/a"
    if abs(value) <= 1:
        return f"{value:.3f}" if abs(value) >= 0.0005 or value == 0 else f"{value:.1e}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def moment(iso: str) -> str:
    """`2026-11-28T01:03:00Z` as `28 November 2026, 01:03 UTC`."""
    at = datetime.fromisoformat(iso)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _name(metric: str, task: Task) -> str:
    row, name = row_of(metric), clean(title(metric, task))
    less = ", less is better" if row and row.better < 0 else ""
    return f"{name[:-1]}{less})" if less and name.endswith(")") else f"{name}{' (less is better)' if less else ''}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
