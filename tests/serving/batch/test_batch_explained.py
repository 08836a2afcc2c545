"""Each row's explanation appears beside its prediction, whatever the format; a row that has none keeps its prediction."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from batch_models import Worker, array_signature, image_signature, table_signature
from PIL import Image
from pyarrow import parquet

from registry.errors import ConfigError
from serving.explain.explanation import Explainer

COLUMNS = ("a", "b", "c")
EXPLAIN = {"explain_ms": 5000}


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return Worker(tmp_path_factory.mktemp("table"), table_signature(COLUMNS, ("no", "yes"), 0, 100))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of 150 rows, of which one is rejected."""
    chance = np.random.default_rng(1)
    numbers = {each: chance.uniform(0, 2, 150).astype(np.float32) for each in COLUMNS}
    numbers["b"][70] = 101
    path = tmp_path_factory.mktemp("in") / "in.parquet"
    parquet.write_table(pa.table({"id": np.arange(150)} | numbers), path)
    return path


def test_the_effects_of_the_columns_add_up_to_the_probability_of_each_row(worker, table):
    found, rejected = worker.predicted(table, **EXPLAIN)
    assert [row for _, row, _ in rejected] == [71]
    assert found["id"].to_pylist() == [each for each in range(150) if each != 70]
    effects = np.array([found[f"effect_of_{each}"].to_numpy() for each in COLUMNS])
    assert np.abs(effects).min(axis=1).max() > 0
    assert effects.sum(axis=0) + found["effect_base"].to_numpy() == pytest.approx(found["probability"].to_numpy())
    assert found["explanation_note"].null_count == len(found)
    assert "explanation" not in found.column_names


def test_csv_and_json_lines_hold_the_same_explanations(worker, table):
    wanted, _ = worker.predicted(table, **EXPLAIN)
    records, folder, _ = worker.run(table, form="csv", **EXPLAIN)
    rows = list(csv.DictReader(io.StringIO((folder / records[0].name).read_text())))
    records, folder, _ = worker.run(table, form="jsonl", **EXPLAIN)
    lines = [json.loads(each) for each in (folder / records[0].name).read_text().splitlines()]
    for name in COLUMNS:
        values = wanted[f"effect_of_{name}"].to_pylist()
        assert [float(each[f"effect_of_{name}"]) for each in rows] == pytest.approx(values)
        parts = [{part["column"]: part["value"] for part in each["explanation"]["parts"]} for each in lines]
        assert [each[name] for each in parts] == pytest.approx(values)
    assert [each["explanation"]["class"] for each in lines] == [each["prediction"]["class"] for each in lines]


def test_what_a_resumed_run_has_left_to_do_is_explained_as_well(worker, table):
    whole, _ = worker.predicted(table, rows_per_part=60, **EXPLAIN)
    left, _ = worker.predicted(table, rows_per_part=60, done=("00000-00001",), **EXPLAIN)
    assert left.equals(pa.concat_tables([whole.slice(0, 60), whole.slice(119)]))


def test_images_and_arrays_are_explained_by_their_parts(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), 80 * number, np.uint8)).save(images / f"{number}.png")
    found, _ = Worker(tmp_path / "image", image_signature()).predicted(images, kinds=("folder",), **EXPLAIN)
    entries = [json.loads(each) for each in found["explanation"].to_pylist()]
    assert found["file"].to_pylist() == ["0.png", "1.png", "2.png"]
    assert [np.array(each["heat"]).shape for each in entries] == [(8, 8)] * 3
    np.savez(tmp_path / "in.npz", x=np.eye(4, dtype=np.float32))
    found, _ = Worker(tmp_path / "array", array_signature()).predicted(tmp_path / "in.npz", **EXPLAIN)
    entries = [json.loads(each) for each in found["explanation"].to_pylist()]
    assert [len(each["parts"]) for each in entries] == [4] * 4
    assert [each["class"] for each in entries] == found["predicted_class"].to_pylist()


def test_a_row_that_cannot_be_explained_keeps_its_prediction_and_says_why(worker, table, monkeypatch):
    from serving.explain.target import CannotExplain

    def refuse(*_):
        raise CannotExplain("too slow")

    monkeypatch.setattr(Explainer, "_table", refuse)
    found, _ = worker.predicted(table, **EXPLAIN)
    assert len(found) == 149
    assert found["effect_of_a"].null_count == found["effect_base"].null_count == 149
    assert set(found["explanation_note"].to_pylist()) == {"too slow"}


def test_a_column_that_has_the_name_of_an_explanation_is_refused_before_the_first_row(worker, tmp_path):
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table({name: [1.0] for name in (*COLUMNS, "effect_base")}), path)
    with pytest.raises(ConfigError, match=r"in\.parquet: column 'effect_base' has the name"):
        worker.run(path, **EXPLAIN)
    found, _ = worker.predicted(path)
    assert found.num_rows == 1
