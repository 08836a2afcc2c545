"""How soon the result is there when there is nothing to do. Fixed promises, in seconds: nothing to compare with.

A push that changes the README of the code repository: from `git push` until it has reported that the model stays as it is.
And `trainyard run code` again, when the same commits have been run to their end.
"""

from __future__ import annotations

import sys

from bench_run import BenchRun, in_turns, median, raw
from playground import Playground
from rows import Row

ROUNDS = 5


def measure(run: BenchRun) -> list[Row]:
    """Two rows: the push, and the run."""
    playground = run.playground
    work = {"push": lambda: _push(playground), "run": lambda: _run(playground)}
    taken = in_turns(work, run.rounds(ROUNDS))
    return [
        Row("a push that changes only the README, until the result", median(taken["push"]), "s", "", 0.0, 1.5,
            raw=raw(taken), rule="value"),
        Row("`trainyard run code` when that run has ended", median(taken["run"]), "s", "", 0.0, 0.5, rule="value"),
    ]  # fmt: skip


def _push(playground: Playground) -> None:
    playground.change_readme()
    _must_say("NOTHING TO DO", playground.push_code())


def _run(playground: Playground) -> None:
    _must_say("nothing new", playground.run(sys.executable, "-P", "-m", "pipelines", "run", "code"))


def _must_say(words: str, output: str) -> None:
    if words not in output:
        sys.exit(f"it did not say {words!r}:\n{output}")
