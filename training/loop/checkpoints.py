"""What is kept when a training is killed: after each epoch the weights, the optimizer and the best weights so far, in `checkpoints/`.

`progress.json` is written last and names the array files that belong to it, so it is always a consistent state. It is bound
to the job: another job in the same folder starts from scratch.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from registry import codec
from registry.errors import Corrupt
from registry.records import utc_now
from training.loop.history import PROGRESS, Progress


class Checkpoints:
    """The `checkpoints` folder of one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, job: str) -> Progress | None:
        """The progress of this very job, or None; a damaged checkpoint counts as none."""
        try:
            progress = codec.read(Progress, self.folder / PROGRESS)
        except (FileNotFoundError, Corrupt):
            return None
        files = [progress.state] * bool(progress.state) + ([progress.best.file] if progress.best else [])
        whole = all(self._whole(name) for name in files)
        return progress if progress.job == job and whole else None

    @property
    def found(self) -> bool:
        """Whether there is a progress, of whatever job."""
        return (self.folder / PROGRESS).exists()

    def save(self, progress: Progress) -> None:
        """Write the progress, whose files exist already, and remove what it no longer names."""
        codec.save(replace(progress, at=utc_now()), self.folder / PROGRESS)
        keep = {PROGRESS, progress.state, progress.best.file if progress.best else ""}
        for path in self.folder.iterdir():
            if path.name not in keep:
                path.unlink()

    def write(self, name: str, arrays: Sequence[Any]) -> str:
        """Write arrays under `name`, whole or not at all; gives the name back."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{name}.part"
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **{str(i): array for i, array in enumerate(arrays)})
        part.replace(self.folder / name)
        return name

    def read(self, name: str) -> list[Any]:
        """The arrays under `name`, in order."""
        with np.load(self.folder / name, allow_pickle=False) as file:
            return [file[str(i)] for i in range(len(file.files))]

    def _whole(self, name: str) -> bool:
        """Whether the file has all its bytes: it is not synced to the disk, a power cut may have cut it."""
        if os.path.basename(name) != name:
            return False
        try:
            with zipfile.ZipFile(self.folder / name) as archive:
                return archive.testzip() is None
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
            return False


def variables(model: Any) -> list[Any]:
    """Everything that training changes: weights, the state of random layers, the optimizer's variables."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def restore(targets: Sequence[Any], arrays: Sequence[Any]) -> bool:
    """Put the arrays into the variables; False, with nothing changed, when they do not belong together."""
    if [tuple(each.shape) for each in targets] != [each.shape for each in arrays]:
        return False
    for target, array in zip(targets, arrays, strict=True):
        # NumPy has no bfloat16 of its own and reads it back as bare bytes
        target.assign(array.view(target.numpy().dtype) if array.dtype.kind == "V" else array)
    return True
