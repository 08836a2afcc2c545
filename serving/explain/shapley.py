"""Shapley values of columns: how much each one moves the answer away from that for an average row.

The game (Štrumbelj and Kononenko 2014; "interventional" in the package shap): a coalition of columns has its values from the
row that is explained, the other columns theirs from a background row. Each background row gives one draw: the exact
values of its game when that has few columns, else what a random order of the columns and its reverse give (antithetic
sampling). Of any draw the values sum to the answer minus that for the background row, so those of the mean do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.engines.base import Array, Arrays
from serving.explain.asker import Asker

EXACT_COLUMNS = 10
"""Of more columns there are too many coalitions: 1,024 of 10."""
LEAST_DRAWS = 2
"""A single draw has no estimate of its error."""


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """`base` plus the sum of `values` is `output`."""

    method: Literal["exact", "permutation"]
    output: float
    base: float
    values: Array
    """float64, shape (columns,)."""
    errors: Array
    """Their standard errors, from the spread of the draws: twice that covers the true value in 95 of 100 cases or more."""
    draws: int
    of: int
    """So many draws were wanted; fewer were made when the time ended."""


def shapley_values(asker: Asker, row: Arrays, background: Arrays, seed: int = 0) -> ShapleyValues:
    """Of one row: `row` has arrays of shape (1, 1), `background` of shape (draws,), both by column, in the same order.

    Raises CannotExplain when the time does not suffice for two draws.
    """
    names, of = list(row), len(next(iter(background.values())))
    output = float(asker.ask(lambda _start, _stop: row, 1, least=1)[0])
    nothing = np.zeros((1, len(names)), bool)
    few = min(of, 8)  # only to see how long a call of several rows takes
    asker.ask(lambda start, stop: _mixed(row, background, nothing, np.arange(start, stop)), few, least=1)
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(names)), (of, 1)), axis=1)
    exact = len(names) <= 2 or (len(names) <= EXACT_COLUMNS and asker.affords(of << len(names)))
    per_draw = (1 << len(names)) - 1 if exact else 2 * len(names) - 1
    asker.require(LEAST_DRAWS * per_draw)
    shared = _coalitions(len(names)) if exact else None

    def build(start: int, stop: int) -> Arrays:
        index = np.arange(start, stop)
        draw, place = index // per_draw, index % per_draw
        masks = shared[place] if shared is not None else _masks(orders[draw], place)
        return _mixed(row, background, masks, draw)

    found = asker.ask(build, of * per_draw, least=LEAST_DRAWS * per_draw)
    draws = len(found) // per_draw
    table = np.hstack([found[: draws * per_draw].reshape(draws, per_draw), np.full((draws, 1), output)])
    each = table @ _weights(len(names)) if exact else _contributions(table, orders[:draws])
    values = each.mean(axis=0)
    errors = each.std(axis=0, ddof=1) / math.sqrt(draws)
    return ShapleyValues(
        "exact" if exact else "permutation", output, output - math.fsum(values), values, errors, draws, of
    )


def _mixed(row: Arrays, background: Arrays, masks: Array, draw: Array) -> Arrays:
    """Rows with the explained row's values where the mask (rows, columns) is set, else the background row's."""
    return {
        name: np.where(masks[:, i], row[name].reshape(1), background[name][draw % len(background[name])])[:, None]
        for i, name in enumerate(row)
    }


def _coalitions(columns: int) -> Array:
    """All but the whole, bit i of the place for column i: bool, shape (2**columns - 1, columns)."""
    found: Array = (np.arange((1 << columns) - 1)[:, None] >> np.arange(columns)) & 1 == 1
    return found


def _weights(columns: int) -> Array:
    """Shapley's formula as a matrix: the answers of all coalitions (the last is the whole) times it are the values."""
    members = np.vstack([_coalitions(columns), np.ones((1, columns), bool)])
    size = members.sum(axis=1)
    of_size = [1 / (columns * math.comb(columns - 1, each)) for each in range(columns)]
    with_it = np.array([0.0, *of_size])[size]  # a coalition with the column: that without it has one member fewer
    without = np.array([*of_size, 0.0])[size]
    found: Array = np.where(members, with_it[:, None], -without[:, None])
    return found


def _masks(orders: Array, place: Array) -> Array:
    """The coalition at `place` of a draw: first the columns of its order, one more each time and all but the last, then the
    same from its end, then none. Shapes (rows, columns) and (rows,)."""
    columns = orders.shape[1]
    rank = np.argsort(orders, axis=1)
    reverse = place >= columns - 1
    rank = np.where(reverse[:, None], columns - 1 - rank, rank)
    size = np.where(place == 2 * columns - 2, 0, np.where(reverse, place - columns + 2, place + 1))
    return rank < size[:, None]


def _contributions(table: Array, orders: Array) -> Array:
    """What each column adds, the mean of both directions; `table` has a draw's answers as `_masks` orders them, then the whole."""
    columns = orders.shape[1]
    nothing, whole = table[:, -2:-1], table[:, -1:]
    found = np.empty(orders.shape)
    there = np.diff(np.hstack([nothing, table[:, : columns - 1], whole]), axis=1)
    back = np.diff(np.hstack([nothing, table[:, columns - 1 : 2 * columns - 2], whole]), axis=1)
    np.put_along_axis(found, orders, (there + back[:, ::-1]) / 2, axis=1)
    return found
