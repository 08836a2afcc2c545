"""`kill -9` of a worker: in the middle of an epoch, of a checkpoint, of a retraining, of a team's own script.

The run ends with 2 and says so; the same command resumes from the last epoch's checkpoint. The tests are one story, in this order.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import faults_parts
import pytest
import team as team_module
import without_fence
from digits_model import MODEL, digits
from faults_parts import (
    HERE,
    begin,
    change_settings,
    check_whole,
    clean_environment,
    command_line,
    epochs,
    follow,
    small_team,
    working_in,
)

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]


@pytest.fixture(autouse=True)
def _unfenced(monkeypatch):
    """The workers of these tests get their orders, and leave marks, outside of their job folders."""
    program = [sys.executable, "-P", str(Path(without_fence.__file__))]
    monkeypatch.setattr(team_module, "TRAINYARD", program)
    monkeypatch.setitem(faults_parts.begin.__kwdefaults__, "program", tuple(program))


# The repository's own code: at the file operation that the oldest order names, its process dies, or waits there to be killed.
OBEDIENT = """
import os, signal, sys
from pathlib import Path

ORDERS = sorted(Path({orders!r}).iterdir())

def obey(event, arguments):
    if ORDERS and event == EVENT and str(arguments[0]).endswith(PATH):
        ORDERS.pop(0).unlink()
        ORDERS.clear()
        if HOW:
            signal.pause()
        if event == "open":
            Path(arguments[0]).write_bytes(b"PK half of it")
        os.kill(os.getpid(), signal.SIGKILL)

if ORDERS:
    EVENT, PATH, *HOW = ORDERS[0].read_text().split()
    sys.addaudithook(obey)
"""
SCRIPT = """
import os, shutil, signal
from pathlib import Path

output = Path(os.environ["TRAINYARD_OUTPUT"])
done = output / "epochs.txt"
for epoch in range(1, 6):
    if done.exists() and str(epoch) in done.read_text().split():
        continue
    if epoch == 3 and not (output / "killed").exists():
        (output / "killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    with done.open("a") as file:
        file.write(f"{{epoch}} ")
shutil.copyfile({model!r}, output / "model.keras")
shutil.copyfile(done, {noted!r})
"""


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def team(tmp_path_factory, orders):
    team = small_team(tmp_path_factory.mktemp("team"), MODEL + OBEDIENT.format(orders=str(orders)))
    change_settings(team, {"epochs = 4\nmax_attempts": "epochs = 6\npatience = 6\nmax_attempts"})
    return team


def resumed(run):
    """After which epoch each worker has resumed, in order."""
    log = (run / "train" / "worker.log").read_text(encoding="utf-8")
    return [int(number) for number in re.findall(r"resumes after epoch (\d+)", log)]


def history(run):
    """How many epochs each attempt has."""
    found = json.loads((run / "train/outputs/history.json").read_bytes())
    return [len(each["epochs"]) for each in found["rounds"]]


def workers(run):
    """The training workers; not their supervisors."""
    commands = {pid: command_line(pid) for pid in working_in(run / "train")}
    return [pid for pid, command in commands.items() if command and b"supervisor.py" not in command]


def test_a_training_killed_in_checkpoints_and_in_an_epoch_resumes_from_its_last_epoch(team, orders):
    (orders / "1").write_text("open /state-0-2.npz.part")  # half of it is written
    (orders / "2").write_text("os.remove /state-0-1.npz")  # after progress.json
    said = team.trainyard("run", "code", code=2).stderr
    assert "killed by SIGKILL" in said, said
    (run,) = team.runs("code")
    assert resumed(run) == []
    team.trainyard("run", "code", code=2)
    assert resumed(run) == [1]

    (orders / "3").write_text("open /state-0-5.npz.part wait")  # so that we come before the end of the next epoch

    def strike(line):
        if "epoch 4/6" in line:
            for pid in workers(run):
                os.kill(pid, signal.SIGKILL)

    code, said = follow(begin(team, "run", "code"), strike)
    assert code == 2, said
    assert resumed(run) == [1, 2]
    for order in orders.iterdir():  # we may have come before it was obeyed
        order.unlink()
    team.trainyard("run", "code")
    assert resumed(run) == [1, 2, 4]
    assert history(run) == [6]
    assert max(epochs(run).count(epoch) for epoch in range(1, 7)) <= 2, "only the epoch of the kill may come twice"
    assert [card["run"] for card in team.cards()] == [run.name]
    check_whole(team.home)


def test_a_retraining_that_is_killed_resumes_from_its_last_epoch(team, orders):
    (orders / "4").write_text("os.remove /state-0-2.npz")
    team.write("dataset", digits(0, 420, inverted=True))
    team.push("dataset")
    team.trainyard("run", "dataset", code=2)
    team.trainyard("run", "dataset")
    (run,) = team.runs("dataset")
    assert resumed(run) == [3]
    assert history(run)[0] == 4
    assert team.cards()[-1]["how"] == "fine-tuned"


def test_a_script_of_the_team_finds_what_it_had_written(team):
    model = team.home / "registry/test/digits/1/model.keras"
    noted = team.folder / "epochs.txt"
    team.write("code", {"train.py": SCRIPT.format(model=str(model), noted=str(noted)), "model.py": None})
    team.push("code")
    command = 'command = ["python", "train.py"]\nrehearsal_seconds = 0'  # a rehearsal would be killed, too, each time
    change_settings(team, {"[training]": f"[training]\n{command}"})
    team.trainyard("run", "code", code=2)
    assert not noted.exists()
    team.trainyard("run", "code", code=3)  # the data have changed since: the gate rejects
    assert noted.read_text(encoding="utf-8").split() == ["1", "2", "3", "4", "5"]
    assert {json.loads(path.read_bytes())["how"] for path in team.home.glob("runs/*/train/result.json")} > {"command"}


ALTERS = """
import os, shutil
from pathlib import Path

holdout = Path.cwd().parents[2] / "validate/outputs/data/holdout/y.npy"
holdout.chmod(0o644)
holdout.write_bytes(b"all right")
shutil.copyfile({model!r}, Path(os.environ["TRAINYARD_OUTPUT"]) / "model.keras")
"""


def test_a_script_that_alters_the_holdout_is_measured_on_what_the_dataset_says(team):
    model = team.home / "registry/test/digits/1/model.keras"
    team.write("code", {"train.py": ALTERS.format(model=str(model))})
    commit, _ = team.push("code")
    said = team.trainyard("run", "code", code=3).stderr  # the data have changed since: the gate rejects
    assert "or were changed; it runs again" in said
    (run,) = [each for each in team.runs("code") if commit in (each / "run.json").read_text()]
    assert (run / "evaluate/result.json").is_file()
    assert b"all right" not in (run / "validate/outputs/data/holdout/y.npy").read_bytes()


CHECKPOINTS = """
import sys
from pathlib import Path
import numpy as np
from killed_child import dies
from training.loop.checkpoints import Checkpoints
from training.loop.history import Best, History, Progress, AttemptHistory

FILES = {"open", "os.rename", "os.remove", "os.mkdir"}
folder = Checkpoints(Path(sys.argv[1]))

def epoch(number):
    state = folder.write(f"state-0-{number}.npz", [np.full(3, number)])
    best = Best(0, number, 0.5, folder.write(f"best-0-{number}.npz", [np.full(2, number)]))
    rounds = (AttemptHistory("trained", 0, epochs=({"value": 0.5},) * number),)
    folder.save(Progress("job", History("accuracy", 0.9, 1, rounds), state, best))

kills, last = 0, 0
for number in range(1, 40):
    kills += dies(lambda: epoch(number), lambda event, _: event in FILES, number)
    found = folder.load("job")
    there = len(found.history.rounds[0].epochs) if found else 0
    assert there in {last, number}, (there, last, number)
    if found:
        assert folder.read(found.state)[0][0] == folder.read(found.best.file)[0][0] == there
    last = there
assert last == number, "without a kill it is kept"
sys.stdout.write(str(kills))
"""


def test_a_checkpoint_that_is_killed_at_any_file_operation_is_the_old_one_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHECKPOINTS, tmp_path],
        env=clean_environment() | {"PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8
