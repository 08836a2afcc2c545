"""What a training leaves behind: its outputs, each file with its SHA-256, and what they may depend on. Without TensorFlow."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from registry import codec
from registry.dataclass import dataclass
from registry.files import sha256_file
from registry.records import Served, Signature, TrainJob, TrainResult
from training.loop.goal import reached
from training.machine import describe

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")
OF_ENGINE = {
    "onnx": ("numpy", "onnxruntime", "onnx", "scikit-learn", "skl2onnx", "onnxmltools", "xgboost", "lightgbm", "torch")
}
REQUIRED = re.compile(r"^[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)
"""The name at the beginning of a line of `requirements.txt`."""
MOST = 100


@dataclass(frozen=True, slots=True)
class Made:
    """How a model came about."""

    how: Literal["trained", "fine-tuned", "command"]
    note: str
    attempt: int
    epochs: int


def empty_outputs(folder: Path) -> Path:
    """The folder `outputs/` of a job, with nothing in it."""
    outputs = folder / "outputs"
    outputs.mkdir(exist_ok=True)
    for left in outputs.iterdir():  # by a worker that was killed here; the folder itself may be a mount
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return outputs


def describe_result(
    job: TrainJob, folder: Path, made: Made, signature: Signature, served: Served, values: Mapping[str, float]
) -> TrainResult:
    """The result of a job whose model is in `outputs/`, beside which the signature is put. `values`: its metrics on the
    validation split."""
    outputs = folder / "outputs"
    codec.save(signature, outputs / "signature.json")
    return TrainResult(
        files={
            path.relative_to(outputs).as_posix(): sha256_file(path)
            for path in sorted(outputs.rglob("*"))
            if path.is_file()
        },
        signature=signature,
        served=served,
        how=made.how,
        note=made.note,
        attempt=made.attempt,
        epochs=made.epochs,
        seed=job.seed,
        validation=dict(values),
        reached=reached(job.metric, values[job.metric], job.threshold),
        packages=packages(folder / "inputs" / "code", served.engine),
        machine=describe(),
    )


def packages(code: Path, engine: str = "") -> dict[str, str]:
    """The versions that a model may depend on: TensorFlow and the like, or what is in its place for another engine, and what the
    `requirements.txt` of the code names."""
    found = {"python": platform.python_version()}
    wanted = code / "requirements.txt"
    own = REQUIRED.findall(wanted.read_text(encoding="utf-8", errors="replace")) if wanted.is_file() else []
    for name in (*OF_ENGINE.get(engine, PACKAGES), *own[:MOST]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu
            continue
    return found
