"""From `git push` to the mail, against the training script that somebody would write without Trainyard.

Both train the digits' model on the same images for the same number of epochs, in one attempt, and both import
TensorFlow. The script reads the images, trains, measures and saves; the push also checks the data, exports and checks
the served model, draws plots, decides, registers, and tests the API, with 2 s of load that nothing can
shorten. A new comment in `model.py` makes each push a new one. Rounds alternate.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from bench_run import BenchRun, done, in_turns, median, raw
from playground import BATCH_SIZE, EPOCHS, Playground
from rows import Row

SCRIPT = Path(__file__).with_name("training_script.py")
ROUNDS = 3
LIMIT = 1.6


def measure(run: BenchRun) -> list[Row]:
    """One row: median seconds of both."""
    playground = run.playground
    splits = _lay_out(playground)
    work = {"push": lambda: _push(playground), "script": lambda: _script(playground, splits)}
    taken = in_turns(work, run.rounds(ROUNDS))
    more = {**raw(taken), "epochs": EPOCHS, "steps of the last push": _steps(playground.newest_run())}
    against = f"the bare training script: same model, data, {EPOCHS} epochs"
    title = "from `git push` to the mail, 2 s of it load test"
    return [Row(title, median(taken["push"]), "s", against, median(taken["script"]), LIMIT, raw=more)]


def _push(playground: Playground) -> None:
    playground.change_code()
    before = playground.mails()
    output = playground.push_code()
    if playground.mails() != before + 1 or "ACCEPTED: push to code" not in output:
        sys.exit(f"the push was not accepted and mailed:\n{output}")


def _lay_out(playground: Playground) -> list[str]:
    """The images as the script wants them: a folder for each split, with a folder for each class."""
    run, folders = playground.newest_run(), []
    for split in ("train", "validation", "holdout"):
        folder = playground.folder / "script" / split
        for name in json.loads((run / "validate" / "outputs" / "data" / split / "names.json").read_bytes()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / "sources" / "dataset" / "pictures" / name, folder / name)
        folders.append(str(folder))
    os.sync()
    return folders


def _script(playground: Playground, splits: list[str]) -> None:
    output = str(playground.folder / "script.keras")
    command = [sys.executable, str(SCRIPT), str(playground.work("code")), *splits, str(EPOCHS), str(BATCH_SIZE), output]
    done(command, env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")})


def _steps(run: Path) -> dict[str, float]:
    records = [json.loads(path.read_bytes()) for path in (run / "steps").glob("*.json")]
    return {each["step"]: each["seconds"] for each in sorted(records, key=lambda each: each["started_at"])}
