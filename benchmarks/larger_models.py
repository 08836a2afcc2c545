"""Registries with one larger model each, weights random: `larger_models.py KIND FOLDER`. Needs TensorFlow, no network.

wide        64 numbers through three layers of 2,048: 34 MB of weights, which a call for one row reads as a call for 32
mobilenet   MobileNetV2 for images of 224x224x3 in 0 to 255, scaled inside: 14 MB
resnet50    ResNet50 for the same: 102 MB

Writes `registry/` with a release of it, and `body.json` with one row (`wide`) or `body.jpg`, as a client would send it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from image_model import ModelRegistry, convert, publish

SIDE, NUMBERS, WIDTH = 224, 64, 2048


def write_larger(kind: str, folder: Path) -> ModelRegistry:
    """Write it in a process of its own; release 1 is version 1."""
    folder.mkdir(parents=True)
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, kind, str(folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the model {kind} was not made:\n{done.stderr}")
    return ModelRegistry(folder)


def photo(seed: int = 1) -> Any:
    """An image with soft shapes, as Pillow has it: noise alone would be dear to decode, and no photograph is noise."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def main(kind: str, folder: Path) -> None:
    """Build, convert, publish, release."""
    import numpy as np

    models, files = ModelRegistry(folder), folder / "files"
    files.mkdir()
    model, rows = _build(kind)
    (files / "model.tflite").write_bytes(convert(model, folder / "saved"))
    np.savez(files / "golden.npz", in_0=rows, out_0=model(rows))
    publish(models, files, 1, _signature(model))
    models.promote(1)
    if kind == "wide":
        models.body.write_text(json.dumps({"instances": rows[:1].tolist()}), encoding="utf-8")
    else:
        photo().save(folder / "body.jpg", quality=90)


def _build(kind: str) -> tuple[Any, Any]:
    """The model, and some rows for it."""
    import keras
    import numpy as np
    from keras import layers

    keras.utils.set_random_seed(1)
    if kind == "wide":
        hidden = [layers.Dense(WIDTH, activation="relu") for _ in range(3)]
        given = keras.Input((NUMBERS,), name="numbers")
        model = keras.Sequential([given, *hidden, layers.Dense(10, activation="softmax")])
        return model, np.random.default_rng(1).random((16, NUMBERS), np.float32)
    body = {"mobilenet": keras.applications.MobileNetV2, "resnet50": keras.applications.ResNet50}[kind]
    image = keras.Input((SIDE, SIDE, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(image)
    model = keras.Model(image, body(weights=None, input_shape=(SIDE, SIDE, 3))(scaled))
    return model, np.stack([np.asarray(photo(seed), np.float32) for seed in range(2)])


def _signature(model: Any) -> Any:
    from registry.records import Signature, TensorSpec

    (given,), classes = model.inputs, model.output_shape[1]
    pixels = {"low": 0.0, "high": 255.0} if given.name == "image" else {}
    spec = TensorSpec(given.name, (None, *given.shape[1:]), "float32", **pixels)
    answers = TensorSpec("probabilities", (None, classes), "float32", 0.0, 1.0)
    names = tuple(f"c{i}" for i in range(classes))
    if pixels:
        return Signature("classification", "image", (spec,), (answers,), names, image_mode="RGB")
    return Signature("classification", "array", (spec,), (answers,), names)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
