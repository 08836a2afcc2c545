"""Every row of an input is predicted as the API would, or rejected in its words, whatever the format."""

import csv
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from batch_models import Worker, array_signature, image_signature, table_signature
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from registry.errors import ConfigError
from registry.records import TextRules
from serving.engines.base import load_engine
from serving.errors import Refused
from serving.protocols.read_instances import Reader
from training.data.table import packed

COLUMNS = ("a", "b", "c")
ROWS = 2500


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return Worker(tmp_path_factory.mktemp("table"), table_signature(COLUMNS, ("no", "yes"), 0, 100))


@pytest.fixture(scope="module")
def table():
    chance = np.random.default_rng(1)
    numbers = {each: np.round(chance.uniform(0, 100, ROWS), 3).astype(np.float64) for each in COLUMNS}
    return pa.table({"id": np.arange(ROWS)} | numbers)


def direct(worker, table):
    from registry import codec
    from registry.records import Candidate

    manifest = codec.read(Candidate, worker.version / "card.json")
    engine = load_engine(worker.version, manifest.signature, manifest.served)
    return engine({each: table[each].to_numpy().astype(np.float32).reshape(-1, 1) for each in COLUMNS})["probabilities"]


def write(table, path):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=700)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **{each: table[each].to_numpy() for each in table.column_names})
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([table.column_names, *zip(*(each.to_pylist() for each in table.columns), strict=True)])
    return path


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl", "in.npz"])
def test_all_formats_give_the_predictions_of_the_engine(worker, table, tmp_path, name):
    found, rejected = worker.predicted(write(table, tmp_path / name))
    assert not rejected
    wanted = direct(worker, table)
    assert [int(each) for each in found["id"].to_pylist()] == list(range(ROWS))
    assert np.allclose(found["probabilities"].to_pylist(), wanted, atol=1e-6)
    assert found["predicted_class"].to_pylist() == [("no", "yes")[each] for each in wanted.argmax(axis=1)]


def test_csv_and_json_lines_hold_what_the_api_would_answer(worker, table, tmp_path):
    records, folder, _ = worker.run(write(table.slice(0, 3), tmp_path / "in.csv"), form="csv")
    rows = list(csv.DictReader(io.StringIO((folder / records[0].name).read_text())))
    assert [each["id"] for each in rows] == ["0", "1", "2"]
    wanted = direct(worker, table.slice(0, 3))
    assert [float(each["probability_yes"]) for each in rows] == pytest.approx(wanted[:, 1].tolist(), abs=1e-6)
    records, folder, _ = worker.run(write(table.slice(0, 3), tmp_path / "in.jsonl"), form="jsonl")
    first = json.loads((folder / records[0].name).read_text().splitlines()[0])
    assert first["id"] == 0
    assert set(first["prediction"]) == {"class", "probability", "probabilities"}


cells = st.one_of(
    st.sampled_from(
        ["1", "2.5", "", " ", "NA", "abc", "-1", "101", "1e1", "inf", "nan", "+3", "0x10", "1,5", "ü", "true", 'a"b']
    ),
    st.floats(0, 100).map(repr),
)


@given(st.lists(st.tuples(cells, cells, cells, st.text("xy,\n\"' ü", max_size=8)), min_size=1, max_size=40))
def test_rows_in_are_rows_out_and_rejected_and_neither_depends_on_the_neighbours(worker, tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    with (folder / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*COLUMNS, "note"], *rows])
    found, rejected = worker.predicted(folder / "in.csv", rows_per_part=7)
    bad = {row for _, row, _ in rejected}
    good = [row for number, row in enumerate(rows, start=1) if number not in bad]
    assert len(bad) + (found.num_rows if found else 0) == len(rows)
    assert (found["note"].to_pylist() if found else []) == [row[3].replace("\r\n", "\n") for row in good]
    for number, row in enumerate(rows, start=1):
        assert (number not in bad) == all(map(is_good, row[:3])), row


def is_good(text):
    """A number in the form that a table has, between 0 and 100."""
    try:
        return text.strip().lower() != "nan" and "_" not in text and 0 <= float(text) <= 100
    except ValueError:
        return False


def test_the_reasons_are_those_of_the_api(worker, tmp_path):
    rows = [
        {"a": 1, "b": 2, "c": 3},
        {"a": 101, "b": 2, "c": 3},
        {"a": "x", "b": 2, "c": 3},
        {"a": None, "b": 2, "c": 3},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows) + "not json\n[1]\n")
    found, rejected = worker.predicted(path)
    assert found.num_rows == 1
    reasons = {row: why for _, row, why in rejected}
    reader = Reader(table_signature(COLUMNS, ("no", "yes"), 0, 100))
    for row in (2, 3, 4):
        with pytest.raises(Refused) as refused:
            reader.rows([rows[row - 1]], 1)
        assert str(refused.value) == f"instances[0].{reasons[row]}"
    assert reasons[5].startswith("not JSON")
    assert reasons[6] == "a list, an object is expected"


def test_the_dialect_is_that_of_a_dataset(worker, table, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes("id;a;b;c\n1;1.000,5;2;3\n2;1,5;-999;3\n3;1,5;2;3,25\n".encode("utf-16"))
    rules = TextRules(delimiter=";", decimal=",", thousands=".", na=("-999",))
    found, rejected = worker.predicted(path, text=rules)
    assert found["id"].to_pylist() == ["3"]
    assert [(row, why) for _, row, why in rejected] == [
        (1, "a: 1000.5 is out of range, 0 to 100 is allowed"),
        (2, "b: is missing"),
    ]


def test_comments_other_quotation_marks_and_skipped_lines_are_those_of_a_dataset(worker, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("A title\n# a comment\nid,a,b,c\n'1,5',1,2,3\n# 2,1,2,3\n3,4,5,6\n")
    found, rejected = worker.predicted(path, text=TextRules(quote="'", comment="#", skip_rows=1))
    assert (found["id"].to_pylist(), rejected) == (["1,5", "3"], [])


@pytest.mark.parametrize("name", ["in.csv.gz", "in.csv.xz", "in.tsv.bz2", "in.jsonl.gz", "in.ndjson.xz"])
def test_a_compressed_file_gives_the_predictions_of_its_content(worker, table, tmp_path, name):
    few = table.slice(0, 300)
    if ".csv" in name or ".tsv" in name:
        between = "\t" if ".tsv" in name else ","
        rows = [few.column_names, *zip(*(each.to_pylist() for each in few.columns), strict=True)]
        data = "".join(between.join(map(str, row)) + "\n" for row in rows)
    else:
        data = "".join(json.dumps(row) + "\n" for row in few.to_pylist())
    path = tmp_path / name
    path.write_bytes(packed.pack(name, data.encode()))
    found, rejected = worker.predicted(path)
    assert (found.num_rows, rejected) == (300, [])
    assert np.allclose(found["probabilities"].to_pylist(), direct(worker, few), atol=1e-6)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"cannot be unpacked as \.(gz|xz|bz2), which its name says"):
        worker.predicted(path)


def test_numbers_of_any_type_and_nulls_in_parquet(worker, tmp_path):
    columns = {
        "a": pa.array([1, 2, None, 4], pa.int64()),
        "b": pa.array(["1", "x", "2", "3"]).dictionary_encode(),
        "c": pa.array([1.5, 2.5, float("nan"), 3.5], pa.float32()),
        "when": pa.array([0, 1, 2, 3], pa.timestamp("s")),
    }
    parquet.write_table(pa.table(columns), tmp_path / "in.parquet")
    found, rejected = worker.predicted(tmp_path / "in.parquet")
    assert found["a"].to_pylist() == [1, 4]
    assert found.schema.field("when").type.equals(pa.timestamp("s")) or "timestamp" in str(
        found.schema.field("when").type
    )
    assert [(row, why) for _, row, why in rejected] == [(2, "b: 'x' is not a number"), (3, "a: is missing")]


@pytest.mark.parametrize("lists", [True, False])
def test_an_input_with_several_values_is_a_list_or_as_many_columns(tmp_path, lists):
    worker = Worker(tmp_path, array_signature((2, 2)))
    numbers = np.arange(40, dtype=np.float32).reshape(10, 4)
    flat = {f"pixel_{i}": numbers[:, i] for i in range(4)}
    table = pa.table({"x": numbers.tolist()} if lists else flat | {"id": np.arange(10)})
    parquet.write_table(table, tmp_path / "in.parquet")
    found, rejected = worker.predicted(tmp_path / "in.parquet")
    assert (found.num_rows, rejected) == (10, [])
    np.savez(tmp_path / "in.npz", x=numbers.reshape(10, 2, 2))
    same, _ = worker.predicted(tmp_path / "in.npz")
    assert same["probabilities"].to_pylist() == found["probabilities"].to_pylist()


def test_lists_of_another_length_are_rejected_alone(tmp_path):
    worker = Worker(tmp_path, array_signature((4,)))
    parquet.write_table(pa.table({"x": [[1.0, 2, 3, 4], [1.0], None, [5.0, 6, 7, 8]]}), tmp_path / "in.parquet")
    found, rejected = worker.predicted(tmp_path / "in.parquet")
    assert found.num_rows == 2
    assert [(row, why) for _, row, why in rejected] == [
        (2, "x: 1 values, 4 are expected (shape 4)"),
        (3, "x: is missing"),
    ]


def png(value, side=8):
    out = io.BytesIO()
    Image.new("L", (side, side), value).save(out, "PNG")
    return out.getvalue()


def test_images_of_a_folder_a_zip_and_a_tar_are_the_same(tmp_path):
    import tarfile

    worker = Worker(tmp_path, image_signature())
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    names = [f"{i:02d}.png" for i in range(9)] + ["sub/a.png"]
    for i, name in enumerate(names):
        (folder / name).write_bytes(png(i * 20))
    (folder / "05.png").write_bytes(png(1, side=9))
    (folder / "notes.txt").write_text("not a image")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive, tarfile.open(tmp_path / "in.tar.gz", "w:gz") as tar:
        for name in names:
            archive.write(folder / name, name)
            tar.add(folder / name, name)
    answers = []
    for path, kind in ((folder, "folder"), (tmp_path / "in.zip", "zip"), (tmp_path / "in.tar.gz", "tar")):
        found, ((_, row, why),) = worker.predicted(path, kinds=(kind,), rows_per_part=4)
        assert (row, why) == (
            6,
            "05.png: the image is 9x9 pixels, not a PNG or JPEG of 8x8 pixels (width x height), grey",
        )
        answers.append((found["file"].to_pylist(), found["probabilities"].to_pylist()))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == [each for each in names if each != "05.png"]


@pytest.mark.parametrize(
    ("header", "job", "said"),
    [
        ("a,b,d", {}, "in.csv: column 'c' is missing"),
        ("a,b,b,c", {}, "in.csv: column 'b' appears twice"),
        ("a,b,c", {"columns": ("id",)}, "in.csv: column 'id' is to be kept, and is missing"),
        ("a,b,c,predicted_class", {}, "in.csv: column 'predicted_class' has the name of a column that is written"),
    ],
)
def test_what_is_wrong_with_the_columns_is_said_before_the_first_row(worker, tmp_path, header, job, said):
    (tmp_path / "in.csv").write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(ConfigError) as error:
        worker.run(tmp_path / "in.csv", **job)
    assert str(error.value) == said


def test_lists_do_not_fit_into_csv_and_that_is_said_first(worker, table, tmp_path):
    parquet.write_table(table.append_column("tags", pa.array([["x"]] * ROWS)), tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match=r"column 'tags' holds list<.*, which CSV cannot"):
        worker.run(tmp_path / "in.parquet", form="csv")
    records, _, _ = worker.run(tmp_path / "in.parquet", form="csv", columns=("id",))
    assert sum(each.predicted for each in records) == ROWS


def test_what_is_always_there_is_declared_so_and_what_may_be_missing_is_not(worker, table, tmp_path):
    some = table.slice(0, 4).set_column(1, "a", pa.array([1.0, None, 2.0, 3.0]))
    some = some.append_column("note", pa.array(["x", "y", None, "z"]))
    parquet.write_table(some, tmp_path / "in.parquet")
    found, rejected = worker.predicted(tmp_path / "in.parquet")
    assert [(row, why) for _, row, why in rejected] == [(2, "a: is missing")]
    assert found["a"].to_pylist() == [1.0, 2.0, 3.0]
    assert found["note"].to_pylist() == ["x", None, "z"]
    nullable = {each.name: each.nullable for each in found.schema}
    predicted = {"predicted_class": False, "probability": False, "probabilities": False}
    assert nullable == {"id": True, "a": False, "b": False, "c": False, "note": True} | predicted


def test_a_file_with_another_delimiter_says_which_setting_names_it(worker, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id;a;b;c\n1;1,5;2;3\n")
    with pytest.raises(ConfigError, match=r"column '[abc]' is missing") as error:
        worker.predicted(path)
    assert "';' between its columns: set [batch] delimiter" in error.value.hint
