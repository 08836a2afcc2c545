"""Five trivial steps in a chain: each reads the number that the one before it has written, and writes the next one.

Ours go through `trainyard run` (`five/trainyard_run.py` puts the five in the place of the steps between `resolve` and
`notify`, and nothing else is changed): settings read and checked, three repositories asked for their heads, a run's folder
made and locked, each step recorded, a mail written. That is more than five steps, to our disadvantage.

Theirs, each in an environment of its own, pinned, telemetry off, and with what suits it best: DVC's stages are shell
commands that start no Python; Kedro's nodes run in one process and pass the number in memory; Metaflow starts a process
per step, as it must. All are made to run although nothing has changed. The numbers that come out are checked.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bench_run import BenchRun, done, in_turns, median, raw
from neighbours import quiet
from playground import Playground
from rows import Row

HERE = Path(__file__).resolve().parent / "five"
ROUNDS = 7
STEPS = ("one", "two", "three", "four", "five")


def measure(run: BenchRun) -> list[Row]:
    """One row per neighbour."""
    neighbours: dict[str, Callable[[], object]] = {
        "DVC": dvc(run.neighbour("dvc"), run.space("five-dvc")),
        "Kedro": kedro(run.neighbour("kedro"), run.space("five-kedro")),
        "Metaflow": metaflow(run.neighbour("metaflow"), run.space("five-metaflow")),
    }
    work = {"Trainyard": trainyard(run.playground), **neighbours}
    in_turns(work, 1)  # to make their caches, and their bytecode
    taken = in_turns(work, run.rounds(ROUNDS))
    ours = median(taken["Trainyard"])
    return [
        Row(f"five trivial steps in a chain, against {name}", ours, "s", name, median(taken[name]), 1.0,
            raw={key: value for key, value in raw(taken).items() if key in {"Trainyard", name}})
        for name in neighbours
    ]  # fmt: skip


def trainyard(playground: Playground) -> Callable[[], object]:
    """`trainyard run code --force` with other steps."""
    command = [sys.executable, "-P", str(HERE / "trainyard_run.py"), "run", "code", "--force", "--json"]

    def work() -> None:
        result = json.loads(done(command, cwd=playground.folder))
        _must_be_five(Path(result["folder"], "five.txt").read_text(encoding="ascii"))

    return work


def dvc(python: Path, folder: Path) -> Callable[[], object]:
    """`dvc repro --force`, a stage per step."""
    program = [str(python.with_name("dvc"))]
    done([*program, "init", "--no-scm", "--quiet"], cwd=folder, env=quiet())
    shutil.copy(HERE / "dvc.yaml", folder)
    (folder / "zero.txt").write_text("0\n", encoding="ascii")

    def work() -> None:
        done([*program, "repro", "--force", "--quiet"], cwd=folder, env=quiet())
        _must_be_five((folder / "five.txt").read_text(encoding="ascii"))

    return work


def kedro(python: Path, folder: Path) -> Callable[[], object]:
    """`kedro run` in the smallest project that it takes."""
    shutil.copytree(HERE / "kedro", folder, dirs_exist_ok=True)
    command = [str(python.with_name("kedro")), "run"]

    def work() -> None:
        done(command, cwd=folder, env=quiet())
        _must_be_five((folder / "five.txt").read_text(encoding="ascii"))

    return work


def metaflow(python: Path, folder: Path) -> Callable[[], object]:
    """`flow.py run`, a `@step` per step."""
    shutil.copy(HERE / "metaflow_run.py", folder)
    settings = {"METAFLOW_HOME": str(folder), "METAFLOW_DEFAULT_METADATA": "local", "USERNAME": "bench"}
    command = [str(python), "metaflow_run.py", "--quiet", "--no-pylint", "run"]

    def work() -> None:
        done(command, cwd=folder, env=quiet() | settings)
        _must_be_five((folder / "five.txt").read_text(encoding="ascii"))

    return work


def _must_be_five(text: str) -> None:
    if text.strip() != "5":
        sys.exit(f"five steps made {text.strip()!r} of 0")
