"""Draws an evaluation's pictures in a process beside (`python -P -m pipelines.workers.plot_process`): importing matplotlib
takes longer than measuring a small model, and on another core nobody waits for it."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.records import Metrics
from training.metrics import Answers, Estimates

Draw = Callable[[Metrics, Answers | Estimates, str], None]
"""Has the pictures drawn for what was measured, what the model gave, and the name of the target.

Does not wait until they are drawn; with thousands of estimates, until who draws is ready to take them over."""


@contextlib.contextmanager
def artist(outputs: Path) -> Iterator[Draw]:
    """Who draws into `outputs`; at the end of the block the pictures stand. Raises RuntimeError when they do not.

    Started before there is anything to draw; when nothing comes, because the model could not be measured, it just ends.
    """
    command = [sys.executable, "-P", "-m", "pipelines.workers.plot_process", str(outputs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin

        def draw(found: Metrics, given: Answers | Estimates, target: str) -> None:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError), process.stdin:  # a broken one: its exit code says why
                dots = given if isinstance(given, Estimates) else None  # the others are drawn from `found`
                pickle.dump((found, dots, target), process.stdin)

        try:
            yield draw
        except BaseException:
            process.kill()
            raise
        process.stdin.close()
        if process.wait():
            raise RuntimeError(f"the pictures were not drawn: exit code {process.returncode}, see above")


def main(outputs: Path) -> None:
    """Be ready, then draw what comes on stdin, once."""
    from pipelines.workers import plots

    try:
        # what the process that started us has written, nobody else
        found, dots, target = pickle.load(sys.stdin.buffer)  # noqa: S301
    except EOFError:
        return
    if isinstance(dots, Estimates):
        plots.draw_scatter(found, dots, target, outputs / "scatter.png")
        return
    plots.draw_confusion(found, outputs / "confusion.png")
    plots.draw_calibration(found, outputs / "calibration.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
