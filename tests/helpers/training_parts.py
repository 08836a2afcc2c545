"""Job folders for the training and retraining workers: tiny datasets with something to learn, and how to run a worker."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from registry import codec
from registry.records import TensorSpec, TrainJob, TrainResult
from training.data.spec import Column, DataSpec
from training.worker.protocol import load_failure, parse_event

ROOT = Path(__file__).parents[2]
PARITY = ("{python}", "-P", "-m", "serving.engines.parity")
EQUAL = ("true",)
"""A check that always passes, in no time: for tests of other things than what is served."""
THIRDS = ("left", "middle", "right")

CNN = """
import keras
from keras import layers

def build_model(spec, attempt):
    model = keras.Sequential([
        keras.Input(spec.input_shape),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(len(spec.classes), activation="softmax"),
    ])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
QUICK = CNN.replace('metrics=["accuracy"])', 'metrics=["accuracy"], run_eagerly=True)')
"""The same; for few steps it is quicker not to trace them first."""
TABLE = """
import keras
def build_model(spec, attempt):
    inputs, features = [], []
    for column in spec.columns:
        text = column.kind == "categorical"
        inputs.append(keras.Input((1,), name=column.name, dtype="string" if text else "float32"))
        prepare = (
            keras.layers.StringLookup(vocabulary=list(column.vocabulary), output_mode="one_hot") if text
            else keras.layers.Normalization(mean=[column.mean], variance=[column.variance])
        )
        features.append(prepare(inputs[-1]))
    hidden = keras.layers.Concatenate()(features)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile(keras.optimizers.Adam(0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
"""A model of any table with two classes: one input per column, each preprocessed as the spec says."""


TWO_SUMS = """
import keras
def build_model(spec, attempt):
    inputs = [keras.Input((1,), name=each.name) for each in spec.columns]
    numbers = keras.layers.Dense(len(spec.targets))(keras.layers.Concatenate()(inputs))
    model = keras.Model(inputs, keras.layers.Rescaling(list(spec.target_deviations))(numbers))
    model.compile(keras.optimizers.Adam(0.05), loss="mse", metrics=[keras.metrics.RootMeanSquaredError()])
    return model
"""


def images(samples, seed, classes=THIRDS):
    """6x6 grey images whose left, middle or right third is bright; the class says which."""
    random = np.random.default_rng(seed)
    y = np.arange(samples) % len(classes)
    x = random.integers(0, 60, (samples, 6, 6, 1))
    for i, label in enumerate(y):
        x[i, :, 2 * (label % 3) : 2 * (label % 3) + 2] += 150
    spec = DataSpec(
        "images",
        "classification",
        (TensorSpec("image", (None, 6, 6, 1), "uint8", 0, 255),),
        tuple(classes),
        image_mode="L",
        train_samples=samples,
    )
    return spec, {"image": x.astype(np.uint8)}, y.astype(np.int64)


def shop(samples, seed, *, text=True):
    """Columns age and colour (or two numbers) → who buys."""
    random = np.random.default_rng(seed)
    age = random.uniform(20, 60, (samples, 1)).astype(np.float32)
    colour = random.choice(["blue", "green", "red"], (samples, 1))
    y = ((age[:, 0] > 40) | (colour[:, 0] == "red")).astype(np.int64)
    columns = (
        Column("age", "numeric", 40.0, 133.0),
        Column("colour", "categorical", vocabulary=("blue", "green", "red")),
    )
    inputs = (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string"))
    x = {"age": age, "colour": colour}
    if not text:
        columns = (columns[0], Column("size", "numeric", 0.0, 1.0))
        inputs = (inputs[0], TensorSpec("size", (None, 1), "float32"))
        x = {"age": age, "size": (age - 40) / 12 + random.normal(0, 0.1, age.shape).astype(np.float32)}
    spec = DataSpec("table", "classification", inputs, ("no", "yes"), columns, "buys", train_samples=samples)
    return spec, x, y


def numbers(samples, seed):
    """Columns a, b → 2a + 3b."""
    random = np.random.default_rng(seed)
    x = {name: random.uniform(-1, 1, (samples, 1)).astype(np.float32) for name in ("a", "b")}
    inputs = tuple(TensorSpec(name, (None, 1), "float32") for name in x)
    columns = tuple(Column(name, "numeric", 0.0, 0.33) for name in x)
    spec = DataSpec("table", "regression", inputs, (), columns, "c", train_samples=samples)
    return spec, x, (2 * x["a"] + 3 * x["b"])[:, 0].astype(np.float32)


def two_sums(samples, seed):
    """Columns a, b → 2a + 3b, and 100 times a - b."""
    spec, x, first = numbers(samples, seed)
    y = np.stack([first, 100 * (x["a"] - x["b"])[:, 0]], axis=1)
    facts = {"targets": ("sum", "difference"), "target_means": (0.0, 0.0), "target_deviations": (2.1, 82.0)}
    return replace(spec, target="", **facts), x, y


def waves(samples, seed):
    """Series of 8 steps with 2 values → whether they rise."""
    random = np.random.default_rng(seed)
    y = np.arange(samples) % 2
    steps = np.linspace(-1, 1, 8)[None, :, None] * np.where(y == 1, 1, -1)[:, None, None]
    x = (steps + random.normal(0, 0.1, (samples, 8, 2))).astype(np.float32)
    spec = DataSpec("npz", "classification", (TensorSpec("x", (None, 8, 2), "float32"),), ("falls", "rises"))
    return spec, {"x": x}, y.astype(np.int64)


def weather(samples, seed):
    """Six readings → which of rain, wind and fog there are: several, or none."""
    x = np.random.default_rng(seed).normal(size=(samples, 6)).astype(np.float32)
    y = np.stack([x[:, 0] + x[:, 1] > 0.4, x[:, 2] > 0.2, x[:, 3] - x[:, 0] > 0.9], axis=1)
    spec = DataSpec("npz", "multi-label", (TensorSpec("x", (None, 6), "float32"),), ("rain", "wind", "fog"), target="y")
    return spec, {"x": x}, y.astype(np.float32)


def sentences(samples, seed):
    """Short texts, good or bad."""
    random = np.random.default_rng(seed)
    y = np.arange(samples) % 2
    words = [["bad", "awful", "poor"], ["good", "fine", "great"]]
    x = np.array([[f"a {random.choice(words[label])} thing"] for label in y])
    columns = (Column("text", "categorical", vocabulary=tuple(sorted({each for pair in words for each in pair}))),)
    inputs = (TensorSpec("text", (None, 1), "string"),)
    return (
        DataSpec("table", "classification", inputs, ("bad", "good"), columns, "mood"),
        {"text": x},
        y.astype(np.int64),
    )


def write_split(folder, spec, x, y, *, png=False):
    """A prepared split, as training/data/spec.py describes it; with the images as PNG by class when they are wanted."""
    (folder / "files").mkdir(parents=True)
    codec.save(spec, folder / "data.json")
    (folder / "names.json").write_text(json.dumps([f"sample-{i}" for i in range(len(y))]))
    for i, each in enumerate(spec.inputs):
        np.save(folder / f"x{i}.npy", x[each.name])
    np.save(folder / "y.npy", y)
    if png:
        from PIL import Image

        for i, label in enumerate(y):
            target = folder / "files" / spec.classes[label]
            target.mkdir(exist_ok=True)
            Image.fromarray(x["image"][i, ..., 0]).save(target / f"{i:04}.png")


def make_job(folder, code=CNN, data=images, *, samples=96, classes=None, png=False, files=None, model=None, **settings):
    """A job folder: `code` is the text of model.py (None: there is none), `files` more files of the code repository."""
    source = folder / "inputs" / "code"
    source.mkdir(parents=True)
    for name, text in (({"model.py": code} if code is not None else {}) | (files or {})).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    more = {"classes": classes} if classes else {}
    write_split(folder / "inputs" / "train", *data(samples, 1, **more), png=png)
    write_split(folder / "inputs" / "validation", *data(max(12, samples // 3), 2, **more), png=png)
    if model:
        (folder / "inputs" / "model").symlink_to(model)
    defaults = {
        "model": "tiny", "seed": 1, "epochs": 3, "batch_size": 16, "max_attempts": 1, "patience": 10,
        "metric": "accuracy", "threshold": 0.0, "parity_command": EQUAL,
    }  # fmt: skip
    codec.save(TrainJob(**(defaults | settings)), folder / "job.json")
    return folder


def start_worker(folder):
    """A training worker as the product starts it: in its job folder."""
    (folder / "scratch").mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "TMPDIR": str(folder / "scratch")}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "training"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def run_jobs(training, retraining=()):
    """Run many jobs in one process with TensorFlow, each as its worker would; gives name → Outcome."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    jobs = [f"training:{folder}" for folder in training] + [f"retraining:{folder}" for folder in retraining]
    command = [sys.executable, "-P", ROOT / "tests" / "helpers" / "worker_jobs.py", *jobs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {folder.name: Outcome(folder) for folder in [*training, *retraining]}


class Outcome:
    """What a worker left in its folder."""

    def __init__(self, folder):
        self.folder = folder
        self.outputs = folder / "outputs"
        self.code = int((folder / "exit_code").read_text())
        self.out = (folder / "stdout.txt").read_text()
        self.err = (folder / "stderr.txt").read_text()

    @property
    def result(self) -> TrainResult:
        assert self.code == 0, self.err[-4000:]
        return codec.read(TrainResult, self.folder / "result.json")

    @property
    def failure(self):
        assert self.code != 0, self.out
        error = load_failure(self.folder)
        assert error is not None, self.err[-4000:]
        return error

    def must_have_failed(self, kind, words, hint):
        """With an error of this class that holds all `words`, and with a hint that holds `hint`."""
        failure = self.failure
        assert type(failure) is kind
        for each in words:
            assert each in str(failure)
        assert hint in failure.hint

    def events(self, kind):
        found = [parse_event(line) for line in self.out.splitlines()]
        return [each for each in found if each and each["event"] == kind]
