"""How long a command or a light step takes, against a Python that imports what any small command needs.

Every step that does no heavy work (resolve, fetch, gate, register, notify) is run as Jenkins runs it, in a process of its
own, and really does its work: resolve asks three repositories for their heads, fetch brings a new commit and writes all
files of the three (1,080 images among them), gate decides, register publishes a version of its own, notify writes a
mail. Beside them `--help`, and a step that has ended before.
The promise is about the time that we add, so it is a difference, not a ratio.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from bench_run import BenchRun, Cost, cost, done, median, raw
from playground import Playground
from rows import Row

ROUNDS = 10
LIMIT = 150.0  # ms beyond the small Python
SMALL = "python -c 'import argparse, json, hashlib'"
COMMANDS = {"config show": ("config", "show"), "registry list": ("registry", "list")}
STEPS = ("resolve", "fetch", "gate", "register", "notify")
TRAINYARD = [sys.executable, "-P", "-m", "pipelines"]


def measure(run: BenchRun) -> list[Row]:
    """Three rows: `--help`, a finished step, and the slowest of the light steps."""
    lightly = Lightly(run.playground, run.space("step_start"))
    taken: dict[str, list[Cost]] = {}
    for _ in range(run.rounds(ROUNDS) + 1):
        for name, took in lightly.one_round():
            taken.setdefault(name, []).append(took)
    taken = {name: costs[1:] for name, costs in taken.items()}  # the first round warms the disk's cache
    slowest = max(STEPS, key=lambda name: median(taken[name]))
    small = statistics.median(each.wall for each in taken["small"]) * 1000

    def row(title: str, name: str, more: dict[str, object]) -> Row:
        return Row(title, median(taken[name]) * 1000, "ms", f"`{SMALL}`", small, LIMIT, raw=more, rule="difference")

    return [
        row("start of a command (`trainyard --help`)", "help", raw(taken)),
        row("a step that is done already", "finished", {}),
        row(f"a light step at its work, the slowest ({slowest})", slowest, {}),
    ]


class Lightly:
    """One process per measurement, in turns."""

    def __init__(self, playground: Playground, space: Path) -> None:
        self.playground, self.space, self.numbers = playground, space, count(1)
        self.config = ["--config", str(playground.config)]

    def one_round(self) -> Iterator[tuple[str, Cost]]:
        """Name → what it took."""
        number = next(self.numbers)
        self.playground.change_code()
        self.playground.push_quietly("code")
        yield "small", cost(lambda: done([sys.executable, "-c", "import argparse, json, hashlib"]))
        yield "help", cost(lambda: done([*TRAINYARD, "--help"]))
        for name, words in COMMANDS.items():
            yield name, cost(lambda words=words: done([*TRAINYARD, *words, *self.config]))  # type: ignore[misc]
        yield "finished", self._step("gate", self.playground.newest_run())
        fresh = self.space / f"fresh-{number}"
        yield "resolve", self._step("resolve", fresh, "--trigger", "code", "--force")
        yield "fetch", self._step("fetch", fresh)
        again = self._run_again(number)
        for name in ("gate", "register", "notify"):
            (again / "steps" / f"{name}.json").unlink(missing_ok=True)
            yield name, self._step(name, again)
        shutil.rmtree(again)
        shutil.rmtree(fresh)

    def _step(self, name: str, folder: Path, *more: str) -> Cost:
        return cost(lambda: done([*TRAINYARD, "step", name, "--run", str(folder), *self.config, *more]))

    def _run_again(self, number: int) -> Path:
        """A copy of the finished run under another id, so that register publishes and notify has something to report.

        A run that has ended leaves its weights to the registry; they are put back.
        """
        folder = self.space / f"again-{number}"
        shutil.copytree(self.playground.newest_run(), folder, symlinks=True)
        run, result = (json.loads((folder / name).read_bytes()) for name in ("run.json", "train/result.json"))
        (version,) = [
            each.parent
            for each in (self.playground.home / "registry" / "test").glob("*/*/card.json")
            if json.loads(each.read_bytes())["run"] == run["id"]
        ]
        for name in result["files"]:
            path = folder / "train" / "outputs" / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(version / name, path)
        (folder / "run.json").write_text(json.dumps(run | {"id": f"{number:012x}"}), encoding="utf-8")
        return folder
