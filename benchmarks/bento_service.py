"""A Keras model behind BentoML, the way its documentation shows; runs in BentoML's own environment.

`bento_service.py MODEL.keras` puts the model into the model store; `bentoml serve bento_service:Images` serves it. The
model is called as a compiled function, which is far quicker for one sample than `model.predict`, and BentoML may put
requests together into one batch.
"""

from __future__ import annotations

import os
import shutil
import sys

import bentoml
import numpy as np

NAME = "images"
BATCHED = os.environ.get("BENTO_BATCHED", "yes") == "yes"


@bentoml.service(workers=int(os.environ.get("BENTO_WORKERS", "2")), threads=4, traffic={"timeout": 60})
class Images:
    """Probabilities for images."""

    stored = bentoml.models.BentoModel(f"{NAME}:latest")

    def __init__(self) -> None:
        import keras
        import tensorflow as tf

        model = keras.saving.load_model(self.stored.path_of("model.keras"))
        given = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        self.answer = tf.function(lambda x: model(x, training=False), input_signature=[given])
        self.answer(np.zeros((1, *model.input_shape[1:]), np.float32))

    @bentoml.api(batchable=BATCHED, max_batch_size=32)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        """One row of probabilities for each image."""
        pixels = np.asarray(instances, np.float32)
        return self.answer(pixels.reshape(*pixels.shape[:3], 1)).numpy()


if __name__ == "__main__":
    with bentoml.models.create(NAME) as stored:
        shutil.copy(sys.argv[1], stored.path_of("model.keras"))
