"""The overhead per stage of Jenkins: the shell script that checks whether the agent is prepared, and the start of the step.

The step has ended before, in the build that is started again, so that nothing is done but to start, to read the settings and
the run's records, and to give the build its name and description. The time that Jenkins itself takes per stage is its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench_run import BenchRun, Cost, cost, done, median, raw
from rows import Row

ROUNDS = 20
LIMIT = 300.0  # ms beyond two bare Pythons
ROOT = Path(__file__).resolve().parents[1]


def measure(run: BenchRun) -> list[Row]:
    """One row: the start of a stage, against two starts of a bare Python."""
    workspace = prepared(run.space("jenkins_stage"))
    (workspace / "build").mkdir()
    (workspace / "build" / "run").symlink_to(run.playground.newest_run())
    environment = os.environ | {"WORKSPACE": str(workspace)}
    stage = [workspace / "pipeline/jenkins/trainyard", "step", "gate", "--build", workspace / "build"]
    words = [*map(str, stage), "--config", str(run.playground.config)]
    taken: dict[str, list[Cost]] = {"python": [], "stage": []}
    for _ in range(run.rounds(ROUNDS) + 1):
        taken["python"].append(cost(lambda: done([sys.executable, "-c", "pass"])))
        taken["stage"].append(cost(lambda: done(words, env=environment)))
    taken = {name: costs[1:] for name, costs in taken.items()}  # the first round warms the disk's cache
    ours, python = median(taken["stage"]) * 1000, median(taken["python"]) * 1000
    title = "overhead per stage of Jenkins"
    return [Row(title, ours, "ms", "two of `python -c pass`", 2 * python, LIMIT, raw=raw(taken), rule="difference")]


def prepared(workspace: Path) -> Path:
    """A workspace as jenkins/prepare leaves it, with the packages that this process has."""
    pipeline, environment = workspace / "pipeline", workspace / "environment"
    subprocess.run(["git", "clone", "--quiet", ROOT, pipeline], check=True)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=pipeline, text=True).strip()
    code = workspace / f"code-{head}"
    subprocess.run(["git", "clone", "--quiet", pipeline, code], check=True)
    packages = [str(each.parent) for each in code.glob("*/__init__.py")]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], check=True)
    environment.mkdir()
    (environment / "venv").symlink_to(sys.prefix)
    (environment / "code").symlink_to(code)
    return workspace
