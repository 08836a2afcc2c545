"""The files by which MLflow loads a version: `MLmodel`, and in `pyfunc/` a small module that MLflow executes.

No MLflow is needed to write them. They say nothing that changes when a run is repeated: registering resumes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from registry.records import Run, Served, Signature, TensorSpec

CODE = Path(__file__).parent / "given" / "trainyard_pyfunc.py"
MLFLOW = "2.0.0"
"""The oldest MLflow that reads what is written here."""
COLUMN = {"string": "string", "bool": "boolean"}
"""A column's dtype → MLflow's name; other ones are `double` or `long`, which take any number of their kind."""
NEEDED = {"litert": ("ai-edge-litert",), "saved_model": ("tensorflow-cpu", "tensorflow"), "onnx": ("onnxruntime",)}
"""Engine → the packages that run it, of which one is there."""


def files(run: Run, signature: Signature, served: Served, packages: Mapping[str, str]) -> dict[str, bytes]:
    """Name → bytes; `packages` are those of the training, by which the engine's versions are chosen."""
    about = {
        "engine": served.engine,
        "path": served.path,
        "batches": list(served.batches),
        "inputs": [_tensor(_pixels(each) if signature.kind == "image" else each) for each in signature.inputs],
        "outputs": [_tensor(each) | {"tensor": each.name} for each in signature.outputs],
        "classes": list(signature.classes),
        **({"onnx": asdict(served.onnx)} if served.onnx else {}),
    }
    dates = find_spec("training.data.dates") if signature.dates else None
    if signature.dates:
        about["dates"] = [asdict(each) | {"features": each.features} for each in signature.dates]
        about["features"] = [_tensor(each) for each in signature.features]
    needs = [f"mlflow>={MLFLOW}", *_requirements(served, packages)]
    python = packages.get("python", "")
    environment = {
        **({"python": python} if python else {}),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        "MLmodel": _json(_mlmodel(run, signature, python)),
        "python_env.yaml": _json(environment),
        "requirements.txt": "".join(f"{each}\n" for each in needs).encode("ascii"),
        "pyfunc/trainyard_pyfunc.py": CODE.read_bytes(),
        "pyfunc/model.json": _json(about),
        **({"pyfunc/trainyard_dates.py": Path(dates.origin).read_bytes()} if dates and dates.origin else {}),
    }


def _mlmodel(run: Run, signature: Signature, python: str) -> dict[str, Any]:
    """The content of `MLmodel`: YAML, of which JSON is a part."""
    flavor = {
        "loader_module": "trainyard_pyfunc",
        "code": "pyfunc",
        "env": {"virtualenv": "python_env.yaml"},
        **({"python_version": python} if python else {}),
    }
    table = signature.kind == "table" and all(each.shape[1:] == (1,) for each in signature.inputs)
    inputs = [_column(each) if table else _spec(each, len(signature.inputs) > 1) for each in signature.inputs]
    outputs = [_spec(each, len(signature.outputs) > 1) for each in signature.outputs]
    return {
        "flavors": {"python_function": flavor},
        "mlflow_version": MLFLOW,
        "model_uuid": uuid.uuid5(uuid.NAMESPACE_URL, f"urn:trainyard:{run.model}:{run.id}").hex,
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None},
        "utc_time_created": run.created_at.replace("T", " ").replace("Z", ".000000"),
    }


def _requirements(served: Served, packages: Mapping[str, str]) -> list[str]:
    there = next((each for each in NEEDED[served.engine] if each in packages), NEEDED[served.engine][0])
    return [f"{each}=={packages[each]}" if each in packages else each for each in (there, "numpy")]


def _pixels(spec: TensorSpec) -> TensorSpec:
    """Pixels are 0 to 255 whatever their dtype, unless the signature says otherwise: as in the API."""
    return replace(spec, low=0 if spec.low is None else spec.low, high=255 if spec.high is None else spec.high)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "tensor": spec.tensor,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "low": spec.low,
        "high": spec.high,
        **({"may_miss": True} if spec.may_miss else {}),
    }


def _column(spec: TensorSpec) -> dict[str, Any]:
    whole = spec.dtype.startswith(("int", "uint"))
    return {"type": COLUMN.get(spec.dtype, "long" if whole else "double"), "name": spec.name, "required": True}


def _spec(spec: TensorSpec, named: bool) -> dict[str, Any]:  # noqa: FBT001  (one input or output has no name)
    dtype = {"string": "str"}.get(spec.dtype, spec.dtype)
    shape = [-1 if each is None else each for each in spec.shape]
    about: dict[str, Any] = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
    return {"name": spec.name, **about} if named else about


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
