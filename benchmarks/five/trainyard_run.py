"""`trainyard`, with five trivial steps in the place of the real ones between `resolve` and `notify`."""

from __future__ import annotations

import sys

from pipelines import flows, runs
from pipelines.__main__ import main
from pipelines.context import Context
from pipelines.runs import RunFolder

NAMES = ("one", "two", "three", "four", "five")


def trivial(name: str, before: str) -> flows.Step:
    """A step like the real ones: it reads a file, writes one, and gives a line that says what it found."""

    def work(_context: Context, folder: RunFolder) -> str:
        source = folder.root / f"{before}.txt"
        number = int(source.read_text(encoding="ascii")) if source.exists() else 0
        (folder.root / f"{name}.txt").write_text(f"{number + 1}\n", encoding="ascii")
        return f"{number + 1}"

    work.__name__ = name
    return flows.step()(work)


steps = [trivial(name, before) for before, name in zip(("zero", *NAMES), NAMES, strict=False)]
flows.FLOWS = {**flows.FLOWS, "code": (flows.resolve, *steps, flows.notify)}
runs.ORDER = ("resolve", *NAMES)
sys.exit(main())
