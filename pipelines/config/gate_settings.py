"""What the settings of `[gate]` must agree on: metrics with their arguments, limits that something can reach."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipelines.config.bounds import Between
from registry.records import Policy, Rule
from training.metric_table import METRICS, problems, row_of
from training.slices import slice_names

MOST_RULES = 100


def gate_problems(policy: Policy) -> Iterator[str]:
    """What is wrong with each setting, by its name."""
    found = list(problems(policy.measure)) if policy.metric in METRICS else [_not_the_main_one(policy.metric)]
    yield from (f"gate.metric: {each}" for each in found)
    if not found and (why := _impossible(policy.measure, policy.threshold)):
        yield f"gate.threshold: {why}"
    if len(policy.rule) > MOST_RULES:
        yield f"gate.rule: {len(policy.rule)} rules are too many, at most {MOST_RULES}"
    for place, rule in enumerate(policy.rule[:MOST_RULES], 1):
        yield from (f"gate.rule {place}: {each}" for each in _rule_problems(rule))
    yield from _slice_problems(policy, possible=not found)
    if policy.costs and "cost" not in {policy.metric, *(each.metric for each in policy.rule)}:
        yield 'gate.costs: nothing reads it: set gate.metric = "cost", or add a [[gate.rule]] with metric = "cost"'


def _not_the_main_one(metric: str) -> str:
    if (row := row_of(metric)) and row.source:
        return f"{metric!r:.100} is for a [[gate.rule]]: training aims at gate.metric, and cannot measure that"
    return f"{metric!r:.100} is not one of {', '.join(METRICS)}"


def _rule_problems(rule: Rule) -> Iterator[str]:
    found = list(problems(rule.measure))
    yield from found
    for name, limit in (("min", rule.min), ("max", rule.max)):
        if not found and limit is not None and (why := _impossible(rule.measure, limit)):
            yield f"{name}: {why}"
    if rule.min is not None and rule.max is not None and rule.min > rule.max:
        yield f"min {rule.min:g} is over max {rule.max:g}"
    if rule.max_drop is not None and rule.max_drop < 0:
        yield f"max_drop: {rule.max_drop:g} is negative"


def _slice_problems(policy: Policy, *, possible: bool) -> Iterator[str]:
    names = slice_names(policy.slices)
    if len(names) > MOST_RULES:
        yield f"gate.slices: {len(names)} slices are too many, at most {MOST_RULES}"
    yield from (f"gate.slices: {column}: names no value" for column, values in policy.slices.items() if not values)
    if not names and (policy.slice_floor is not None or policy.slice_max_drop is not None):
        yield "gate.slice_floor and gate.slice_max_drop: there is no slice: name columns and values in [gate.slices]"
    yield from (
        f"gate.slice_floors: {each!r:.200} is not one of {', '.join(map(repr, names[:10])) or 'the slices, as there are none'}"
        for each in policy.slice_floors
        if each not in names
    )
    floors = {"gate.slice_floor": policy.slice_floor} | {
        f"gate.slice_floors: {name}": each for name, each in policy.slice_floors.items()
    }
    for name, each in floors.items():
        if possible and each is not None and (why := _impossible(policy.measure, each)):
            yield f"{name}: {why}"


def _impossible(measure: str, limit: float) -> str:
    """Why a limit holds for every model, or for none."""
    row = row_of(measure)
    possible = Between(row.low, row.high) if row else Between(-math.inf, math.inf)
    return (
        "" if possible.low <= limit <= possible.high else f"{limit:g} is impossible for {measure}, {_range(possible)}"
    )


def _range(possible: Between) -> str:
    if math.isinf(possible.high):
        return f"which is never under {possible.low:g}"
    return f"which is {f'between {possible.low:g} and' if math.isfinite(possible.low) else 'at most'} {possible.high:g}"
