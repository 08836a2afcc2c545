"""The engines against what Keras computed, and the parity command."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from serving_parts import samples

from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.records import Served, Signature
from serving.engines.base import BadInput, ColumnBlock, EngineError, can_be_block, cast_inputs, chunks, load_engine

LITERT = ("digits", "table", "recurrent", "lookup", "price", "pair")


def open_engine(folder, threads=1):
    signature, served = (codec.read(noun, folder / f"{noun.__name__.lower()}.json") for noun in (Signature, Served))
    return load_engine(folder, signature, served, threads)


@pytest.mark.parametrize("kind", LITERT)
@pytest.mark.parametrize("rows", [1, 3, 8, 11, 20])
def test_litert_answers_like_keras_at_every_batch_size(served_models, kind, rows):
    x, y = samples(served_models / kind)
    outputs = open_engine(served_models / kind)({name: array[:rows] for name, array in x.items()})
    assert outputs.keys() == y.keys()
    for name, expected in y.items():
        np.testing.assert_allclose(outputs[name], expected[:rows], rtol=1e-4, atol=1e-5)


def test_more_rows_than_one_call_takes_are_cut_and_joined(served_models):
    x, y = samples(served_models / "digits")
    many = np.arange(100) % 20
    outputs = open_engine(served_models / "digits")({"image": x["image"][many]})
    np.testing.assert_allclose(outputs["probabilities"], y["probabilities"][many], rtol=1e-4, atol=1e-6)


def test_fixed_batches_are_filled_and_the_rest_is_padded():
    assert list(chunks(18, (1, 8))) == [(0, 8, 8), (8, 16, 8), (16, 18, 8)]
    assert list(chunks(9, (1, 8))) == [(0, 8, 8), (8, 9, 1)]
    assert list(chunks(70)) == [(0, 32, 32), (32, 64, 32), (64, 70, 6)]


def test_a_small_request_comes_between_the_calls_of_a_large_one(served_models, monkeypatch):
    x, _ = samples(served_models / "digits")
    engine, order = open_engine(served_models / "digits"), []
    (opened,) = engine._idle._idle
    run = opened[0]
    monkeypatch.setitem(opened, 0, lambda image: order.append(len(image)) or run(image=image))

    def small():
        while not order:
            pass
        return engine({"image": x["image"][:1]})

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(small)
        engine({"image": x["image"][np.arange(32 * 3000) % 20]})
        answer.result()
    assert order.index(1) < 3000


def test_threads_at_once_get_their_own_answers(served_models):
    x, y = samples(served_models / "digits")
    engine = open_engine(served_models / "digits", threads=4)

    def one(i):
        return engine({"image": x["image"][i : i + 1]})["probabilities"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, list(range(20)) * 20))
    np.testing.assert_allclose(np.concatenate(answers), np.tile(y["probabilities"], (20, 1)), rtol=1e-4, atol=1e-6)


def test_calls_for_many_rows_take_turns_and_others_run_beside_them(served_models):
    x, y = samples(served_models / "digits")
    engine = open_engine(served_models / "digits", threads=2)
    engine.renew(most=8, many=8, at_once=1)
    if engine._count < 2:
        pytest.skip("needs two cores")
    running, seen, sizes = [], [], set()

    def watched(run):
        def call(image):
            running.append(len(image))
            seen.append(sorted(running))
            sizes.add(len(image))
            try:
                return run(image=image)
            finally:
                running.remove(len(image))

        return call

    for opened in engine._idle._idle:
        opened[0] = watched(opened[0])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda rows: (rows, engine({"image": x["image"][:rows]})), [20, 3, 16, 1] * 50))
    for rows, answer in answers:
        np.testing.assert_allclose(answer["probabilities"], y["probabilities"][:rows], rtol=1e-4, atol=1e-6)
    assert sizes == {8, 4, 3, 1}
    assert [8, 8] not in seen
    assert all(len(each) <= 2 for each in seen)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "the inputs are missing; the model takes image"),
        ({"picture": np.zeros((1, 8, 8, 1), np.float32)}, "the inputs are picture"),
        ({"image": np.zeros((1, 7, 7, 1), np.float32)}, "image: float32 1x7x7x1 is not float32 ?x8x8x1"),
        ({"image": np.zeros((8, 8, 1), np.float32)}, "image: float32 8x8x1 is not"),
        ({"image": np.zeros((1, 8, 8, 1), np.float64)}, "image: float64"),
        ({"image": np.zeros((0, 8, 8, 1), np.float32)}, "no rows"),
    ],
)
def test_what_litert_would_swallow_is_refused_before_it_runs(served_models, inputs, said):
    with pytest.raises(BadInput, match=said.replace("?", r"\?")):
        open_engine(served_models / "digits")(inputs)


def test_inputs_with_different_numbers_of_rows_are_refused(served_models):
    x, _ = samples(served_models / "price")
    with pytest.raises(BadInput, match="floors: 2 rows, other inputs have 3"):
        open_engine(served_models / "price")({"size": x["size"][:3], "floors": x["floors"][:2]})


def test_a_value_that_the_model_cannot_take_is_an_engine_error_and_the_engine_still_works(served_models):
    x, y = samples(served_models / "lookup")
    engine = open_engine(served_models / "lookup")
    with pytest.raises(EngineError, match="out of bounds"):
        engine({"words": np.full((1, 4), 10, np.int32)})
    np.testing.assert_allclose(engine(x)["probability"], y["probability"], rtol=1e-4)


def test_images_of_a_prepared_split_are_cast_to_the_models_dtype(served_models):
    signature = codec.read(Signature, served_models / "digits" / "signature.json")
    cast = cast_inputs(signature, {"image": np.zeros((2, 8, 8, 1), np.uint8)})
    assert cast["image"].dtype == np.float32


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.tflite").unlink(), "the served file is missing"),
        (lambda folder: (folder / "model.tflite").write_bytes(b"no"), "not a TensorFlow Lite model"),
        (lambda folder: cut_off(folder / "model.tflite"), "lie outside of its"),
    ],
    ids=["missing", "nonsense", "truncated"],
)
def test_a_damaged_file_is_corrupt(served_models, tmp_path, damage, said):
    folder = shutil.copytree(served_models / "digits", tmp_path / "digits")
    damage(folder)
    with pytest.raises(Corrupt, match=said):
        open_engine(folder)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "picture"}, r"inputs \['image'\], the signature says \['picture'\]"),
        ({"dtype": "uint8"}, "input image is float32"),
        ({"shape": (None, 9, 9, 1)}, "the signature says float32"),
    ],
)
def test_a_signature_that_is_not_the_files_is_corrupt(served_models, change, said):
    folder = served_models / "digits"
    signature = codec.read(Signature, folder / "signature.json")
    other = replace(signature, inputs=(replace(signature.inputs[0], **change),))
    with pytest.raises(Corrupt, match=said):
        load_engine(folder, other, codec.read(Served, folder / "served.json"))


def test_an_unknown_engine_is_reported_with_the_known_ones(served_models):
    signature = codec.read(Signature, served_models / "digits" / "signature.json")
    with pytest.raises(ConfigError, match="'pickle' is not known") as error:
        load_engine(served_models, signature, Served("pickle", "x", ""))
    assert "litert" in error.value.hint


def parity(folder, *more):
    command = [sys.executable, "-P", "-m", "serving.engines.parity", folder, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_parity_command_says_yes(served_models):
    done = parity(served_models / "recurrent")
    assert done.returncode == 0, done.stderr


def test_the_parity_check_never_imports_tensorflow(served_models):
    code = f"import sys, serving.engines.parity; serving.engines.parity.main([{str(served_models / 'digits')!r}]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ai_edge_litert" in loaded
    assert not loaded & {"tensorflow", "keras", "pandas", "flask"}


def test_the_parity_command_says_no_on_the_last_line(served_models, tmp_path):
    folder = shutil.copytree(served_models / "digits", tmp_path / "digits")
    shutil.copy(served_models / "digits2" / "model.tflite", folder)
    done = parity(folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("batch of 1: output probabilities: differs from Keras by ")
    assert parity(folder, "--tolerance", "10").returncode == 0


def test_the_parity_command_refuses_nan(served_models, tmp_path):
    folder = shutil.copytree(served_models / "digits", tmp_path / "digits")
    with np.load(folder / "parity.npz") as file:
        arrays = dict(file)
    arrays["out_0"][13, 1] = np.nan
    np.savez(folder / "parity.npz", **arrays)
    assert parity(folder).stderr.splitlines()[-1] == (
        "batch of 20: output probabilities: NaN or infinite where Keras is not, or the other way round"
    )


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_fallback_engine_runs_text_operations_that_litert_has_not(served_models):
    done = parity(served_models / "text")
    assert done.returncode == 0, done.stderr.splitlines()[-1]


HUNGRY = """
import gc
import sys
from pathlib import Path
import numpy as np
from registry.records import Served, Signature, TensorSpec
from serving.engines.base import load_engine

one = [TensorSpec(name, (None, 1), "float32") for name in ("count", "sum")]
signature = Signature("regression", "array", (one[0],), (one[1],))

def engine():
    return load_engine(Path(), signature, Served("saved_model", "hungry", ""))

def save():
    import tensorflow as tf

    class Hungry(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name="count")])
        def __call__(self, count):
            return {"sum": tf.reduce_sum(tf.zeros(tf.cast(count[0], tf.int64)), keepdims=True)}

    hungry = Hungry()
    tf.saved_model.save(hungry, "hungry", signatures=hungry.__call__)

if sys.argv[1:] == ["save"]:
    sys.exit(save())
run = engine()
print(gc.get_freeze_count() > 0)
print(run({"count": np.full((1, 1), 5, np.float32)}))
try:
    run({"count": np.full((1, 1), 2.0**50, np.float32)})
except MemoryError as error:
    print(error)
"""


@pytest.mark.tensorflow
@pytest.mark.slow
def test_tensorflow_is_imported_the_quick_way_and_its_want_of_memory_is_a_memory_error(tmp_path):
    command = [sys.executable, "-P", "-c", HUNGRY]
    subprocess.run([*command, "save"], cwd=tmp_path, capture_output=True, check=True)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    quick, fine, full = done.stdout.splitlines() or [done.stderr, "", ""]
    assert (quick, fine) == ("True", "{'sum': array([0.], dtype=float32)}")
    assert "OOM when allocating tensor" in full


class Sizes:
    """An interpreter of one output, the sum of each row, that counts how often its sizes are set up."""

    def __init__(self):
        self.given, self.set_up = {}, 0

    def resize_tensor_input(self, index, shape):
        self.given[index] = np.zeros(shape, np.float32)

    def allocate_tensors(self):
        self.set_up += 1

    def set_tensor(self, index, array):
        assert self.given[index].shape == array.shape
        self.given[index] = array

    def invoke(self):
        self.out = sum(self.given.values())

    def get_tensor(self, _index):
        return self.out


def test_many_columns_keep_their_sizes_for_fewer_rows():
    from serving.engines.litert import MANY_TENSORS, PADDED, AnyBatch

    names = tuple(f"c{i}" for i in range(MANY_TENSORS))
    interpreter = Sizes()
    runner = AnyBatch(interpreter, {name: i for i, name in enumerate(names)}, {"out": 0})
    for rows, set_up in [(1, 1), (4, 2), (3, 2), (1, 2), (4, 2), (PADDED + 1, 3), (1, 4)]:
        x = np.arange(rows * MANY_TENSORS, dtype=np.float32).reshape(MANY_TENSORS, rows)
        np.testing.assert_array_equal(runner.columns(names, x)["out"][:, 0], x.sum(axis=0))
        assert interpreter.set_up == set_up


def test_columns_side_by_side_are_answered_as_single_ones(served_models):
    kind = "price"
    signature = codec.read(Signature, served_models / kind / "signature.json")
    assert can_be_block(signature.inputs)
    served, (x, _) = codec.read(Served, served_models / kind / "served.json"), samples(served_models / kind)
    engine = load_engine(served_models / kind, signature, served)
    for rows in (3, 1, 3, 20):
        by_column = np.stack([x[each.name][:rows, 0] for each in signature.inputs])
        expected = engine({name: array[:rows] for name, array in x.items()})
        for found in (
            engine(ColumnBlock(signature.inputs, by_column)),
            engine({**x, **ColumnBlock(signature.inputs, by_column)}),
        ):
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array)
