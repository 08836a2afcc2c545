"""What a container costs beside a child process, for each worker: the same worker through both runners, in turns.

Two workers: one that does nothing, and one that imports TensorFlow, because a container also has other libraries on
another file system. The time is that of `Runner.run`: preparing the job folder, start, limits, log, result, and taking all
away again. The runners live as long as a run's controller does, so the engine is opened before; both workers are run once
before, so that files are in memory. In the container the worker has the same inputs through bind mounts.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from bench_run import BenchRun, in_turns, median, raw
from rows import Row, Skipped

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits, Runner, open_runner
from registry.errors import PipelineError

ROUNDS = {"idle": 9, "tensorflow": 5}
LIMIT = 1.5  # seconds
TITLES = {
    "idle": "a worker that does nothing, in a container",
    "tensorflow": "a worker that imports TensorFlow, in a container",
}
WORKER = """
import sys
from dataclasses import dataclass
from training.worker.protocol import work

@dataclass(frozen=True)
class Said:
    text: str

def idle(folder):
    return Said("done")

def tensorflow(folder):
    import tensorflow
    return Said(tensorflow.__version__)

sys.exit(work(globals()[sys.argv[1]]))
"""


def measure(run: BenchRun) -> list[Row]:
    """A row for each worker: median seconds of both runners, the promise is about their difference."""
    folder = run.space("runner_overhead")
    (folder / "module").mkdir()
    (folder / "module" / "bench_worker.py").write_text(WORKER, encoding="utf-8")
    config = RunnerConfig(kind="docker", image=os.environ.get("TRAINYARD_RUNNER_IMAGE", ""))
    runners = {
        "docker": open_runner(config, folder / "cache"),
        "process": open_runner(RunnerConfig(), folder / "cache"),
    }
    rows = []
    for case, rounds in ROUNDS.items():
        for runner in runners.values():
            try:
                _work(runner, folder, case)
            except PipelineError as error:
                raise Skipped(f"needs a Docker engine with our images: {error} ({error.hint})") from None
        work = {
            name: (lambda runner=runner, case=case: _work(runner, folder, case)) for name, runner in runners.items()
        }
        taken = in_turns(work, run.rounds(rounds))
        ours, theirs = median(taken["docker"]), median(taken["process"])
        gaps = [one.wall - other.wall for one, other in zip(taken["docker"], taken["process"], strict=True)]
        more = {**raw(taken), "median of the rounds' differences": round(statistics.median(gaps), 4)}
        rows.append(Row(TITLES[case], ours, "s", "as a child process", theirs, LIMIT, raw=more, rule="difference"))
    return rows


def _work(runner: Runner, folder: Path, case: str) -> None:
    job = Job(
        name=case,
        module=("bench_worker", case),
        folder=folder / f"{runner.name}-{case}",
        limits=Limits(300, 8192, 20_480),
        inputs={"module": folder / "module"},
        env={"PYTHONPATH": "inputs/module"},
    )
    runner.run(job, lambda _line: None)
