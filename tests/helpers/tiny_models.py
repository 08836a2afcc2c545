"""Writes tiny served models with known answers: `python -P tests/helpers/tiny_models.py FOLDER`. They are not trained, their
weights are written down. Each one gets a folder with model.tflite (and saved_model), signature.json and served.json.

    thirds     image 6x6 grey → which third is the brightest: left, middle, right
    dull       the same, but it never says `right`
    wide       the same for images of 6x9
    nothing    the same, but it answers NaN for images whose first pixel is 255
    shop       columns age (number) and colour (text) → buys: yes, no
    sum        columns a, b (numbers) → 2a + 3b
    pair       columns a, b (numbers) → their sum, and their difference
    halves     array of 4 numbers → first, second: which half has the greater sum
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from registry import codec
from registry.records import Served, Signature, TensorSpec

THIRDS = ("left", "middle", "right")


def image_model(width=6, favour=(1.0, 1.0, 1.0), nan=False):
    weights = np.zeros((6, width, 3), np.float32)
    for third in range(3):
        weights[:, third * width // 3 : (third + 1) * width // 3, third] = favour[third] / (6 * width / 3) / 12
    weights = tf.constant(weights.reshape(-1, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, 6, width, 1), tf.uint8, name="image")])
    def answer(image):
        pixels = tf.cast(tf.reshape(image, (-1, 6 * width)), tf.float32)
        scores = tf.matmul(pixels, weights)
        if nan:
            scores = scores + tf.math.log(254.5 - pixels[:, :1])
        return {"probabilities": tf.nn.softmax(scores)}

    inputs = (TensorSpec("image", (None, 6, width, 1), "uint8", 0, 255),)
    outputs = (TensorSpec("probabilities", (None, 3), "float32"),)
    return answer, Signature("classification", "image", inputs, outputs, THIRDS, "L")


def shop():
    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 1), tf.float32, name="age"),
            tf.TensorSpec((None, 1), tf.string, name="colour"),
        ]
    )
    def answer(age, colour):
        red = tf.cast(tf.equal(colour, "red"), tf.float32)
        no = tf.sigmoid((age - 40) / 10 - 3 * red)
        return {"probabilities": tf.concat([1 - no, no], axis=1)}

    inputs = (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string"))
    outputs = (TensorSpec("probabilities", (None, 2), "float32"),)
    return answer, Signature("classification", "table", inputs, outputs, ("yes", "no"), target="buys")


def total():
    @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name=name) for name in "ab"])
    def answer(a, b):
        return {"total": 2 * a + 3 * b}

    inputs = tuple(TensorSpec(name, (None, 1), "float32") for name in "ab")
    outputs = (TensorSpec("total", (None, 1), "float32"),)
    return answer, Signature("regression", "table", inputs, outputs, target="total")


def pair():
    @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name=name) for name in "ab"])
    def answer(a, b):
        return {"prediction": tf.concat([a + b, a - b], axis=1)}

    inputs = tuple(TensorSpec(name, (None, 1), "float32") for name in "ab")
    outputs = (TensorSpec("prediction", (None, 2), "float32"),)
    return answer, Signature("regression", "table", inputs, outputs, targets=("sum", "difference"))


def halves():
    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def answer(x):
        return {"p": tf.nn.softmax(tf.stack([x[:, 0] + x[:, 1], x[:, 2] + x[:, 3]], axis=1))}

    inputs = (TensorSpec("x", (None, 4), "float32"),)
    return answer, Signature("classification", "array", inputs, (TensorSpec("p", (None, 2), "float32"),), THIRDS[:2])


MODELS = {
    "thirds": image_model,
    "dull": lambda: image_model(favour=(1, 1, 0)),
    "wide": lambda: image_model(width=9),
    "nothing": lambda: image_model(nan=True),
    "shop": shop,
    "sum": total,
    "pair": pair,
    "halves": halves,
}


def main(root):
    for name, build in MODELS.items():
        folder = root / name
        answer, signature = build()
        module = tf.Module()
        module.answer = answer
        tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": answer})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
        (folder / "model.tflite").write_bytes(converter.convert())
        codec.save(signature, folder / "signature.json")
        codec.save(Served("litert", "model.tflite", "a test"), folder / "served.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
