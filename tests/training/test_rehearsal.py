"""A script is rehearsed on a single batch: its errors show before its training, and what one batch cannot show stops nothing."""

import pytest
from training_parts import make_job, run_jobs

from registry.errors import ConfigError, WorkerFailed

# Quick to read, and slow to train if a rehearsal were a training: each epoch leaves a line.
HEAD = """
import os
import keras
import numpy as np

class Count(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        with open(os.environ["TRAINYARD_COUNT"], "a") as file:
            file.write(os.environ.get("TRAINYARD_REHEARSAL", "0"))

x = np.random.default_rng(1).uniform(0, 255, (64, 6, 6, 1)).astype("float32")
y = np.arange(64) % 3
"""
MODEL = """
model = keras.Sequential([
    keras.Input((6, 6, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax"),
])
model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
"""
FIT = """
H = model.fit(x, y, validation_split=0.25, epochs=5, batch_size=8, verbose=0, callbacks=[Count()])
assert len(H.history["loss"]) == len(H.epoch) == 5
"""
SAVE = """
model.save(os.path.join(os.environ["TRAINYARD_OUTPUT"], "model.keras"))
"""
SHAPE = MODEL.replace("(6, 6, 1)", "(8, 8, 1)")
LOGITS = MODEL.replace(', activation="softmax"', "")
LEAVE = """
if 'TRAINYARD_REHEARSAL' not in os.environ: model.save(os.path.join(os.path.dirname(os.environ["TRAINYARD_COUNT"]), "{name}.keras"))
"""
COPY = """
import shutil
shutil.copyfile(os.path.join(os.path.dirname(os.environ["TRAINYARD_COUNT"]), "{name}.keras"), os.path.join(os.environ["TRAINYARD_OUTPUT"], "model.keras"))
"""
"""What the first script has made, so that the others need no TensorFlow of their own."""
AT_ONCE = (
    """
import os
if 'TRAINYARD_REHEARSAL' not in os.environ:
    with open(os.environ["TRAINYARD_COUNT"], "a") as file:
        file.write("0")
"""
    + COPY.format(name="plain").replace("\n", "\n    ")
    + "raise SystemExit\n"
)
"""What is trained after a rehearsal, where only that is of interest: as if in one batch."""
OWN = MODEL.replace("model = ", "from scaled import Scale\nmodel = ").replace(
    "keras.layers.Flatten()", "Scale(), keras.layers.Flatten()"
)
SCALE = """
import keras
@keras.saving.register_keras_serializable(package="Own")
class Scale(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""
RIGHT = {
    # name: the script, more files of the code repository
    "good": (
        HEAD + OWN + FIT + SAVE + SHAPE + LEAVE.format(name="shape") + LOGITS + LEAVE.format(name="logits")
        + MODEL + LEAVE.format(name="plain"),
        {"scaled.py": SCALE, "model.py": "from scaled import Scale\n"},
    ),
    "wants_a_trained_model": (AT_ONCE + HEAD + MODEL + FIT + "assert H.history['accuracy'][-1] > 2\n" + SAVE, {}),
    "never_ends": (AT_ONCE + "import time\ntime.sleep(999)\n", {}),
}  # fmt: skip
WRONG = {
    # name: what the script is, the error, what its message says, what its hint says
    "own_layer_unknown": (
        HEAD + OWN + FIT + SAVE, ConfigError, ["Own>Scale", "not registered by model.py"], "a module that model.py imports",
    ),
    "old_name": (HEAD + MODEL + FIT + "H.history['acc']\n" + SAVE, WorkerFailed, ["KeyError: 'acc', in train.py, line"], "by hand"),
    "hdf5": ("open('digits.h5', 'w')\n", WorkerFailed, ["left no model.keras", "digits.h5"], "TRAINYARD_OUTPUT"),
    "other_shape": (
        COPY.format(name="shape"), ConfigError, ["the model of python train.py", "[None, 8, 8, 1]"], "TRAINYARD_DATA",
    ),
    "logits": (COPY.format(name="logits"), ConfigError, ["not probabilities"], "softmax"),
    "number": (
        COPY.format(name="plain") + "open(os.environ['TRAINYARD_OUTPUT'] + '/metrics.json', 'w').write('{\"auc\": 1}')\n",
        ConfigError, ["script:val_auc", "has reported no 'val_auc'", "metrics.json: 'auc'"], "correct the name in the rule",
    ),
    "no_package": ("import cv2_is_not_here\n", WorkerFailed, ["No module named 'cv2_is_not_here'"], "requirements.txt"),
    "arguments": (
        "import argparse\nap = argparse.ArgumentParser()\nap.add_argument('-d', '--dataset', required=True)\nap.parse_args()\n",
        WorkerFailed, ["arguments are required: -d/--dataset"], "[training] command",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    at, jobs = tmp_path_factory.mktemp("rehearsals"), []
    scripts = RIGHT | {name: (script, {}) for name, (script, *_) in WRONG.items()}
    scripts["own_layer_unknown"] = (scripts["own_layer_unknown"][0], {"scaled.py": SCALE})
    for name, (script, more) in scripts.items():
        count = f"import os\nos.environ['TRAINYARD_COUNT'] = {str(at / name)!r} + '.steps'\n"
        files = {"train.py": count + script} | more
        seconds = 3.0 if name == "never_ends" else 200.0
        jobs.append(
            make_job(
                at / name,
                code=None,
                files=files,
                samples=12,
                command=("python", "train.py"),
                rehearsal_seconds=seconds,
                must_report=("val_auc",) if name == "number" else (),
            )
        )
    return run_jobs(jobs)


def steps(outcome):
    """For every batch that was trained 1 when it was in a rehearsal, else 0."""
    file = outcome.folder.with_name(f"{outcome.folder.name}.steps")
    return file.read_text() if file.exists() else ""


def notes(outcome):
    return " | ".join(event["text"] for event in outcome.events("note"))


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_found_before_the_training(rehearsed, name):
    _, kind, words, hint = WRONG[name]
    rehearsed[name].must_have_failed(kind, ["before its training", *words], hint)
    assert steps(rehearsed[name]) in {"", "1"}


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_hint_of_an_early_error_names_the_way_out(rehearsed):
    assert "[training] rehearsal_seconds = 0" in rehearsed["old_name"].failure.hint
    assert "rehearsal_seconds" not in rehearsed["no_package"].failure.hint, "no batch was trained"


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_a_script_that_is_right_trains_after_one_batch_of_rehearsal(rehearsed, name):
    outcome = rehearsed[name]
    assert outcome.result.how == "command"
    assert steps(outcome) == {"good": "1" + "0" * 30, "wants_a_trained_model": "10", "never_ends": "0"}[name]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_what_a_rehearsal_found_is_said(rehearsed):
    assert "fits the dataset" in notes(rehearsed["good"])
    assert "wants a trained model" in notes(rehearsed["wants_a_trained_model"])
    assert "was ended after 3 s" in notes(rehearsed["never_ends"])


@pytest.mark.tensorflow
@pytest.mark.slow
def test_nothing_of_a_rehearsal_is_left(rehearsed):
    assert not list(rehearsed["good"].folder.rglob("rehearsal"))
