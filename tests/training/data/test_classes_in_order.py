"""`ordered = true`: every format says it to the model, and the model's signature to everybody else."""

import numpy as np
import pytest
from data_makers import images, job_folder, outputs, run

from training.data.spec import load_split
from training.model.samples import open_samples, signature_of

NAMES = ("low", "mid", "high")
HEAD = f'classes = {list(NAMES)}\nformat = "{{kind}}"\n'


def make(folder, kind):
    if kind == "images":
        images(folder, NAMES)
    elif kind == "npz":
        np.savez(folder / "a.npz", x=np.random.default_rng(1).normal(size=(120, 4)), y=np.arange(120) % 3)
    else:
        rows = [f"{i / 7},{NAMES[i % 3]}" for i in range(120)]
        (folder / "rows.csv").write_text("\n".join(["mass,grade", *rows, ""]))
    more = '[table]\nfile = "rows.csv"\ntarget = "grade"\n' if kind == "table" else ""
    return HEAD.format(kind=kind), more


@pytest.mark.parametrize("kind", ["images", "npz", "table"])
@pytest.mark.parametrize("ordered", [True, False])
def test_an_order_is_known_to_the_model_and_to_the_api(tmp_path, kind, ordered):
    folder = job_folder(tmp_path)
    head, more = make(folder, kind)
    (folder / "dataset.toml").write_text(head + "ordered = true\n" * ordered + more)
    assert run(folder).ok
    at = outputs(folder) / "data" / "holdout"
    spec = load_split(at).spec
    assert (spec.ordered, spec.classes) == (ordered, NAMES)
    assert signature_of(spec, open_samples(at, None), spec.inputs, "grade").ordered is ordered
