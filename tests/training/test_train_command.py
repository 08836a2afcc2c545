"""A team's own script instead of model.py."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from training_parts import PARITY, make_job, run_jobs

from registry import codec
from registry.errors import ConfigError, Corrupt, WorkerFailed
from registry.records import TrainJob
from serving.engines.base import cast_inputs, load_engine
from training.command import run_command
from training.data.spec import load_split

# In the style of many an old tutorial: argparse, its own loading, labels from the names of folders, one file at the end.
SCRIPT = """
import argparse, os, random
import numpy as np
from PIL import Image

ap = argparse.ArgumentParser()
ap.add_argument("-d", "--dataset", default=os.environ["TRAINYARD_DATA"])
ap.add_argument("-m", "--model", default=os.path.join(os.environ["TRAINYARD_OUTPUT"], "model.keras"))
ap.add_argument("-b", "--batch-size", type=int, default=32)
args = vars(ap.parse_args())

print("[INFO] loading images...")
paths = [os.path.join(root, name) for root, _, names in os.walk(os.path.join(args["dataset"], "train")) for name in names]
paths.sort()
random.seed(int(os.environ["TRAINYARD_SEED"]))
random.shuffle(paths)
data = np.array([np.array(Image.open(path), dtype="float32")[..., np.newaxis] for path in paths])
names = [path.split(os.path.sep)[-2] for path in paths]
labels = np.array([sorted(set(names)).index(name) for name in names])

print("[INFO] training network...")
import keras
start = os.environ.get("TRAINYARD_MODEL")
model = keras.saving.load_model(start) if start else keras.Sequential([
    keras.Input(data.shape[1:]), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
    keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3, activation="softmax"),
])
model.compile(loss="sparse_categorical_crossentropy", optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
model.fit(data, labels, batch_size=args["batch_size"], epochs=int(os.environ["TRAINYARD_EPOCHS"]), verbose=2)
print("[INFO] serializing network...")
model.save(args["model"])
with open(os.path.join(os.path.dirname(args["model"]), "metrics.json"), "w") as file:
    file.write('{"images": %d}' % len(data))
"""

CASES = {
    # name: (kind of error, what the message says, what the hint says, the command)
    "fails": (WorkerFailed, ["exit code 3", "cannot open the data"], "by hand", ("sh", "-c", "echo cannot open the data >&2; exit 3")),
    "killed": (WorkerFailed, ["signal 9"], "", ("sh", "-c", "kill -9 $$")),
    "leaves_nothing": (
        WorkerFailed,
        ["left no model.keras", "model.h5"],
        "TRAINYARD_OUTPUT",
        ("sh", "-c", "touch $TRAINYARD_OUTPUT/model.h5"),
    ),
    "no_program": (ConfigError, ["[training] command", "no-such-program"], "", ("no-such-program", "--now")),
    "hdf5": (
        ConfigError,
        ["HDF5"],
        "model.save",
        ("python", "-c", "import os; open(os.environ['TRAINYARD_OUTPUT'] + '/model.keras', 'wb').write(b'\\x89HDF\\r\\n\\x1a\\n')"),
    ),
    "damaged": (
        Corrupt,
        ["damaged"],
        "",
        ("sh", "-c", r"printf 'PK\003\004 and no more' > $TRAINYARD_OUTPUT/model.keras"),
    ),
}  # fmt: skip
LOOKS_AROUND = """
import os, sys
for name in sorted(os.environ):
    if name.startswith("TRAINYARD_"):
        print(name, os.environ[name])
print("python", sys.executable)
print("train", *sorted(os.listdir(os.path.join(os.environ["TRAINYARD_DATA"], "train"))))
open("beside-the-script.txt", "w").close()
print("here", *sorted(os.listdir(".")))
sys.exit(1)
"""


ALTERS = (
    "set -e; cd $TRAINYARD_DATA; for image in train/*/* validation/*/*; do printf x >> $image; rm $image; done; "
    "rmdir train/left; echo altered; exit 1"
)


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """None of them comes as far as TensorFlow."""
    at = tmp_path_factory.mktemp("commands")
    jobs = [make_job(at / name, code=None, command=command) for name, (_, _, _, command) in CASES.items()]
    looks = make_job(
        at / "looks", code=None, files={"look.py": LOOKS_AROUND}, png=True, command=("python", "look.py"), epochs=7
    )
    alters = make_job(at / "alters", code=None, png=True, command=("sh", "-c", ALTERS))
    for path in (alters / "inputs" / "train" / "files").rglob("*"):
        path.chmod(path.stat().st_mode & ~0o222)
    for path in [looks / "inputs" / "code", looks / "inputs" / "code" / "look.py"]:
        path.chmod(path.stat().st_mode & ~0o222)
    return run_jobs([*jobs, looks, alters])


@pytest.mark.parametrize("name", CASES)
def test_a_script_that_fails_is_reported_with_its_last_lines(failures, name):
    kind, words, hint, _ = CASES[name]
    failures[name].must_have_failed(kind, words, hint)


def test_a_script_finds_what_it_needs_in_its_environment(failures):
    outcome = failures["looks"]
    found = dict(line.split(" ", 1) for line in outcome.out.splitlines())
    own = outcome.folder / "command"
    assert found.pop("TRAINYARD_DATA") == str(own / "data")
    assert found.pop("TRAINYARD_OUTPUT") == str(own / "output")
    assert found["TRAINYARD_SEED"] == "1"
    assert found["TRAINYARD_EPOCHS"] == "7"
    assert found["TRAINYARD_BATCH_SIZE"] == "16"
    assert "TRAINYARD_MODEL" not in found
    assert os.path.dirname(found["python"]) == os.path.dirname(sys.executable)
    assert found["train"] == "left middle right"
    assert found["here"] == "beside-the-script.txt look.py"
    assert [path.name for path in (outcome.folder / "inputs" / "code").iterdir()] == ["look.py"]


def test_a_script_may_alter_its_data_and_that_alters_no_one_elses(failures):
    outcome = failures["alters"]
    assert "altered" in outcome.out
    for split in ("train", "validation"):
        found = sorted((outcome.folder / "inputs" / split / "files").rglob("*.png"))
        assert len(found) == len(load_split(outcome.folder / "inputs" / split).names)
        assert all(path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in found)


def test_a_script_cannot_change_the_model_it_starts_from(tmp_path):
    folder = make_job(tmp_path / "job", code=None)
    registered = tmp_path / "model.keras"
    registered.write_bytes(b"the model of the registry")
    script = "cat $TRAINYARD_MODEL > $TRAINYARD_OUTPUT/model.keras && echo overwritten > $TRAINYARD_MODEL"
    job = dataclasses.replace(codec.read(TrainJob, folder / "job.json"), command=("sh", "-c", script))
    for _ in range(2):  # a second try begins with the model as it was
        made = run_command(job, folder, 1, registered)
        assert made.read_bytes() == registered.read_bytes() == b"the model of the registry"


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_script_of_an_old_tutorial_gives_a_model_that_can_be_served(tmp_path):
    command = ("python", "train.py", "--batch-size", "8")
    folder = make_job(
        tmp_path / "tutorial",
        code=None,
        files={"train.py": SCRIPT},
        png=True,
        command=command,
        epochs=4,
        parity_command=PARITY,
    )
    outcome = run_jobs([folder])["tutorial"]
    result = outcome.result
    assert (result.how, result.served.engine, result.epochs) == ("command", "litert", 4)
    assert result.note == "trained by python train.py --batch-size 8"
    assert {"model.keras", "model.tflite", "signature.json", "history.json"} == result.files.keys()
    assert result.validation["accuracy"] > 0.9
    assert result.reported == {"images": len(load_split(folder / "inputs" / "train").names)}
    assert "[INFO] training network..." in outcome.out
    split = load_split(folder / "inputs" / "validation")
    answers = load_engine(outcome.outputs, result.signature, result.served)(cast_inputs(result.signature, split.x))
    assert (answers["probabilities"].argmax(axis=1) == np.asarray(split.y)).mean() > 0.9
    assert Path(folder / "inputs" / "code" / "train.py").read_text() == SCRIPT
