"""Golden samples: a few of the holdout, with the answers that evaluation got from the very file that is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import Corrupt
from registry.records import Signature

TOLERANCE = 1e-4
"""Of a probability, absolute; of a predicted number, relative to it, or absolute below 1. The same file on another
processor or in another batch may differ by less; another model, another scaling or swapped channels by more."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Samples as the dataset has them, and the outputs for them; the first axis of all arrays is the sample."""

    signature: Signature
    inputs: Mapping[str, NDArray[Any]]
    outputs: NDArray[np.float32]
    """The first output: (samples, classes) probabilities, or (samples, 1) or (samples, targets) predictions."""

    def __len__(self) -> int:
        return len(self.outputs)

    def sample(self, i: int) -> Any:
        """Sample `i` as a client writes it: named values for tables and several inputs, else the array."""
        values = {name: array[i] for name, array in self.inputs.items()}
        if self.signature.kind == "table" or len(values) > 1:
            return values
        return next(iter(values.values()))

    def png(self, i: int) -> bytes | None:
        """Sample `i` as a PNG file; None when samples are not 8-bit images."""
        array = next(iter(self.inputs.values()))[i]
        if self.signature.kind != "image" or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in {1, 3}:
            return None
        from PIL import Image

        file = BytesIO()
        Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, "PNG")
        return file.getvalue()

    def differs(self, i: int, answer: Any) -> str:
        """How `answer` differs from what evaluation got for sample `i`; empty when it does not."""
        if not isinstance(answer, dict):
            return f"{answer!r:.100} is not an answer"
        if self.signature.targets:
            return self._differs_in_targets(i, answer)
        if self.signature.task == "regression":
            return self._differs_in_value(i, answer)
        if self.signature.task == "multi-label":
            return self._differs_in_labels(i, answer)
        if self.signature.task == "anomaly":
            return self._differs_in_score(i, answer)
        return self._differs_in_class(i, answer)

    def _gap(self, i: int, given: Any) -> float | str:
        """The largest difference of a probability; a sentence where they are not those of the classes."""
        classes = self.signature.classes
        if not isinstance(given, dict) or list(given) != list(classes):
            return f"the probabilities are not those of {', '.join(classes)}: {given!r:.100}"
        return float(np.abs(np.array([given[name] for name in classes], dtype=np.float64) - self.outputs[i]).max())

    def _differs_in_labels(self, i: int, answer: Mapping[str, Any]) -> str:
        gap, given = self._gap(i, answer.get("probabilities")), answer.get("labels")
        if isinstance(gap, str):
            return gap
        names, threshold = self.signature.classes, self.signature.threshold
        wanted = [name for name, each in zip(names, self.outputs[i], strict=True) if each >= np.float32(threshold)]
        if not gap <= TOLERANCE:
            return f"probabilities differ by {gap:.2g} ({given!r:.100}, evaluation got {wanted!r:.100})"
        close = {name for name, each in zip(names, self.outputs[i], strict=True) if abs(each - threshold) <= TOLERANCE}
        if not isinstance(given, list) or (set(given) ^ set(wanted)) - close:
            return f"labels {given!r:.100}, evaluation got {wanted!r:.100}"
        return ""

    def _differs_in_class(self, i: int, answer: Mapping[str, Any]) -> str:
        classes, wanted = self.signature.classes, self.outputs[i]
        gap = self._gap(i, answer.get("probabilities"))
        if isinstance(gap, str):
            return gap
        best = classes[int(wanted.argmax())]
        if not gap <= TOLERANCE:
            return f"probabilities differ by {gap:.2g} ({answer.get('class')!r}, evaluation got {best!r})"
        if answer.get("class") not in classes or wanted[classes.index(answer["class"])] < wanted.max() - 2 * TOLERANCE:
            return f"class {answer.get('class')!r}, evaluation got {best!r}"
        return ""

    def _differs_in_targets(self, i: int, answer: Mapping[str, Any]) -> str:
        targets, wanted, given = self.signature.targets, self.outputs[i].astype(np.float64), answer.get("values")
        if not isinstance(given, dict) or list(given) != list(targets):
            return f"the values are not those of {', '.join(targets)}: {given!r:.100}"
        gaps = np.abs(np.array(list(given.values()), dtype=np.float64) - wanted)
        near = gaps <= TOLERANCE * np.maximum(1.0, np.abs(wanted))  # asked this way round, NaN is far
        if near.all():
            return ""
        name = targets[int(near.argmin())]
        return f"value {given[name]!r} of {name}, evaluation got {wanted[int(near.argmin())]:.7g}"

    def _differs_in_value(self, i: int, answer: Mapping[str, Any]) -> str:
        wanted, given = float(self.outputs[i, 0]), answer.get("value")
        if not isinstance(given, (int, float)) or not abs(given - wanted) <= TOLERANCE * max(1.0, abs(wanted)):
            return f"value {given!r}, evaluation got {wanted:.7g}"
        return ""

    def _differs_in_score(self, i: int, answer: Mapping[str, Any]) -> str:
        wanted, given = float(self.outputs[i, 0]), answer.get("score")
        near = TOLERANCE * max(1.0, abs(wanted))
        if not isinstance(given, (int, float)) or not abs(given - wanted) <= near:
            return f"score {given!r}, evaluation got {wanted:.7g}"
        threshold = float(np.float32(self.signature.threshold))
        if answer.get("anomalous") is not (wanted > threshold) and abs(wanted - threshold) > near:
            return f"anomalous is {answer.get('anomalous')!r}; the score {wanted:.7g} is compared with {threshold:.7g}"
        return ""


def load_golden(path: Path, signature: Signature) -> Golden:
    """Read `golden.npz`; raises Corrupt when it does not fit the signature."""
    try:
        with np.load(path, allow_pickle=False) as file:
            inputs = {spec.name: file[f"in_{i}"] for i, spec in enumerate(signature.inputs)}
            outputs = file["out_0"]
    except (OSError, KeyError, ValueError) as error:
        raise Corrupt(f"{path}: {error}", hint="evaluation writes it; run the pipeline again") from error
    width = len(signature.classes) or len(signature.targets) or 1
    if outputs.ndim != 2 or outputs.shape[1] != width or not len(outputs):
        raise Corrupt(f"{path}: out_0 has shape {list(outputs.shape)}, the signature has {width} numbers per sample")
    return Golden(signature, inputs, outputs)
