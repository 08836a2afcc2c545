"""From `git push` to the mail, against the bare training script with the same model, data and epochs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playground import BATCH_SIZE, EPOCHS, Playground

SCRIPT = Path(__file__).with_name("training_script.py")


def measure_push(playground: Playground, rounds: int) -> dict[str, object]:
    """Seconds of both, taken in turns, and the median of the ratios."""
    pushes, scripts = [], []
    for number in range(1, rounds + 1):
        print(f"push {number} of {rounds} …", file=sys.stderr)
        pushes.append(_push(playground))
        print(f"training script {number} of {rounds} …", file=sys.stderr)
        scripts.append(_script(playground))
    ratios = [push / script for push, script in zip(pushes, scripts, strict=True)]
    return {
        "push": statistics.median(pushes),
        "script": statistics.median(scripts),
        "ratio": statistics.median(ratios),
        "pushes": pushes,
        "scripts": scripts,
        "epochs": EPOCHS,
        "steps": _steps(playground.newest_run()),
    }


def _push(playground: Playground) -> float:
    playground.change_code()
    before, started = playground.mails(), time.perf_counter()
    told = playground.push_code()
    seconds = time.perf_counter() - started
    if playground.mails() != before + 1:
        sys.exit(f"the push sent no mail:\n{told}")
    return seconds


def _script(playground: Playground) -> float:
    data = playground.newest_run() / "validate" / "outputs" / "data"
    splits = [str(data / name / "files") for name in ("train", "validation", "holdout")]
    output = str(playground.folder / "script.keras")
    command = [sys.executable, SCRIPT, str(playground.work("code")), *splits, str(EPOCHS), str(BATCH_SIZE), output]
    started = time.perf_counter()
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{SCRIPT.name} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - started


def _steps(run: Path) -> dict[str, float]:
    records = [json.loads(path.read_bytes()) for path in (run / "steps").glob("*.json")]
    return {each["step"]: each["seconds"] for each in sorted(records, key=lambda each: each["started_at"])}
