"""A team's own script that leaves model.onnx instead of model.keras."""

import base64
import sys

import numpy as np
import pytest
from onnx_models import mixed, network, zipped
from training_parts import make_job, run_jobs, shop

from registry.errors import ConfigError, Corrupt, WorkerFailed
from training.data.spec import load_split

pytest.importorskip("onnxruntime")
from serving.engines.base import cast_inputs, load_engine

LEAVES = """
import base64, os, sys
for name, data in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(os.path.join(os.environ["TRAINYARD_OUTPUT"], name), "wb") as file:
        file.write(base64.b64decode(data))
"""


def leaves(**files):
    """A script that leaves these files; each `_` in a name becomes a dot."""
    pairs = [(name.replace("_", "."), base64.b64encode(data).decode()) for name, data in files.items()]
    return {
        "command": ("python", "train.py", *(each for pair in pairs for each in pair)),
        "files": {"train.py": LEAVES},
    }


CASES = {
    "good": (leaves(model_onnx=mixed(("yes", "no"))), None),
    "rehearsed": (leaves(model_onnx=mixed()) | {"rehearsal_seconds": 60.0}, None),
    "zipmap": (leaves(model_onnx=zipped()), (ConfigError, ["made by ZipMap"], "zipmap")),
    "unnamed": (
        leaves(model_onnx=network([[1, 0]] * 2, [0, 0])) | {"rehearsal_seconds": 60.0},
        (ConfigError, ["before its training, in a rehearsal", "2 of numbers and texts"], "initial_types"),
    ),
    "both": (leaves(model_onnx=mixed(), model_keras=b"x"), (WorkerFailed, ["left both model.keras and model.onnx"], "the one")),
    "damaged": (leaves(model_onnx=b"x" * 100), (Corrupt, ["model.onnx", "not an ONNX file"], "")),
    "pickled": (leaves(forest_pkl=b"x"), (WorkerFailed, ["left no model.keras and no model.onnx", "forest.pkl"], "docs/how-to/onnx.md")),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    at = tmp_path_factory.mktemp("onnx")
    return run_jobs([make_job(at / name, code=None, data=shop, **settings) for name, (settings, _) in CASES.items()])


@pytest.mark.parametrize("name", ["good", "rehearsed"])
def test_the_file_is_measured_and_kept_as_it_is(outcomes, name):
    result = outcomes[name].result
    assert (result.how, result.served.engine, result.served.path) == ("command", "onnx", "model.onnx")
    assert result.files.keys() == {"model.onnx", "signature.json", "history.json"}
    assert result.validation["accuracy"] == 1.0
    assert result.served.onnx.classes == ((1, 0) if name == "good" else (0, 1))
    assert "onnxruntime" in result.packages
    assert "keras" not in result.packages
    split = load_split(outcomes[name].folder / "inputs" / "validation")
    engine = load_engine(outcomes[name].outputs, result.signature, result.served)
    answers = engine(cast_inputs(result.signature, split.x))
    assert (answers["probabilities"].argmax(axis=1) == np.asarray(split.y)).all()


@pytest.mark.parametrize("name", [name for name, (_, wrong) in CASES.items() if wrong])
def test_what_cannot_be_served_is_refused_with_the_way_out(outcomes, name):
    outcomes[name].must_have_failed(*CASES[name][1])


def test_a_retraining_gives_the_script_no_onnx_file_and_says_so(tmp_path):
    registered = tmp_path / "version"
    registered.mkdir()
    script = LEAVES + "assert 'TRAINYARD_MODEL' not in os.environ\n"
    settings = leaves(model_onnx=mixed()) | {"files": {"train.py": script}, "retrain_epochs": 7, "epochs": 3}
    folder = make_job(tmp_path / "again", code=None, data=shop, model=registered, **settings)
    (registered / "data.json").write_bytes((folder / "inputs" / "train" / "data.json").read_bytes())
    (registered / "model.onnx").write_bytes(mixed())
    outcome = run_jobs([], [folder])["again"]
    assert outcome.result.note.startswith("trained by python train.py")
    assert outcome.result.epochs == 3
    (note,) = outcome.events("note")
    assert (
        note["text"]
        == "the registered model is not given to the script: it is an ONNX model, which nothing trains further"
    )


def test_no_tensorflow_is_imported_for_it(tmp_path):
    import subprocess

    folder = make_job(tmp_path / "job", code=None, data=shop, **CASES["good"][0])
    code = "import sys; from pathlib import Path; from training.__main__ import main; main(Path.cwd()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras"} & set(done.stdout.split())
