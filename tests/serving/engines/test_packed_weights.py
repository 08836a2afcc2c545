"""Weights that processes share: the same answers as without, one file for all, and no file where that cannot be."""

import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving_parts import samples

from registry import codec
from registry.records import Served, Signature
from serving.engines import litert_c
from serving.engines import packed_weights as packing
from serving.engines.base import EngineError, load_engine
from serving.engines.compiled import SignatureRunner

LITERT = ("digits", "table", "recurrent", "lookup", "price", "pair")


def open_engine(folder, threads=1, shared=True):
    signature, served = (codec.read(noun, folder / f"{noun.__name__.lower()}.json") for noun in (Signature, Served))
    return load_engine(folder, signature, served, threads, shared=shared)


@pytest.fixture
def copied(served_models, tmp_path):
    return lambda kind: shutil.copytree(served_models / kind, tmp_path / kind)


@pytest.mark.parametrize("kind", LITERT)
def test_answers_are_bit_by_bit_those_of_the_interpreter_at_every_batch_size(copied, kind):
    folder = copied(kind)
    x, _ = samples(folder)
    shared, own = open_engine(folder), open_engine(folder, shared=False)
    packed = folder / "model.tflite.packed"
    assert packed.is_file()
    for rows in (1, 3, 8, 3, 11, 20, 1):
        some = {name: array[:rows] for name, array in x.items()}
        answers, expected = shared(some), own(some)
        assert answers.keys() == expected.keys()
        for name, array in expected.items():
            assert answers[name].dtype == array.dtype
            np.testing.assert_array_equal(answers[name], array)


def runs_packed(engine):
    (opened,) = engine._idle._idle
    return all(type(each).__name__ == "SignatureRunner" for each in opened.values())


@pytest.mark.parametrize("kind", ["digits", "recurrent", "pair"])
def test_weights_of_these_kinds_are_shared(copied, kind):
    assert runs_packed(open_engine(copied(kind)))


def test_threads_at_once_get_their_own_answers_with_shared_weights(copied):
    folder = copied("digits")
    x, _ = samples(folder)
    engine, alone = open_engine(folder, threads=4), open_engine(folder, shared=False)
    expected = alone(x)["probabilities"]

    def some(i):
        return i, engine({"image": x["image"][i : i + 1 + i % 3]})["probabilities"]

    with ThreadPoolExecutor(8) as pool:
        for i, answer in pool.map(some, list(range(17)) * 30):
            np.testing.assert_array_equal(answer, expected[i : i + 1 + i % 3])


def test_a_value_that_the_model_cannot_take_is_an_engine_error_and_the_engine_still_works(copied):
    folder = copied("lookup")
    x, _ = samples(folder)
    engine = open_engine(folder)
    expected = open_engine(folder, shared=False)(x)
    for _ in range(2):
        with pytest.raises(EngineError, match="out of bounds"):
            engine({"words": np.full((1, 4), 10, np.int32)})
        np.testing.assert_array_equal(engine(x)["probability"], expected["probability"])


def test_calls_of_any_size_are_answered_after_some_that_failed_midway(copied):
    folder = copied("wide")
    x, _ = samples(folder)
    engine, expected = open_engine(folder), open_engine(folder, shared=False)(x)["probabilities"]
    random = np.random.default_rng(1)
    for rows in random.integers(1, 10, 150):
        words = x["words"][:rows].copy()
        if random.random() < 0.4:  # LiteRT computes until it meets this one, and has set only some sizes then
            words[-1] = 10**6
            with pytest.raises(EngineError, match="out of bounds"):
                engine({"words": words})
        else:
            np.testing.assert_array_equal(engine({"words": words})["probabilities"], expected[:rows])


def test_the_file_is_made_once_and_read_by_all(copied, monkeypatch):
    folder = copied("digits")
    open_engine(folder)
    before = (folder / "model.tflite.packed").stat()
    monkeypatch.setattr(packing, "_write", lambda *_: pytest.fail("written again"))
    open_engine(folder)
    after = (folder / "model.tflite.packed").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not list(folder.glob(".tmp-*"))


def test_processes_that_ask_at_the_same_time_get_one_file(copied):
    folder = copied("digits")
    code = "import sys; from pathlib import Path; from serving.engines.packed_weights import packed_weights as p; print(p(Path(sys.argv[1])).stat().st_ino)"
    command = [sys.executable, "-P", "-c", code, folder / "model.tflite"]
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({each.communicate()[0] for each in asked}) == 1
    assert all(each.returncode == 0 for each in asked)


def test_what_a_process_has_mapped_is_never_written_to_by_one_that_cannot_use_it(copied):
    folder = copied("digits")
    model, packed = folder / "model.tflite", folder / "other.packed"
    packed.write_bytes(b"not what LiteRT writes")
    code = "import sys; from pathlib import Path; from serving.engines.compiled import Compiled; Compiled(*map(Path, sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", code, model, packed]
    done = subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    assert packed.read_bytes() == b"not what LiteRT writes"
    assert done.returncode in {
        0,
        1,
        -6,
    }  # LiteRT may end the process: the next one packs anew, as the API does at its start


def fails_with(code):
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (fails_with("import os; os.abort()"), "packing them ended by SIGABRT"),
        (fails_with("import sys; print('as it is', file=sys.stderr); sys.exit(3)"), "as it is"),
        (fails_with("raise SystemExit(1)"), "packing them ended with 1"),
        (fails_with("import time; time.sleep(60)"), "packing them took longer than 0 s"),
    ],
    ids=["crash", "reason", "failure", "too slow"],
)
def test_a_model_whose_weights_cannot_be_shared_keeps_its_own_and_the_log_says_why_once(
    copied, monkeypatch, caplog, program, said
):
    model = copied("digits") / "model.tflite"
    monkeypatch.setattr(packing, "SECONDS", 0.2 if "slow" in said or "longer" in said else 30.0)
    with caplog.at_level(logging.WARNING):
        assert packing.packed_weights(model, program) is None
        assert packing.packed_weights(model, program) is None
    (record,) = caplog.records
    assert record.getMessage() == f"each server process keeps the weights of the model for itself: {said}"


def test_a_disk_without_space_for_them_is_no_reason_not_to_serve(copied, monkeypatch, caplog):
    folder = copied("digits")
    x, _ = samples(folder)
    size = (folder / "model.tflite").stat().st_size
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, int(1.4 * size)))
    engine = open_engine(folder)
    np.testing.assert_array_equal(engine(x)["probabilities"], open_engine(folder, shared=False)(x)["probabilities"])
    assert not runs_packed(engine)
    assert "MB of space left" in caplog.text


def test_types_that_numpy_has_not_are_left_to_the_interpreter(copied, monkeypatch):
    folder = copied("digits")
    monkeypatch.delitem(litert_c.DTYPES, 1)
    with pytest.raises(RuntimeError, match="image holds values of type 1"):
        packing.difference(folder / "model.tflite", folder / "packed")


def test_answers_that_differ_are_noticed_before_anybody_gets_them(copied, monkeypatch):
    folder, run = copied("digits"), SignatureRunner.__call__

    def altered(self, **arrays):
        return {name: np.nextafter(array, np.float32(2)) for name, array in run(self, **arrays).items()}

    model, packed = folder / "model.tflite", folder / "packed"
    assert packing.difference(model, packed) == ""
    monkeypatch.setattr(SignatureRunner, "__call__", altered)
    assert packing.difference(model, packed).startswith("output probabilities of serving_default is not the same")
