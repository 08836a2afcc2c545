"""Whether the file that a version serves can be loaded safely, whoever has made it. Light: the controller asks."""

from __future__ import annotations

from pathlib import Path

from registry.records import Served
from training.model.saved_model_file import check_saved_model
from training.model.tflite_file import check_tflite

CHECKS = {"litert": check_tflite, "saved_model": check_saved_model}


def check_served(folder: Path, served: Served) -> None:
    """Raise ConfigError or Corrupt, naming file and operator, unless the served file in `folder` is harmless to load."""
    CHECKS[served.engine](folder / served.path)
