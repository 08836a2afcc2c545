"""Measure what the README claims (`make bench`): ratios, taken side by side in one run, so that they hold on other machines.

start    one controller step against `python -c pass`
push     from `git push` to the mail against the bare training script: same model, data, epochs
predict  `POST /predict` against an empty Flask route behind the same gunicorn settings

Writes a table to stdout and all numbers, with every single measurement, to build/bench.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playground import Playground
from predict_speed import measure_predict
from push_to_mail import measure_push
from step_start import measure_start

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Play one pipeline in a temporary folder, measure around it, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pushes, and half the rounds of load (default 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load per round (default 3)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        playground = Playground(Path(folder))
        results = {"machine": machine(), "push": measure_push(playground, arguments.rounds)}
        results["start"] = measure_start(playground)
        results["predict"] = measure_predict(playground, 2 * arguments.rounds, arguments.seconds)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    tell(results)
    print(f"\nevery measurement: {arguments.output}")
    return 0


def machine() -> dict[str, object]:
    """Where and when it was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": commit.stdout.strip(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def tell(results: dict[str, dict]) -> None:
    """The table."""
    where, start, push, predict = (results[name] for name in ("machine", "start", "push", "predict"))
    print(
        f"\n{where['cores']} cores, Python {where['python']}, load {where['load']} at the start, commit {where['commit']}\n"
    )
    rows = [("", "ours", "against", "ratio")]
    for name, title in (("help", "trainyard --help"), ("step", "trainyard step gate (finished)")):
        rows.append(
            (
                title,
                f"{start[name]:.0f} ms",
                f"python -c pass {start['pass']:.0f} ms",
                f"{start[name] / start['pass']:.1f}",
            )
        )
    rows.append(
        (
            "git push until the mail is out",
            f"{push['push']:.1f} s",
            f"training script {push['script']:.1f} s",
            f"{push['ratio']:.2f}",
        )
    )
    rows.append(
        (
            f"POST /predict, {predict['clients']} clients",
            f"{predict['predict']:.0f}/s",
            f"empty Flask route {predict['empty']:.0f}/s",
            f"{predict['ratio']:.2f}",
        )
    )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in push["steps"].items())
    print(f"\nthe push, step by step (seconds, last round): {steps}")
    print(
        f"load made by {predict['tool']}; p50 and p99 of /predict: {predict['p50_ms']:.1f} and {predict['p99_ms']:.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
