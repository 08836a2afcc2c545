"""What every benchmark is given: how thorough to be, a folder, and a playground in which one push has been made."""

from __future__ import annotations

import functools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from playground import Playground
from rows import Skipped


@dataclass(frozen=True)
class Cost:
    """What one round took, in seconds. The CPU time is of the children that have ended: beside a noisy wall time it
    shows whether it worked or waited."""

    wall: float
    cpu: float


class BenchRun:
    """One run of `make bench`."""

    def __init__(self, folder: Path, *, quick: bool = False, neighbours: bool = False) -> None:
        self.folder, self.quick, self.with_neighbours = folder, quick, neighbours

    def rounds(self, usual: int) -> int:
        """How often to measure: `usual`, or once in a quick run."""
        return 1 if self.quick else usual

    def space(self, name: str) -> Path:
        """A new, empty folder."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        return folder

    @functools.cached_property
    def playground(self) -> Playground:
        """The digits in three repositories with hooks, pushed once: caches are warm, a version is registered."""
        self.say("the first push …")
        playground = Playground(self.space("playground"))
        playground.change_code()
        output = playground.push_code()
        if "ACCEPTED: push to code" not in output:
            sys.exit(f"the first push was not accepted:\n{output}")
        return playground

    def neighbour(self, name: str) -> Path:
        """The Python of another tool's environment, made on demand; raises Skipped without `--neighbours`."""
        if not self.with_neighbours:
            raise Skipped(f"needs {name}: run with --neighbours, which installs it under build/neighbours")
        from neighbours import environment

        return environment(name)

    def say(self, text: str) -> None:
        """What is being measured now, for the person who waits."""
        print(text, file=sys.stderr, flush=True)


def in_turns(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Cost]]:
    """Each of `work` once per round, one after the other, so that what the machine does besides affects all of them."""
    taken: dict[str, list[Cost]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, each in work.items():
            taken[name].append(cost(each))
    return taken


def cost(work: Callable[[], object]) -> Cost:
    """What `work` takes, and the processes that it starts and awaits."""
    before, started = _children(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - started, _children() - before)


def median(costs: list[Cost], kind: str = "wall") -> float:
    """The median wall or CPU seconds."""
    return statistics.median(getattr(each, kind) for each in costs)


def raw(taken: Mapping[str, list[Cost]]) -> dict[str, object]:
    """Every measurement, for `Row.raw`: name → wall and CPU seconds of each round."""
    return {
        name: {"wall": [round(each.wall, 4) for each in costs], "cpu": [round(each.cpu, 4) for each in costs]}
        for name, costs in taken.items()
    }


def done(command: list[str], *, codes: tuple[int, ...] = (0,), **options: object) -> str:
    """Run a command to its end; gives its stdout. Ends the benchmark when it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if ended.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return str(ended.stdout)


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
