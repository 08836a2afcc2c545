"""The operators of a SavedModel are looked through before TensorFlow loads it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saved_models import field, function, function_of_names, node, saved_model

from registry.errors import ConfigError, Corrupt
from training.model.operators import ALLOWED, SAVER
from training.model.saved_model_file import check_saved_model

CALL = node("serve", "StatefulPartitionedCall", ["answer"])
ANSWER = function("answer", node("net/dense/MatMul", "MatMul"), node("net/dense/Relu", "Relu"))
SAVE = function("save", node("SaveV2", "SaveV2"), node("MergeV2Checkpoints", "MergeV2Checkpoints"))
RESTORE = function("restore", node("RestoreV2", "RestoreV2"))
SAVER_NODES = [node("to", "StatefulPartitionedCall", ["save"]), node("from", "StatefulPartitionedCall", ["restore"])]
WHOLE = {"saver": ("to", "from"), "objects": ("answer",)}


@pytest.fixture
def refused(tmp_path):
    """What is said of a graph; empty when it is taken."""

    def said(data, kind=ConfigError):
        (tmp_path / "saved_model.pb").write_bytes(data)
        try:
            check_saved_model(tmp_path)
        except (ConfigError, Corrupt) as error:
            assert isinstance(error, kind)
            assert str(error).startswith(str(tmp_path))
            assert error.hint
            return str(error)
        return ""

    return said


def model(*more, nodes=(CALL, *SAVER_NODES), functions=(ANSWER, SAVE, RESTORE), **changes):
    return saved_model([*nodes, *more], functions, **{**WHOLE, **changes})


def test_a_model_that_computes_is_taken_with_its_saver(refused):
    assert refused(model()) == ""


FILES = ("ReadFile", "WriteFile", "PrintV2", "ImmutableConst", "InitializeTableFromTextFileV2", "SaveV2", "RestoreV2")
OTHERS = (
    "PyFunc",
    "EagerPyFunc",
    "CollectiveReduceV2",
    "RemoteCall",
    "Send",
    "Abort",
    "TextLineDataset",
    "FIFOQueueV2",
)


@pytest.mark.parametrize("operator", [*FILES, *OTHERS, "Unknown", ""])
def test_an_operator_that_reaches_beyond_is_refused_with_its_layer(refused, operator):
    evil = node("net/evil_1/op", operator)
    said = f"operator {operator} is not allowed in a model, it may reach beyond its inputs (in layer evil_1, net/evil_1/op)"
    assert said in refused(model(functions=(function("answer", evil), SAVE, RESTORE)))
    assert said in refused(model(evil))
    assert said in refused(model(functions=(ANSWER, SAVE, RESTORE, function("unused", evil))))
    assert f"operator {operator} is not allowed" in refused(model(node("op", operator)))


SAVING = {
    "called by the answer": model(
        functions=(function("answer", node("x", "PartitionedCall", ["save"])), SAVE, RESTORE)
    ),
    "called by a function that it is given to": model(
        functions=(
            function("answer", node("x", "PartitionedCall", ["other"], given=["save"])),
            function("other"),
            SAVE,
            RESTORE,
        )
    ),
    "called by one of many": model(
        functions=(function("answer", node("x", "Case", (), ["answer", "save"])), SAVE, RESTORE)
    ),
    "called by a loop in a loop": model(
        functions=(
            function("answer", node("x", "While", ["body"])),
            function("body", node("y", "If", ["restore"])),
            SAVE,
            RESTORE,
        )
    ),
    "called by an object": model(objects=("answer", "save")),
    "an object that no list names": model(own=("answer", "save")),
    "an object of one signature that no list names": model(bare=("restore",)),
    "called by another node": model(node("init", "StatefulPartitionedCall", ["save"])),
    "called by a function that nothing calls": model(
        functions=(ANSWER, SAVE, RESTORE, function("unused", node("x", "PartitionedCall", ["save"])))
    ),
    "the saver's other function": model(saver=("to", "")),
    "without a saver": model(saver=("", "")),
    "in the main graph": model(node("to", "SaveV2")),
}


@pytest.mark.parametrize("data", SAVING.values(), ids=SAVING)
def test_what_the_saver_may_only_the_saver_may(refused, data):
    assert "V2 is not allowed in a model" in refused(data)


@pytest.mark.parametrize("called", ["save", "WriteFile", "answer"])
def test_a_function_cannot_be_called_as_if_it_were_an_operator(refused, called):
    # TensorFlow gives functions other names when it loads them, and what was called is the operator.
    evil = function("evil", node("x", called, ["answer"]))
    assert f"operator {called} is not allowed" in refused(
        model(functions=(ANSWER, SAVE, RESTORE, function("WriteFile"), evil))
    )


@pytest.mark.parametrize(
    "two",
    [
        function_of_names("WriteFile", "harmless"),
        function_of_names("harmless", "WriteFile", signatures=2),
        function_of_names("answer"),
        function_of_names(""),
        function_of_names(),
    ],
)
def test_a_function_has_one_name_of_its_own(refused, two):
    # Of two names TensorFlow takes the last: one was checked, and another one called.
    assert "a function must have a name of its own" in refused(model(functions=(ANSWER, SAVE, RESTORE, two)), Corrupt)


def test_functions_within_functions_without_end_are_damaged(refused):
    inner = field(1, "answer")
    for _ in range(2000):
        inner = field(1, "answer") + field(2, field(2, field(10, inner)))
    deep = field(1, "x") + field(2, "PartitionedCall") + field(5, field(2, field(10, inner)))
    assert "damaged" in refused(model(deep), Corrupt)


def test_the_saver_may_save_only(refused):
    save = function("save", node("SaveV2", "SaveV2"), node("WriteFile", "WriteFile"))
    assert "operator WriteFile is not allowed" in refused(model(functions=(ANSWER, save, RESTORE)))


@pytest.mark.parametrize("asset", ["../../etc/passwd", "/etc/passwd", "a/b", "", ".hidden", "a\0"])
def test_an_asset_outside_of_the_folder_is_refused(refused, asset):
    assert "is not a file of the model" in refused(model(assets=(asset,)))
    assert refused(model(assets=("vocabulary.txt",))) == ""


def test_a_model_of_tensorflow_1_is_refused_because_its_saver_would_run(refused):
    assert "it is of TensorFlow 1" in refused(model(tensorflow=1))


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_one_graph(refused, count):
    assert f"it has {count} graphs" in refused(model(graphs=count))


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_no_other_file_is_loaded_instead(refused, tmp_path, name):
    (tmp_path / name).touch()
    assert f"{name}: only saved_model.pb is allowed" in refused(model())


def test_a_missing_and_an_empty_file_are_damaged(refused, tmp_path):
    with pytest.raises(Corrupt, match="cannot be read"):
        check_saved_model(tmp_path)
    assert "cannot be read" in refused(b"", Corrupt)


@given(st.binary(max_size=60), st.integers(0, len(model())))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_taken_or_refused(refused, more, at):
    data = model()
    refused(data[:at] + more + data[at:], (ConfigError, Corrupt))
    refused(data[:at] + more, (ConfigError, Corrupt))


def test_the_list_holds_no_operator_that_its_head_excludes():
    words = (
        "File",
        "Py",
        "Dataset",
        "Iterator",
        "Queue",
        "Reader",
        "Summary",
        "Print",
        "Collective",
        "Send",
        "Recv",
        "Debug",
    )
    assert not [name for name in ALLOWED if any(word in name for word in words)]
    assert not ALLOWED & {*FILES, *OTHERS}
    assert {"StaticRegexFullMatch"} == ALLOWED & SAVER


@pytest.mark.tensorflow
def test_what_keras_exports_is_taken_and_what_reads_a_file_is_named(tmp_path):
    import subprocess
    import sys

    code = """
import keras, sys, tensorflow as tf
from keras import layers
from registry.errors import ConfigError
from pathlib import Path
from training.model.operators import ALLOWED
from training.model.saved_model_file import check_saved_model

assert ALLOWED <= set(dir(tf.raw_ops)), ALLOWED - set(dir(tf.raw_ops))

class Evil(layers.Layer):
    def call(self, x):
        secret = tf.io.read_file("/etc/hostname")
        return x + tf.cast(tf.strings.length(secret), tf.float32) * 0

def exported(name, *more):
    words = keras.Input((1,), dtype="string")
    x = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=5)(words)
    x = layers.LSTM(3)(layers.Embedding(10, 4)(x))
    for each in more:
        x = each(x)
    keras.Model(words, layers.Dense(2)(x)).export(Path(sys.argv[1]) / name, verbose=False)
    return Path(sys.argv[1]) / name

check_saved_model(exported("good"))
try:
    check_saved_model(exported("evil", Evil(name="peeking")))
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, tmp_path], capture_output=True, text=True, check=False, timeout=240
    )
    assert "operator ReadFile is not allowed" in done.stdout, done.stderr[-2000:]
    assert "in layer peeking" in done.stdout
