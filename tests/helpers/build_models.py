"""Writes tiny Keras models as they are served: `python -P tests/helpers/build_models.py FOLDER`.

Each gets a folder with model.tflite (`text`: saved_model), signature.json, served.json, and parity.npz: what Keras itself
computed. The weights are random but fixed.

    digits, digits2   image 8x8 grey → a, b, c; two versions that answer differently
    table             columns age (number, 0 to 120) and city (text) → no, yes
    recurrent         array 5x2, fixed batches of 1 and 8 → up, down; answers logits
    lookup            array of 4 whole numbers below 10 → one sigmoid for cat, dog
    price             columns size, floors → one number
    pair              arrays left (2), right (3) → two outputs
    wide              array of 4 whole numbers below 10, weights of 20 MB → left, right: batches gain
    text              column note (text) through string operations that only TensorFlow has → bad, good
"""

import functools
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import Input, layers

from registry import codec
from registry.records import Served, Signature, TensorSpec

ROWS = 20
rng = np.random.default_rng(7)


def digits(seed):
    keras.utils.set_random_seed(seed)
    image = Input((8, 8, 1), name="image")
    x = layers.RandomRotation(0.1)(layers.Rescaling(1 / 255)(image))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="probabilities")(x))
    x = {"image": rng.integers(0, 256, (ROWS, 8, 8, 1)).astype("float32")}
    return model, x, {"kind": "image", "classes": ("a", "b", "c"), "image_mode": "L"}


def table():
    age, city = Input((1,), name="age"), Input((1,), name="city", dtype="string")
    known = layers.StringLookup(vocabulary=["Köln", "Paris"], output_mode="one_hot")(city)
    x = layers.Concatenate()([layers.Normalization(mean=40, variance=100)(age), known])
    model = keras.Model([age, city], layers.Dense(2, activation="softmax", name="probabilities")(x))
    x = {
        "age": rng.uniform(0, 99, (ROWS, 1)).astype("float32"),
        "city": rng.choice(["Köln", "Paris", "Ulm"], (ROWS, 1)),
    }
    return model, x, {"kind": "table", "classes": ("no", "yes"), "target": "buys", "bounds": {"age": (0.0, 120.0)}}


def recurrent():
    steps = Input((5, 2), name="steps")
    model = keras.Model(steps, layers.Dense(2, name="logits")(layers.LSTM(4)(steps)))
    return model, {"steps": rng.normal(size=(ROWS, 5, 2)).astype("float32") * 3}, {"classes": ("up", "down")}


def lookup():
    words = Input((4,), name="words", dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(10, 3)(words))
    model = keras.Model(words, layers.Dense(1, activation="sigmoid", name="probability")(x))
    return model, {"words": rng.integers(0, 10, (ROWS, 4)).astype("int32")}, {"classes": ("cat", "dog")}


def wide():
    words = Input((4,), name="words", dtype="int32")
    x = layers.Flatten()(layers.Embedding(10, 4)(words))
    for _ in range(3):
        x = layers.Dense(1600, activation="relu")(x)
    model = keras.Model(words, layers.Dense(2, activation="softmax", name="probabilities")(x))
    return model, {"words": rng.integers(0, 10, (ROWS, 4)).astype("int32")}, {"classes": ("left", "right")}


def price():
    size, floors = Input((1,), name="size"), Input((1,), name="floors")
    model = keras.Model([size, floors], layers.Dense(1, name="prediction")(layers.Concatenate()([size, floors])))
    x = {name: rng.uniform(1, 9, (ROWS, 1)).astype("float32") for name in ("size", "floors")}
    return model, x, {"task": "regression", "kind": "table", "target": "price"}


def pair():
    left, right = Input((2,), name="left"), Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    model = keras.Model([left, right], [layers.Dense(1, name="one")(both), layers.Dense(4, name="four")(both)])
    x = {"left": rng.normal(size=(ROWS, 2)).astype("float32"), "right": rng.normal(size=(ROWS, 3)).astype("float32")}
    return model, x, {"task": "regression"}


def text():
    note = Input((1,), name="note", dtype="string")
    words = layers.TextVectorization(vocabulary=["good", "bad", "film"], output_mode="multi_hot")
    model = keras.Model(note, layers.Dense(2, activation="softmax", name="probabilities")(words(note)))
    return (
        model,
        {"note": rng.choice(["a good film", "BAD!", ""], (ROWS, 1))},
        {"kind": "table", "classes": ("bad", "good")},
    )


def spec(name, array, bounds):
    dtype = "string" if array.dtype.kind == "U" else array.dtype.name
    return TensorSpec(name, (None, *array.shape[1:]), dtype, *bounds.get(name, (None, None)))


def save(folder, model, x, about):
    bounds = about.pop("bounds", {})
    endpoint = functools.partial(model.__call__, training=False)
    names = [each.name for each in model.inputs]

    def answer(*tensors):
        found = tf.nest.flatten(endpoint(list(tensors) if len(tensors) > 1 else tensors[0]))
        return dict(zip(model.output_names, found, strict=True))

    outputs = {name: array.numpy() for name, array in answer(*(tf.constant(x[name]) for name in names)).items()}
    signature = Signature(
        about.pop("task", "classification"),
        about.pop("kind", "array"),
        tuple(spec(name, x[name], bounds) for name in names),
        tuple(spec(name, array, {}) for name, array in outputs.items()),
        **about,
    )
    folder.mkdir(parents=True)
    served = convert(folder, model, names, answer)
    codec.save(signature, folder / "signature.json")
    codec.save(served, folder / "served.json")
    arrays = {f"in_{i}": x[name] for i, name in enumerate(names)}
    np.savez(folder / "parity.npz", **arrays, **{f"out_{i}": each for i, each in enumerate(outputs.values())})


def convert(folder, model, names, answer):
    batches = (1, 8) if folder.name == "recurrent" else ()
    archive = keras.export.ExportArchive()
    archive.track(model)
    for key, batch in {f"batch_{n}": n for n in batches}.items() or {"serving_default": None}.items():
        specs = [tf.TensorSpec((batch, *each.shape[1:]), each.dtype, name=each.name) for each in model.inputs]
        archive.add_endpoint(key, answer, input_signature=specs)
    saved = folder / "saved_model" if folder.name == "text" else folder.parent / f".{folder.name}"
    archive.write_out(saved, verbose=False)
    if folder.name == "text":
        return Served("saved_model", "saved_model", "string operations")
    keys = [f"batch_{n}" for n in batches] or ["serving_default"]
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=keys)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    (folder / "model.tflite").write_bytes(converter.convert())
    return Served("litert", "model.tflite", "a test", batches)


def main(root):
    keras.utils.set_random_seed(1)
    for build in (table, recurrent, lookup, wide, price, pair, text):
        save(root / build.__name__, *build())
    save(root / "digits", *digits(1))
    save(root / "digits2", *digits(2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
