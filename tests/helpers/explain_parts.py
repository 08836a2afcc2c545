"""What tests of explanations share: games as functions of a table, and a clock."""

import numpy as np

from serving.explain.asker import Asker
from serving.explain.shapley import shapley_values
from serving.explain.target import Target


class Clock:
    """`step` later each time that it is looked at; a model may move it, too."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def values_of(function, row, background, seconds=30.0, seed=0, clock=None):
    """Of a `function` of one array (rows, columns), for a row and background rows as arrays."""
    row, background = np.asarray(row, np.float64), np.asarray(background, np.float64)

    def run(inputs, rows):
        table = np.hstack(list(inputs.values()))
        assert table.shape == (rows, len(row))
        return {"out": np.asarray(function(table)).reshape(rows, 1)}

    asker = Asker(run, Target("out"), seconds, 8 * len(row), *([clock] if clock else []))
    by_column = {f"c{i}": np.array([[each]]) for i, each in enumerate(row)}
    return shapley_values(asker, by_column, {f"c{i}": background[:, i] for i in range(len(row))}, seed)


def network(columns, seed=5):
    """A small network over so many columns: its weights as `inner` and `outer`, and itself."""
    random = np.random.default_rng(seed)
    inner, outer = random.normal(size=(columns, 6)), random.normal(size=6)
    return inner, outer, lambda table: np.tanh(table @ inner) @ outer
