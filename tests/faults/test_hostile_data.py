"""Datasets and model files that mean harm: each is refused, by name, and nothing in them is executed or reached.

What the scan of a `.keras` file refuses, and what is wrong with honest data, is in tests/training; here a worker with
limits reads what was made to break it, and a canary shows whether anything ran.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from faults_parts import nobody_works_in
from PIL import Image
from pyarrow import parquet

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.process.runner import ProcessRunner
from registry import codec
from registry.errors import ConfigError, PipelineError
from training.data.dataset_toml import load_dataset_file
from training.data.spec import PrepareJob, Validation

ROOT = Path(__file__).parents[2]
NPZ = {"dataset.toml": 'format = "npz"\n'}
TABLE = {"dataset.toml": 'format = "table"\n[table]\nfile = "a.*"\ntarget = "y"\n'}
IMAGES = {"dataset.toml": 'format = "images"\n'}


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def image(seed=0):
    data = io.BytesIO()
    Image.effect_noise((8, 8), 40 + seed).save(data, "PNG")
    return data.getvalue()


def png_of(*chunks, size=(8, 8)):
    head = chunk(b"IHDR", struct.pack(">2I5B", *size, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def npz(**arrays):
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return data.getvalue()


def npy_that_claims(shape):
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return data.getvalue() + bytes(64)


def zipped(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def rows(count):
    data = io.BytesIO()
    parquet.write_table(
        pa.table({"a": pa.array(np.zeros(count, np.int32)), "y": pa.array(np.zeros(count, np.int8))}), data
    )
    return data.getvalue()


class Evil:
    """Touches a canary when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch canary; touch ../canary",)


def objects():
    array = np.empty(2, object)
    array[:] = [Evil(), Evil()]
    data = io.BytesIO()
    np.savez(data, x=array, y=np.zeros(2))
    return data.getvalue()


WHOLE = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
CASES = {
    "a pickle among arrays": (NPZ | {"a.npz": objects}, "never unpickled"),
    "a pickle in the place of an archive": (NPZ | {"a.npz": lambda: pickle.dumps(Evil())}, "a.npz"),
    "a pickle in the place of an array": (NPZ | {"a.npz": lambda: zipped({"x.npy": pickle.dumps(Evil()), "y.npy": b""})}, "a.npz"),
    "an archive with a way out": (NPZ | {"a.npz": lambda: zipped({"../../x.npy": b"", "/y.npy": b""})}, "a.npz"),
    "an archive that unpacks to gigabytes": (NPZ | {"a.npz": lambda: npz(x=np.zeros((2, 450 << 20), np.uint8), y=np.arange(2))}, "memory"),
    "an array that claims terabytes": (NPZ | {"a.npz": lambda: zipped({"x.npy": npy_that_claims((2, 10**12)), "y.npy": npy_that_claims((2,))})}, "a.npz"),
    "an array of a negative size": (NPZ | {"a.npz": lambda: zipped({"x.npy": npy_that_claims((-2, 4)), "y.npy": b""})}, "a.npz"),
    "an image that claims gigapixels": (IMAGES | {"a/1.png": lambda: png_of(WHOLE, size=(1 << 15, 1 << 15)), "b/1.png": image}, "pixels"),
    "an image whose text unpacks to gigabytes": (
        IMAGES | {"a/1.png": lambda: png_of(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100 << 20))), WHOLE), "b/1.png": image},
        "a/1.png",
    ),
    "an image whose profile unpacks to gigabytes": (
        IMAGES | {"a/1.png": lambda: png_of(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100 << 20))), WHOLE), "b/1.png": image},
        "split",
    ),
    "a line of a hundred megabytes": (TABLE | {"a.csv": lambda: b"a,y\n" + b"1" * (100 << 20) + b",2\n"}, "a.csv"),
    "a hundred thousand columns": (TABLE | {"a.csv": lambda: b",".join(b"c%d" % i for i in range(100_000)) + b",y\n" + b"1," * 100_000 + b"x\n"}, "memory"),
    "a quote that never ends": (TABLE | {"a.csv": lambda: b'a,y\n"' + b"1,2\n" * 5_000_000}, "a.csv"),
    "a small file with very many rows": (TABLE | {"a.parquet": lambda: rows(40_000_000)}, "memory"),
    "not a Parquet file": (TABLE | {"a.parquet": lambda: b"PAR1" + b"\xff" * 100 + b"PAR1"}, "a.parquet"),
    "nested settings": ({"dataset.toml": "x = " + "[" * 50_000}, "dataset.toml"),
    "nested tables": ({"dataset.toml": "x = " + "{a=" * 5000}, "dataset.toml"),
    "a number without end": ({"dataset.toml": "x = " + "9" * 9000}, "dataset.toml"),
    "settings of megabytes": ({"dataset.toml": "# " + "x" * (20 << 20)}, "dataset.toml"),
    "a pattern without end": (IMAGES | {"dataset.toml": 'format = "images"\n[images]\ngroup = "' + "(" * 9000 + ")" * 9000 + '"\n'}, "group"),
    "a pattern that repeats for ever": (IMAGES | {"dataset.toml": 'format = "images"\n[images]\ngroup = "(a{99999999999999})"\n'}, "group"),
    "a name that ends early": (IMAGES | {"dataset.toml": 'format = "images"\n[images]\nfolder = "a\\u0000b"\n', "a/1.png": image}, "folder"),
}  # fmt: skip


@pytest.fixture
def validate(tmp_path):
    """Prepare a dataset in a worker with limits; gives what a person reads."""

    def run(files):
        dataset, job = tmp_path / "dataset", tmp_path / "job"
        for name, content in files.items():
            path = dataset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = content() if callable(content) else content
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        job.mkdir()
        codec.save(PrepareJob(dataset="dataset"), job / "job.json")
        inputs = {"dataset": dataset}
        runner = ProcessRunner(RunnerConfig(), tmp_path / "cache", grace=0.5)
        try:
            runner.run(Job("validate", ("training.data.prepare",), job, Limits(120, 700, 2000), inputs), lambda _: None)
        except PipelineError as error:
            assert error.exit_code == 2
            return str(error)
        finally:
            nobody_works_in(job)
        found = codec.read(Validation, job / "result.json")
        assert not found.ok
        return json.dumps([[failed.check, *failed.messages] for failed in found.faults], ensure_ascii=False)

    return run


@pytest.mark.parametrize(("files", "word"), CASES.values(), ids=CASES)
def test_a_dataset_that_means_harm_is_refused_with_its_place(validate, files, word, tmp_path):
    said = validate(files)
    assert word in said
    assert "Traceback" not in said
    assert "exit code 1" not in said, said
    assert len(said) < 5000
    assert not list(tmp_path.rglob("canary"))
    assert not (ROOT / "canary").exists()


@pytest.mark.parametrize(
    "way", ["../secret/*", "/etc/*", "a/../../secret/*", "**/../../secret/*", "link/*", "link", "~/*"]
)
@pytest.mark.parametrize("kind", ["table", "npz"])
def test_no_pattern_leads_out_of_the_repository(validate, tmp_path, way, kind):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.csv").write_text("a,y\ns3cret,s3cret\n")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "link").symlink_to(tmp_path / "secret")
    key, more = ("file", 'target = "y"') if kind == "table" else ("files", "")
    said = validate({"dataset.toml": f'format = "{kind}"\n[{kind}]\n{key} = "{way}"\n{more}\n'})
    assert "s3cret" not in said
    assert not [path for path in (tmp_path / "job").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


@pytest.mark.parametrize("way", ["..", "/etc", "a/../..", "link"])
def test_no_folder_of_images_leads_out(validate, tmp_path, way):
    for name in ("a", "b"):
        (tmp_path / "secret" / name).mkdir(parents=True)
        (tmp_path / "secret" / name / "1.png").write_bytes(image())
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "link").symlink_to(tmp_path / "secret")
    said = validate({"dataset.toml": f'format = "images"\n[images]\nfolder = "{way}"\n'})
    assert "folder" in said
    assert not list((tmp_path / "job" / "outputs").rglob("*.npy"))


def test_file_names_that_mislead_are_shown_and_hurt_nobody(validate):
    names = ("a\nb", "\x1b[2J", "\u202egpj", "$(touch canary)", "-rf", "; touch canary")
    said = validate(IMAGES | {f"{kind}/{name}.png": b"no image" for name in names for kind in ("cat", "dog")})
    for name in names:
        assert json.dumps(name, ensure_ascii=False)[1:-1] in said


@pytest.mark.parametrize(
    "make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "endless"]
)
def test_settings_that_are_not_a_file_are_reported(tmp_path, make):
    make(tmp_path / "dataset.toml")
    with pytest.raises(ConfigError, match=r"dataset\.toml"):
        load_dataset_file(tmp_path)


LOADS = '''
import json, os, sys, zipfile
from pathlib import Path
import h5py, keras, numpy as np
from training.model.model_file import load_model

folder = Path(sys.argv[1])
os.chdir(folder)
honest = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
honest.save("honest.keras")
Path("secret").write_bytes(np.full(3, 7.5, "float32").tobytes() + b"s3cret" * 10)
with h5py.File("secret.h5", "w") as file:
    file["0"], file["1"] = np.full((4, 3), 7.5, "float32"), np.full(3, 7.5, "float32")

def forged(name, change=None, config=None):
    """The honest file with other weights, or another config."""
    with zipfile.ZipFile("honest.keras") as old, zipfile.ZipFile(f"{name}.keras", "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "model.weights.h5" and change:
                Path("w.h5").write_bytes(data)
                with h5py.File("w.h5", "r+") as file:
                    change(file, file["layers/dense/vars"])
                data = Path("w.h5").read_bytes()
            if member == "config.json" and config:
                data = config(data.decode()).encode()
            new.writestr(member, data)

def again(where, name, **how):
    del where[name]
    return where.create_dataset(name, **how)

forged("untouched")
forged("external link", lambda file, where: (where.__delitem__("1"), where.__setitem__("1", h5py.ExternalLink("secret.h5", "/1"))))
forged("external group", lambda file, where: (file["layers/dense"].__delitem__("vars"), file["layers/dense"].__setitem__("vars", h5py.ExternalLink("secret.h5", "/"))))
forged("soft link", lambda file, where: (where.__delitem__("1"), where.__setitem__("1", h5py.SoftLink("/layers"))))
forged("external storage", lambda file, where: again(where, "1", shape=(3,), dtype="f4", external=[("secret", 0, 12)]))
layout = h5py.VirtualLayout((3,), "f4")
layout[:] = h5py.VirtualSource("secret.h5", "1", (3,))
def virtual(file, where):
    del where["1"]
    where.create_virtual_dataset("1", layout)
forged("virtual dataset", virtual)
forged("declared terabytes", lambda file, where: again(where, "1", shape=(10**6, 10**6), dtype="f4", chunks=(100, 100)))
forged("a layer of terabytes", config=lambda text: text.replace('"units": 3', '"units": 1000000000000'))
forged("a negative layer", config=lambda text: text.replace('"units": 3', '"units": -3'))
forged("a layer of text", config=lambda text: text.replace('"units": 3', '"units": "__import__"'))
forged("garbage weights", lambda file, where: again(where, "1", data=np.array([b"x" * 9] * 3)))
touch = "__import__('os').system('touch canary')"
keras.Sequential([keras.Input((4,)), keras.layers.Lambda(eval(f"lambda x: {touch} and x or x"))]).save("lambda.keras")
Path("canary").unlink(missing_ok=True)  # building it has run it once
forged("lambda without a module", config=lambda text: text.replace('"Dense"', '"Lambda"').replace("keras.layers", ""))
forged("os system", config=lambda text: text.replace('"class_name": "Dense"', '"class_name": "system"').replace('"module": "keras.layers"', '"module": "os"', 2))

found = {}
for path in sorted(folder.glob("*.keras")):
    try:
        weights = load_model(path, compiled=False).get_weights()
        found[path.stem] = "loaded" + (" the secret" if any((each == 7.5).any() for each in weights) else "")
    except Exception as error:
        found[path.stem] = f"{type(error).__name__}: {error}"
found["canary"] = Path("canary").exists()
print(json.dumps(found))
'''


@pytest.mark.tensorflow
def test_hostile_model_files_are_refused_and_nothing_in_them_runs_or_is_read(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADS, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("canary") is False
    assert found.pop("honest") == found.pop("untouched") == "loaded"
    assert len(found) == 13
    for name, said in found.items():
        assert said.startswith(("ConfigError: ", "WorkerFailed: ", "Corrupt: ")), f"{name}: {said}"
        assert f"{name}.keras" in said
        assert "s3cret" not in said
