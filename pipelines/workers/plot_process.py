"""Draws an evaluation's plots in a process of its own (`python -P -m pipelines.workers.plot_process`): importing matplotlib
takes longer than measuring a small model, and on another core the measuring does not wait for it."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.records import Metrics
from training.anomaly import Scores
from training.metrics import Estimates, Graded

Draw = Callable[[Metrics, Graded, str], None]
"""Starts the drawing, given the metrics, the model's outputs and the name of the target.

Does not wait until the plots are drawn; with thousands of estimates, until the process is ready to read them."""


@contextlib.contextmanager
def plot_process(outputs: Path) -> Iterator[Draw]:
    """A process that draws into `outputs`; at the end of the block the plots are written, else RuntimeError.

    Enter the block before there is anything to draw. When nothing comes, because the model could not be measured, it ends.
    """
    command = [sys.executable, "-P", "-m", "pipelines.workers.plot_process", str(outputs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin

        def draw(found: Metrics, given: Graded, target: str) -> None:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError), process.stdin:  # a broken one: its exit code says why
                dots = given if isinstance(given, Estimates | Scores) else None  # the others are drawn from `found`
                pickle.dump((found, dots, target), process.stdin)

        try:
            yield draw
        except BaseException:
            process.kill()
            raise
        process.stdin.close()
        if process.wait():
            raise RuntimeError(f"the plots were not drawn: exit code {process.returncode}, see above")


def main(outputs: Path) -> None:
    """Import what drawing needs, then draw what comes on stdin, once."""
    from pipelines.workers import plots

    try:
        # only the process that started this one writes there
        found, dots, target = pickle.load(sys.stdin.buffer)  # noqa: S301
    except EOFError:
        return
    if isinstance(dots, Estimates):
        if dots.targets:
            plots.draw_targets(found, dots, outputs / "scatter.png")
        else:
            plots.draw_scatter(found, dots, target, outputs / "scatter.png")
        return
    if isinstance(dots, Scores):
        plots.draw_scores(found, dots, outputs / "scores.png")
        return
    if found.task == "multi-label":
        plots.draw_labels(found, outputs / "labels.png")
        return
    plots.draw_confusion(found, outputs / "confusion.png")
    plots.draw_calibration(found, outputs / "calibration.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
