"""`python -P -m serving.engines.packed_weights MODEL FILE`: writes the packed weights of a `.tflite` file, and compares answers.

XNNPACK ends a process whose weights it cannot write, or whose model has what it does not expect. So this is a process of its own, and
the file counts only when the model has given the same bits with it as without. A server process maps it (serving.engines.compiled).
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PROGRAM = (sys.executable, "-P", "-m", "serving.engines.packed_weights")
SUFFIX = ".packed"
SECONDS = 60.0
"""Until the program is ended. It takes 2 s for ResNet50."""
SPARE = 1.5
"""Times the size of the model: the space without which its weights are not written. Packed they take as much as unpacked."""
ROWS = (1, 2, 1)
"""Of the calls whose answers are compared."""
DIFFERENT = 3
"""The exit code that comes with a reason, on the last line of stderr."""
PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def packed_weights(model: Path, program: tuple[str, ...] = PROGRAM) -> Path | None:
    """The file with the packed weights of the model at `model`, in the same folder; made by the first process that asks.

    None: they cannot be shared, which the log has said once. An empty file remembers it.
    """
    target = model.with_name(model.name + SUFFIX)
    with (model.parent / ".packing").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_file():
            unfinished = model.with_name(f".tmp-{os.getpid()}{SUFFIX}")
            if reason := _write(model, unfinished, program):
                log.warning("each server process keeps the weights of the model for itself: %s", reason)
                unfinished.unlink(missing_ok=True)
                target.touch()
            else:
                unfinished.replace(target)
    return target if target.stat().st_size else None


def _write(model: Path, unfinished: Path, program: tuple[str, ...]) -> str:
    """Why the file was not written; empty when it was."""
    free, size = shutil.disk_usage(model.parent).free, model.stat().st_size
    if free < SPARE * size:
        return f"{model.parent} has {free >> 20} MB of space left, packed they take {size >> 20} MB"
    command = [*program, str(model), str(unfinished)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"packing them took longer than {SECONDS:.0f} s"
    if done.returncode < 0:
        return f"packing them ended by {signal.Signals(-done.returncode).name}"
    if done.returncode or not unfinished.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return said[-1][:300] if said else f"packing them ended with {done.returncode}"
    return ""


def main(model: Path, unfinished: Path) -> int:
    """Write `unfinished`; DIFFERENT when the model does not give the same answers with it, or cannot be run with it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        reason = difference(model, unfinished)
    except (RuntimeError, ValueError, MemoryError) as error:
        reason = str(error) or type(error).__name__
    if reason:
        sys.stderr.write(f"{reason}\n")
        return DIFFERENT
    return 0


def difference(model: Path, packed: Path) -> str:
    """Write `packed`, and say how answers differ from those of LiteRT's interpreter; empty: they do not."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from serving.engines.compiled import Compiled, example

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    for key, ours in Compiled(model, packed, write=True).runners().items():
        theirs = interpreter.get_signature_runner(key)
        for rows in ROWS:
            inputs = example(ours, rows, seed=rows)
            found = ours(**inputs)
            for name, wanted in theirs(**inputs).items():
                if not np.array_equal(found[name], wanted, equal_nan=wanted.dtype.kind == "f"):
                    return f"output {name} of {key} is not the same with packed weights in a file"
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
