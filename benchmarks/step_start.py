"""How long a controller step takes to start, against `python -c pass` of the same Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from playground import Playground

ROUNDS = 15


def measure_start(playground: Playground) -> dict[str, object]:
    """Milliseconds, medians of ROUNDS processes each, taken in turns. `step` is a step of a run that has ended:
    it reads settings, run and record, and has nothing left to do."""
    print("starts of a step …", file=sys.stderr)
    trainyard, config = [sys.executable, "-P", "-m", "pipelines"], ["--config", str(playground.config)]
    commands = {
        "pass": [sys.executable, "-c", "pass"],
        "help": [*trainyard, "--help"],
        "step": [*trainyard, "step", "gate", "--run", str(playground.newest_run()), *config],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS + 1):
        for name, command in commands.items():
            taken[name].append(_milliseconds(command))
    kept = {name: values[1:] for name, values in taken.items()}  # the first one warms the disk's cache
    return {name: statistics.median(values) for name, values in kept.items()} | {"all": kept}


def _milliseconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return (time.perf_counter() - started) * 1000
