"""Five nodes in Kedro; the number goes from node to node in memory."""

import itertools
from pathlib import Path

from kedro.pipeline import Pipeline, node

STEPS = ("one", "two", "three", "four", "five")


def first() -> int:
    return 1


def following(number: int) -> int:
    return number + 1


def last(number: int) -> int:
    Path("five.txt").write_text(f"{number + 1}\n", encoding="ascii")
    return number + 1


def register_pipelines() -> dict[str, Pipeline]:
    nodes = [node(first, None, STEPS[0], name=STEPS[0])]
    for before, name in itertools.pairwise(STEPS):
        nodes.append(node(last if name == STEPS[-1] else following, before, name, name=name))
    return {"__default__": Pipeline(nodes)}
