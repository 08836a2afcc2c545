"""A registry with one small model for 28x28 images, to be served and swapped: `image_model.py FOLDER [VERSION]`.

The network is the one of Keras' own first example (35,000 weights), in two versions with other weights; they are random,
since only the time of an answer matters here. Writes `registry/` with releases of both, `model.keras` for other
servers, and `body.json`: one image as a client would send it. With VERSION it only releases that one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL, SIDE, CLASSES = "images", 28, tuple("0123456789")


@dataclass(frozen=True)
class ModelRegistry:
    """What this script wrote."""

    folder: Path

    @property
    def url(self) -> str:
        """The URL."""
        return f"file://{self.folder / 'registry'}"

    @property
    def keras(self) -> Path:
        """The Keras model of the first version."""
        return self.folder / "model.keras"

    @property
    def body(self) -> Path:
        """A request in JSON."""
        return self.folder / "body.json"

    def newest(self) -> int:
        """The number of the newest release."""
        from registry import releases
        from registry.stores import open_store

        found = releases.latest(open_store(self.url), MODEL)
        return found.number if found else 0

    def publish_damaged(self) -> int:
        """One more version, like the first, whose model file was damaged before it was registered; gives its number."""
        files = self.folder / "files-3"
        shutil.copytree(self.folder / "files-1", files)
        data = bytearray((files / "model.tflite").read_bytes())
        data[64:512] = bytes(448)
        (files / "model.tflite").write_bytes(data)
        publish(self, files, 3, _signature())
        return 3

    def promote(self, version: int) -> int:
        """A release of that version; gives its number."""
        from registry import candidates, releases
        from registry.records import Release, utc_now
        from registry.stores import open_store

        store = open_store(self.url)
        releases.copy_to_production(store, MODEL, version)
        last = releases.latest(store, MODEL)
        card = candidates.manifest_digest(store, MODEL, version)
        draft = Release(0, MODEL, "rollback", version, card, "benchmark", utc_now(), "", approval=None, previous="")
        return releases.append_release(store, draft, last.number if last else 0).number


def write_registry(folder: Path) -> ModelRegistry:
    """Write it in a process of its own, which needs TensorFlow; release 1 is version 1."""
    models = ModelRegistry(folder)
    if not models.body.exists():
        folder.mkdir(parents=True, exist_ok=True)
        environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [sys.executable, "-P", __file__, str(folder)], env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the model for 28x28 images was not made:\n{done.stderr}")
    return models


def main(folder: Path) -> None:
    """Build, convert, publish, release."""
    import numpy as np

    models = ModelRegistry(folder)
    pixels = np.random.default_rng(1).integers(0, 256, (16, SIDE, SIDE, 1))
    pixels[:, :4] = pixels[:, -4:] = 0  # a margin, like that of a written digit
    for seed in (1, 2):
        files = folder / f"files-{seed}"
        files.mkdir()
        model = _build(seed)
        if seed == 1:
            model.save(models.keras)
        (files / "model.tflite").write_bytes(convert(model, folder / f"saved-{seed}"))
        np.savez(files / "golden.npz", in_0=pixels.astype("float32"), out_0=model(pixels.astype("float32")))
        publish(models, files, seed, _signature())
    models.promote(1)
    models.body.write_text(json.dumps({"instances": pixels[:1, :, :, 0].tolist()}), encoding="utf-8")


def _build(seed: int) -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(len(CLASSES), activation="softmax", name="probabilities"),
        ]
    )


def convert(model: Any, scratch: Path) -> bytes:
    """A `.tflite` file of a model with one input and one output, `probabilities`; `scratch` is a folder for what it makes."""
    import keras
    import tensorflow as tf

    def answer(given: Any) -> dict[str, Any]:
        return {"probabilities": model(given, training=False)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    (only,) = model.inputs
    given = tf.TensorSpec((None, *only.shape[1:]), tf.float32, name=only.name)
    archive.add_endpoint("serving_default", answer, input_signature=[given])
    archive.write_out(str(scratch), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(scratch))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def _signature() -> Any:
    from registry.records import Signature, TensorSpec

    image = TensorSpec("image", (None, SIDE, SIDE, 1), "float32", 0.0, 255.0)
    answers = TensorSpec("probabilities", (None, len(CLASSES)), "float32", 0.0, 1.0)
    return Signature("classification", "image", (image,), (answers,), CLASSES, image_mode="L")


def publish(models: ModelRegistry, files: Path, version: int, signature: Any, served: Any = None) -> None:
    """Register the files as that version of MODEL; `signature`, `served`: of registry.records; None: LiteRT."""
    from registry import candidates
    from registry.files import sha256_file
    from registry.records import (
        Candidate,
        Evaluation,
        Metrics,
        Policy,
        Served,
        Sources,
        Verdict,
        utc_now,
    )
    from registry.stores import open_store

    store, run = open_store(models.url), f"{version:016x}"
    card = Candidate(
        model=MODEL,
        version=candidates.claim(store, MODEL, run),
        run=run,
        sources=Sources("a" * 40, "b" * 40, "c" * 40),
        created_at=utc_now(),
        how="trained",
        note="weights are random",
        seed=version,
        parent=None,
        image=None,
        packages={},
        files={path.name: sha256_file(path) for path in files.iterdir()},
        signature=signature,
        served=served or Served("litert", "model.tflite", "a benchmark"),
        evaluation=Evaluation(Metrics("classification", 16, {})),
        verdict=Verdict(accepted=True, reasons=(), policy=Policy()),
    )
    candidates.publish(store, card, files)


if __name__ == "__main__":
    if sys.argv[2:]:
        ModelRegistry(Path(sys.argv[1])).promote(int(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
