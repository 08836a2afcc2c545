"""`trainyard`, with five trivial steps in the place of the real ones between `resolve` and `notify`."""

from __future__ import annotations

import sys
from types import ModuleType

from pipelines import flows
from pipelines.__main__ import main
from pipelines.context import Context
from pipelines.runs import RunFolder

STEPS = ("one", "two", "three", "four", "five")


def trivial(name: str, before: str) -> ModuleType:
    """A step like those in pipelines/steps: `main` reads a file, writes one, and says in a line what it found."""
    step = ModuleType(f"pipelines.steps.{name}")

    def work(_context: Context, folder: RunFolder) -> str:
        source = folder.root / f"{before}.txt"
        number = int(source.read_text(encoding="ascii")) if source.exists() else 0
        (folder.root / f"{name}.txt").write_text(f"{number + 1}\n", encoding="ascii")
        return f"{number + 1}"

    step.main = work  # type: ignore[attr-defined]
    return step


for before, name in zip(("zero", *STEPS), STEPS, strict=False):
    sys.modules[f"pipelines.steps.{name}"] = trivial(name, before)
flows.FLOWS = {**flows.FLOWS, "code": ("resolve", *STEPS, "notify")}
sys.exit(main())
