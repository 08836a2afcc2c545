"""Whether the file that a version serves can be loaded safely, whoever has made it. Light: the controller asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.records import Served
from training.model.onnx_file import check_onnx
from training.model.saved_model_file import check_saved_model
from training.model.tflite_file import check_tflite

CHECKS: dict[str, Callable[[Path], object]] = {
    "litert": check_tflite,
    "saved_model": check_saved_model,
    "onnx": check_onnx,
}


def check_served(folder: Path, served: Served) -> None:
    """Raise ConfigError or Corrupt, naming file and operator, unless the served file in `folder` is harmless to load."""
    CHECKS[served.engine](folder / served.path)
