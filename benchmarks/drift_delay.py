"""After how many labelled answers a decay is found, and how often one is found that is not there.

Streams of right and wrong answers of a real model: SEA (Street and Kim 2001: three numbers from 0 to 10, the class is whether the
first two come to a threshold at most, which changes from 8 to 9.5 or to 7; one label in ten is wrong) answered by a
logistic regression of 2,000 rows, and STAGGER (Schlimmer and Granger 1986: size, colour, shape; "small and red", then "green
or a circle"; one label in twenty is wrong) answered by a table. The holdout has 1,000 rows. Ours is
retraining.monitoring.sequences with its defaults, which knows the holdout's errors; ADWIN, DDM and Page-Hinkley of river have
theirs, and know nothing but the stream, as is usual for them. All are given the same answers.

False: of streams of 10,000 answers without a change, how many raise an alarm. Delay: the median of the answers from the change, which
comes after 2,000, to the first alarm; found: of how many streams there is one within 5,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_run import BenchRun
from rows import Row, Skipped

from retraining.monitoring.sequences import page_hinkley

TRAIN, HOLDOUT = 2000, 1000
QUIET, BEFORE, AFTER = 10_000, 2000, 5000
STREAMS = 100
OURS = "Trainyard"
CHANGES = ("SEA, 8 to 9.5", "SEA, 8 to 7", "STAGGER")
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Streams:
    """Of one kind of change; True where an answer is wrong."""

    holdout: np.ndarray
    """Shape (streams, HOLDOUT)."""
    quiet: np.ndarray
    """Shape (streams, QUIET)."""
    changing: np.ndarray
    """Shape (streams, BEFORE + AFTER)."""


@dataclass(frozen=True)
class Found:
    """Of one detector and one kind of change; an item per stream."""

    false: list[bool]
    delay: list[int | None]

    @property
    def false_percent(self) -> float:
        """Of streams without a change."""
        return 100 * sum(self.false) / len(self.false)

    @property
    def found_percent(self) -> float:
        """Of streams with one."""
        return 100 * sum(each is not None for each in self.delay) / len(self.delay)

    @property
    def median(self) -> float:
        """Answers; one that was not found counts as infinite."""
        return float(np.median([np.inf if each is None else each for each in self.delay]))


def measure(run: BenchRun) -> list[Row]:
    """Three rows per kind of change: the delay against ADWIN, what was found, what was not there."""
    count = 3 if run.quick else STREAMS
    made = {change: streams_of(change, count) for change in CHANGES}
    found = {change: {OURS: of_ours(each)} | _river(run, change, each) for change, each in made.items()}
    run.say(table(found))
    rows = []
    for change, each in found.items():
        ours, adwin = each[OURS], each.get("ADWIN")
        name, raw = "ADWIN of river 0.26.1" if adwin else "", {who: vars(one) for who, one in each.items()}
        rows += [
            Row(f"{change}: labels until a decay is found", ours.median, "", name, adwin.median if adwin else 0.0, raw=raw, rule="value"),
            Row(f"{change}: streams in which it is found", ours.found_percent, "%", name, adwin.found_percent if adwin else 0.0, rule="value"),
            Row(f"{change}: streams of {QUIET:,} labels with a false alarm", ours.false_percent, "%", name, adwin.false_percent if adwin else 0.0, rule="value"),
        ]  # fmt: skip
    return rows


def streams_of(change: str, count: int) -> Streams:
    """Always the same."""
    parts = [
        _stagger(seed) if change == "STAGGER" else _sea(seed, float(change.rsplit(maxsplit=1)[-1]))
        for seed in range(count)
    ]
    return Streams(*(np.array(each) for each in zip(*parts, strict=True)))


def of_ours(streams: Streams) -> Found:
    """A detector per stream, which knows how many errors the holdout had."""
    false, delay = [], list[int | None]()
    for holdout, quiet, changing in zip(streams.holdout, streams.quiet, streams.changing, strict=True):
        fresh = page_hinkley(int(holdout.sum()), len(holdout))
        false.append(fresh.after(quiet).found)
        before = fresh.after(changing[:BEFORE])
        if before.found:  # a false alarm: people look, and it begins anew
            before = fresh
        after = before.after(changing[BEFORE:])
        delay.append(after.seen - before.seen if after.found else None)
    return Found(false, delay)


def table(found: dict[str, dict[str, Found]]) -> str:
    """Markdown."""
    lines = ["| stream | detector | false alarms | found | delay |", "| --- | --- | --- | --- | --- |"]
    for change, each in found.items():
        for who, one in each.items():
            delay = f"{one.median:,.0f}" if np.isfinite(one.median) else "more"
            lines.append(f"| {change} | {who} | {one.false_percent:.0f} % | {one.found_percent:.0f} % | {delay} |")
    return "\n".join(lines)


def _sea(seed: int, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)

    def rows(count: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
        x = random.random((count, 3)) * 10
        return x, (x[:, 0] + x[:, 1] <= theta) != (random.random(count) < 0.1)

    model = LogisticRegression().fit(*rows(TRAIN, 8.0))

    def wrong(count: int, theta: float) -> np.ndarray:
        x, y = rows(count, theta)
        return np.asarray(model.predict(x) != y)

    return wrong(HOLDOUT, 8.0), wrong(QUIET, 8.0), np.concatenate([wrong(BEFORE, 8.0), wrong(AFTER, threshold)])


def _stagger(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)

    def wrong(count: int, *, changed: bool) -> np.ndarray:
        size, colour, shape = random.integers(0, 3, (3, count))
        answer = (size == 0) & (colour == 0)
        right = (colour == 1) | (shape == 1) if changed else answer
        return np.asarray(answer != (right != (random.random(count) < 0.05)))

    changing = np.concatenate([wrong(BEFORE, changed=False), wrong(AFTER, changed=True)])
    return wrong(HOLDOUT, changed=False), wrong(QUIET, changed=False), changing


def _river(run: BenchRun, change: str, streams: Streams) -> dict[str, Found]:
    """Detector → what it found; empty without --neighbours."""
    try:
        python = run.neighbour("river")
    except Skipped as skipped:
        run.say(str(skipped))
        return {}
    from neighbours import quiet

    path = run.space(f"drift_delay-{change.rsplit(maxsplit=1)[-1]}") / "streams.npz"
    np.savez(path, quiet=streams.quiet, changing=streams.changing)
    command = [str(python), str(HERE / "monitors" / "river_delay.py"), str(path), str(BEFORE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet())
    if done.returncode:
        sys.exit(f"river: {done.stderr[-500:]}")
    return {who: Found(**each) for who, each in json.loads(done.stdout.splitlines()[-1]).items()}
