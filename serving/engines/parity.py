"""`python -P -m serving.engines.parity FOLDER [--tolerance X]`: does the served file compute what Keras computed?

FOLDER holds the served file, `signature.json` (Signature), `served.json` (Served) and `parity.npz`: `in_0` … in the
order of the signature's inputs, `out_0` … as Keras computed them on these rows. They are run through the very engine of
the API at batch sizes 1, 2, 7, all, and 1 again. Exit code 0: equal; 1: they differ, and the last line of stderr says where.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from registry import codec
from registry.errors import PipelineError
from registry.records import Served, Signature
from serving.engines.base import Array, BadInput, EngineError, load_engine

TOLERANCE = 1e-4
SMALL = 1e-2
"""Outputs below this are compared as if they were this large: smaller differences are rounding."""


def check(folder: Path, tolerance: float) -> str:
    """Why the file in `folder` must not be served; empty when it may.

    The difference of one output is max|served - keras| / max(max|keras|, 0.01) and may be `tolerance` at most.
    """
    signature = codec.read(Signature, folder / "signature.json")
    engine = load_engine(folder, signature, codec.read(Served, folder / "served.json"))
    with np.load(folder / "parity.npz", allow_pickle=False) as file:
        inputs = {spec.name: file[f"in_{i}"] for i, spec in enumerate(signature.inputs)}
        expected = {spec.name: file[f"out_{i}"] for i, spec in enumerate(signature.outputs)}
    rows = len(next(iter(inputs.values())))
    for batch in (1, 2, 7, rows, 1):
        index = np.arange(batch) % rows
        try:
            outputs = engine({name: array[index] for name, array in inputs.items()})
        except (BadInput, EngineError) as error:
            return f"batch of {batch}: {error}"
        for name, wanted in expected.items():
            if reason := differs(outputs[name], wanted[index], tolerance):
                return f"batch of {batch}: output {name}: {reason}"
    return ""


def differs(found: Array, wanted: Array, tolerance: float) -> str:
    """How `found` differs from `wanted`, or an empty string."""
    if found.shape != wanted.shape:
        return f"shape {list(found.shape)}, Keras has {list(wanted.shape)}"
    if found.dtype.kind in "USO" or wanted.dtype.kind in "USO":
        return "" if _texts(found) == _texts(wanted) else "texts differ from those of Keras"
    ours, theirs = found.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(theirs)
    if not np.array_equal(np.isfinite(ours), finite):
        return "NaN or infinite where Keras is not, or the other way round"
    if not finite.any():
        return ""
    ours, theirs = ours[finite], theirs[finite]
    difference = float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), SMALL))
    return "" if difference <= tolerance else f"differs from Keras by {difference:.2g}, {tolerance:.2g} is allowed"


def _texts(array: Array) -> list[str]:
    return [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in array.ravel().tolist()]


def main(argv: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.engines.parity", description="Compare a served file with Keras."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="largest relative difference (%(default)s)")
    args = parser.parse_args(argv)
    try:
        reason = check(args.folder, args.tolerance)
    except (PipelineError, OSError, KeyError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
    if reason:
        sys.stderr.write(" ".join(reason.split()) + "\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
