"""The scan of model files: what Keras writes passes, everything else is refused with our own errors, whatever the bytes."""

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ConfigError, Corrupt, PipelineError
from training.model.model_file import ALLOWED, HDF5, REFUSED, check_config, scan_model_file

DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"units": 2, "activation": "relu"},
    "registered_name": None,
}


def model(*layers, **more):
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "tiny", "layers": list(layers)},
        "registered_name": None,
        **more,
    }


def layer(**changes):
    return DENSE | changes


def keras_file(config=None, members=None, compression=zipfile.ZIP_STORED):
    """The bytes of a model file, put together by hand."""
    files = {
        "metadata.json": b'{"keras_version": "3.15.1"}',
        "config.json": json.dumps(model(DENSE) if config is None else config).encode(),
        "model.weights.h5": HDF5 + b"weights",
    } | (members or {})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in files.items():
            if data is not None:
                archive.writestr(name, data)
    return target.getvalue()


@pytest.fixture
def scan(tmp_path):
    def run(data, **options):
        path = tmp_path / "model.keras"
        path.write_bytes(data)
        scan_model_file(path, **options)

    return run


def test_a_plain_file_passes(scan):
    scan(keras_file())
    scan(keras_file(members={"assets/layers/text/vocabulary.txt": b"a\nb"}))
    scan(keras_file(compression=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.src.layers.preprocessing.feature_space", "TFDConcat"),
        ("keras.src.layers.preprocessing.feature_space", "TFDIdentity"),
        ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
    ],
)
def test_what_keras_builds_of_its_own_without_a_public_name_passes(scan, module, name):
    scan(keras_file(model(layer(module=module, class_name=name, registered_name=name))))


REFUSALS = {
    "lambda layer": (layer(class_name="Lambda"), "Lambda"),
    "python lambda": (
        layer(config={"activation": {"class_name": "__lambda__", "config": {"value": "4wEA"}}}),
        "lambda",
    ),
    "another model": (layer(class_name="TFSMLayer"), "TFSMLayer"),
    "pickled torch": (layer(class_name="TorchModuleWrapper"), "unpickled"),
    "os.system": (layer(module="os", class_name="system"), "os.system"),
    "builtins": (layer(module="builtins", class_name="exec"), "builtins.exec"),
    "no module": (layer(module=None, class_name="Net", registered_name="Net"), "Net"),
    "the switch of safe mode": (
        layer(module="keras.config", class_name="enable_unsafe_deserialization"),
        "keras.config",
    ),
    "a download": (
        layer(config={"activation": {"class_name": "function", "config": "get_file", "module": "keras.utils"}}),
        "get_file",
    ),
    "a function by another name": (
        layer(
            config={
                "activation": {
                    "class_name": "function",
                    "config": "get_file",
                    "module": "keras.utils",
                    "registered_name": "mine>good",
                }
            }
        ),
        "get_file",
    ),
    "a dotted function": (
        layer(config={"activation": {"class_name": "function", "config": "os.system", "module": "builtins"}}),
        "os.system",
    ),
    "a private module": (layer(module="keras.src.saving.saving_lib", class_name="Load"), "saving_lib"),
    "an unknown operation": (layer(module="keras.src.ops.numpy", class_name="np.load"), "np.load"),
    "hidden deep": (layer(config={"cell": [{"x": layer(class_name="Lambda")}]}), "Lambda"),
    "a type": ({"class_name": "__typespec__", "spec_name": "X", "module": "os", "config": []}, "typespec"),
    "no class": ({"module": "os", "spec_name": "system"}, "unknown kind"),
    "registered by nobody": (layer(module=None, class_name="Scale", registered_name="theirs>Scale"), "theirs>Scale"),
    "a wrong registered name": (layer(registered_name="theirs>Dense"), "theirs>Dense"),
    "a name that is not text": (layer(class_name=["Dense"]), "not text"),
    "a vocabulary from a file": (layer(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}), "vocabulary"),
    "unregistered in compile": (None, "Evil"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_config_that_could_run_code_is_refused(scan, name):
    node, words = REFUSALS[name]
    config = (
        model(node)
        if node
        else model(DENSE, compile_config={"loss": {"class_name": "Evil", "module": "m", "config": {}}})
    )
    with pytest.raises(ConfigError, match=words):
        scan(keras_file(config), registered={"mine>good"})


@pytest.mark.parametrize(
    ("node", "hint", "not_in_it"),
    [
        (layer(class_name="Lambda"), "keras.ops", "limits"),
        (layer(class_name="TFSMLayer"), "docs/reference/limits.md", "model.py imports"),
        (
            layer(module="keras._legacy.layers", class_name="RandomWidth"),
            "docs/reference/limits.md",
            "model.py imports",
        ),
        (
            layer(module="__main__", class_name="Scale", registered_name="Scale"),
            "a module that model.py imports",
            "limits",
        ),
    ],
    ids=["lambda", "another-model", "of-keras", "own"],
)
def test_the_hint_of_a_refusal_is_one_that_helps(scan, node, hint, not_in_it):
    with pytest.raises(ConfigError) as caught:
        scan(keras_file(model(node)))
    assert hint in caught.value.hint
    assert not_in_it not in caught.value.hint


def test_what_the_code_repository_registered_may_be_in_a_file(scan):
    own = layer(module=None, class_name="Scale", registered_name="mine>Scale")
    loss = {"class_name": "function", "config": "mine>loss", "module": "builtins", "registered_name": "function"}
    config = model(own, compile_config={"loss": loss})
    scan(keras_file(config), registered={"mine>Scale", "mine>loss"})
    with pytest.raises(ConfigError, match=r"mine>loss|mine>Scale") as caught:
        scan(keras_file(config))
    assert "register_keras_serializable" in caught.value.hint


FILES = {
    "hdf5": (HDF5 + b"x" * 100, ConfigError, "HDF5"),
    "pickle": (b"\x80\x04\x95" + b"x" * 100, ConfigError, "not a zip"),
    "empty": (b"", ConfigError, "not a zip"),
    "half": (keras_file()[:200], Corrupt, "damaged"),
    "no config": (keras_file(members={"config.json": None}), ConfigError, "config.json is missing"),
    "no weights": (keras_file(members={"model.weights.h5": None}), ConfigError, "weights.h5 is missing"),
    "weights that are not HDF5": (keras_file(members={"model.weights.h5": b"\x80\x04pickle"}), Corrupt, "not HDF5"),
    "config that is not JSON": (keras_file(members={"config.json": b"{"}), Corrupt, "not JSON"),
    "config that is a list": (keras_file([1, 2]), ConfigError, "names no model"),
    "a way out": (keras_file(members={"assets/../../evil": b"x"}), ConfigError, "Keras does not write"),
    "an absolute name": (keras_file(members={"/etc/passwd": b"x"}), ConfigError, "Keras does not write"),
    "a stranger": (keras_file(members={"evil.py": b"x"}), ConfigError, "Keras does not write"),
    "a bomb": (
        keras_file(members={"assets/zeros": bytes(30 << 20)}, compression=zipfile.ZIP_DEFLATED),
        ConfigError,
        "unpacks to",
    ),
    "nested": (keras_file(members={"config.json": b"[" * 200_000}), ConfigError, "nested"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_refused(scan, name):
    data, kind, words = FILES[name]
    with pytest.raises(kind, match=words):
        scan(data)


def test_what_is_too_large_is_refused(scan):
    with pytest.raises(ConfigError, match="may have 100"):
        scan(keras_file(), max_bytes=100)


def test_what_is_not_a_file_is_refused(tmp_path):
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        scan_model_file(tmp_path / "model.keras")
    with pytest.raises(ConfigError, match="cannot be read"):
        scan_model_file(tmp_path / "none.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(ConfigError, match="not a regular file"):
        scan_model_file(tmp_path / "pipe.keras")


def test_two_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(keras_file())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", json.dumps(model(layer(class_name="Lambda"))))
    with pytest.raises(ConfigError, match="two of one name"):
        scan_model_file(path)


GOOD = keras_file(compression=zipfile.ZIP_DEFLATED)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_bytes_that_were_changed_raise_our_errors_or_nothing(tmp_path_factory, changes):
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.mktemp("changed") / "model.keras"
    path.write_bytes(data)
    try:
        scan_model_file(path)
    except PipelineError as error:
        assert str(path) in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "module", "registered_name", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_config_is_scanned_without_a_crash(config):
    try:
        check_config(model(config), "somewhere")
    except ConfigError as error:
        assert "somewhere" in str(error)


@pytest.mark.slow
@pytest.mark.tensorflow
def test_every_name_on_the_list_is_a_class_of_keras_and_nothing_public_was_forgotten():
    code = """
import inspect, json, keras
from training.model.model_file import ALLOWED
public = {}
for module in ALLOWED:
    if ".src." in module or module in {"keras", "keras.models"}:
        continue
    place = keras
    for part in module.split(".")[1:]:
        place = getattr(place, part)
    public[module] = sorted({each.__name__ for name, each in vars(place).items() if inspect.isclass(each)}
                            | {name for name, each in vars(place).items() if inspect.isclass(each) and name[0].isupper()})
print(json.dumps(public))
"""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    abstract = {
        "keras.layers": {"Layer", "Wrapper", "InputSpec"},
        "keras.optimizers": {"Optimizer"},
        "keras.optimizers.schedules": {"LearningRateSchedule"},
        "keras.losses": {"Loss"},
        "keras.metrics": {"Metric"},
        "keras.initializers": {"Initializer"},
        "keras.regularizers": {"Regularizer"},
        "keras.constraints": {"Constraint"},
        "keras.quantizers": {"Quantizer", "QuantizationConfig"},
    }
    for module, names in json.loads(done.stdout).items():
        assert ALLOWED[module] <= set(names), module
        forgotten = set(names) - ALLOWED[module] - REFUSED.keys() - abstract.get(module, set())
        assert not forgotten, f"{module}: allow these, or refuse them: {forgotten}"
