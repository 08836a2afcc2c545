"""The fallback engine: a TensorFlow SavedModel. Opening one imports TensorFlow (seconds, 500 MB)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from registry.errors import Corrupt
from registry.records import Served, Signature
from serving.engines.base import CHUNK, Array, Arrays, EngineError, check_inputs, check_outputs, chunks, cut
from training.heavy import import_tensorflow
from training.model.saved_model_file import check_saved_model

ENDPOINT = "serving_default"


class SavedModel:
    """A SavedModel folder with a `serving_default` signature, exported with `training=False`."""

    def __init__(
        self,
        folder: Path,
        signature: Signature,
        served: Served,
        threads: int,
        most: int = CHUNK,
        *,
        shared: bool = False,
    ) -> None:
        del threads, shared  # TensorFlow is thread-safe and has its own pool, and no way to share weights
        path = folder / served.path
        check_saved_model(path)
        import_tensorflow()
        import tensorflow as tf

        self._signature, self._most = signature, most
        try:
            self._model = tf.saved_model.load(str(path))  # a signature does not keep its model alive
            self._function = self._model.signatures[ENDPOINT]
        except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
            raise Corrupt(f"{path}: TensorFlow cannot load it: {' '.join(str(error).split())[:500]}") from error
        takes = set(self._function.structured_input_signature[1])
        gives = set(self._function.structured_outputs)
        if takes != {each.tensor for each in signature.inputs} or gives != {each.name for each in signature.outputs}:
            raise Corrupt(f"{path}: {sorted(takes)} -> {sorted(gives)} is not what the signature says")

    def renew(self, most: int, many: int, at_once: int) -> None:
        del many, at_once  # TensorFlow has a pool of threads, and keeps no memory for a size
        self._most = most

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        rows = check_inputs(self._signature, inputs)
        parts = [self._run(cut(inputs, start, stop, batch)) for start, stop, batch in chunks(rows, most=self._most)]
        outputs = parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        check_outputs(self._signature, outputs, rows)
        return outputs

    def _run(self, inputs: Arrays) -> dict[str, Array]:
        import tensorflow as tf

        try:
            tensors = {each.tensor: tf.constant(inputs[each.name], each.dtype) for each in self._signature.inputs}
            return {name: tensor.numpy() for name, tensor in self._function(**tensors).items()}
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(" ".join(str(error).split())[:500]) from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise EngineError(" ".join(str(error).split())[:500]) from error
