"""Tables of CSV and Parquet files: what is prepared, and what is found before any training."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data_makers import job_folder, messages, outputs, packages_loaded, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

from registry import dataset_lists
from registry.spelling import canonical
from training.data.spec import SPLITS, load_split

HEAD = 'format = "table"\n[table]\nfile = "data.csv"\ntarget = "kind"\n'


def rows(count=120, start=0):
    """Mixed columns: mass and legs are numbers, colour and tame are categories."""
    return {
        "mass": [20.5 + i * 0.25 for i in range(start, start + count)],
        "legs": [(2, 4)[i % 2] for i in range(start, start + count)],
        "colour": [("red", "green", "blue")[i % 3] for i in range(start, start + count)],
        "tame": [i % 5 == 0 for i in range(start, start + count)],
        "kind": [("cat", "dog")[i % 2] for i in range(start, start + count)],
    }


def write(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    (parquet.write_table if path.suffix == ".parquet" else csv.write_csv)(pa.table(columns), path)


@pytest.fixture
def dataset(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD)
    write(folder / "data.csv", rows())
    return folder


def prepared(dataset):
    return {name: load_split(outputs(dataset) / "data" / name) for name in SPLITS}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_good_table_gives_three_splits_that_a_model_can_use(tmp_path, suffix):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace(".csv", suffix))
    write(folder / f"data{suffix}", rows())
    found = run(folder)
    assert (found.ok, found.format, sum(found.samples.values())) == (True, "table", 120)
    train = prepared(folder)["train"]
    assert [(each.name, each.dtype, each.shape) for each in train.spec.inputs] == [
        ("mass", "float32", (None, 1)),
        ("legs", "float32", (None, 1)),
        ("colour", "string", (None, 1)),
        ("tame", "string", (None, 1)),
    ]
    assert (train.spec.target, train.spec.classes, train.y.dtype) == ("kind", ("cat", "dog"), np.int64)
    assert {name: (values.dtype.kind, values.shape[1:]) for name, values in train.x.items()} == {
        "mass": ("f", (1,)),
        "legs": ("f", (1,)),
        "colour": ("U", (1,)),
        "tame": ("U", (1,)),
    }
    every = rows()
    for i, name in enumerate(train.names):
        row = int(name.rpartition(" ")[2]) - (2 if suffix == ".csv" else 0)  # a line of the file, or a row's index
        assert name == (f"data.csv line {row + 2}" if suffix == ".csv" else f"data.parquet row index {row}")
        assert train.x["mass"][i, 0] == every["mass"][row]
        assert train.x["tame"][i, 0] == str(every["tame"][row]).lower()
        assert train.spec.classes[train.y[i]] == every["kind"][row]


def test_the_files_of_a_split_are_in_the_format_of_the_repository(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace('"data.csv"', '["parts/*.csv"]'))
    write(folder / "parts" / "a.csv", rows(80))
    write(folder / "parts" / "b.csv", rows(80, 80))
    assert run(folder).ok
    total = 0
    for split in prepared(folder).values():
        tables = [csv.read_csv(split.files / "parts" / name) for name in ("a.csv", "b.csv")]
        assert all(table.column_names == list(rows()) for table in tables)
        assert sorted(m for table in tables for m in table["mass"].to_pylist()) == sorted(
            split.x["mass"][:, 0].tolist()
        )
        total += sum(table.num_rows for table in tables)
    assert total == 160


def test_text_keeps_its_zeros_where_it_is_text(dataset):
    lines = [f"{i:03d},{i % 7:02d},{i / 4},{('cat', 'dog')[i % 2]}" for i in range(120)]
    (dataset / "data.csv").write_text("\n".join(["id,zip,mass,kind", *lines]))
    (dataset / "dataset.toml").write_text(HEAD + 'key = "id"\ncategorical = ["zip"]\n')
    assert run(dataset).ok
    train = prepared(dataset)["train"]
    assert set(train.x) == {"zip", "mass"}
    assert train.spec.columns[0].vocabulary == tuple(f"{i:02d}" for i in range(7))
    assert all(len(name) == 3 for name in train.names)
    assert csv.read_csv(train.files / "data.csv", convert_options=csv.ConvertOptions(column_types={"id": pa.string()}))[
        "id"
    ].to_pylist() == sorted(train.names)


def test_statistics_come_from_the_train_split_alone(dataset):
    run(dataset)
    before = prepared(dataset)
    mass = before["train"].x["mass"].astype(np.float64)
    column = before["train"].spec.columns[0]
    assert (column.mean, column.variance) == pytest.approx((mass.mean(), mass.var()))
    assert before["train"].spec == before["holdout"].spec

    keyed = rows() | {"id": [f"k{i}" for i in range(120)]}
    (dataset / "dataset.toml").write_text(HEAD + 'key = "id"\nduplicates = "allow"\n')
    write(dataset / "data.csv", keyed)
    run(dataset)
    first = prepared(dataset)
    held = [int(name[1:]) for name in (*first["holdout"].names, *first["validation"].names)]
    for row in held:
        keyed["mass"][row] = 1e6
        keyed["colour"][row] = "never seen"
    write(dataset / "data.csv", keyed)
    found = run(dataset)
    assert prepared(dataset)["train"].spec == first["train"].spec
    assert any("1 values are not in the train split (never seen)" in note for note in found.notes)


def test_regression(dataset):
    (dataset / "dataset.toml").write_text(HEAD.replace('"kind"', '"mass"\ntask = "regression"'))
    found = run(dataset)
    assert found.ok
    assert found.classes == {}
    train = prepared(dataset)["train"]
    assert (train.y.dtype, train.spec.task, train.spec.classes) == (np.float32, "regression", ())
    assert set(train.x) == {"legs", "colour", "tame", "kind"}


def test_regression_on_numbers_that_are_stored_as_text(dataset):
    columns = rows()
    columns["mass"] = [str(each) for each in columns["mass"]]
    parquet.write_table(pa.table(columns), dataset / "data.parquet")
    head = HEAD.replace(".csv", ".parquet")
    (dataset / "dataset.toml").write_text(head.replace('"kind"', '"mass"\ntask = "regression"'))
    assert run(dataset).ok
    assert prepared(dataset)["train"].y.dtype == np.float32


def test_classes_are_sorted_as_numbers_when_they_are_numbers(dataset):
    columns = rows(600) | {"kind": [i % 12 for i in range(600)]}
    write(dataset / "data.csv", columns)
    assert run(dataset).ok
    assert prepared(dataset)["train"].spec.classes == tuple(map(str, range(12)))


def test_a_group_stays_together_and_is_not_an_input(dataset):
    write(dataset / "data.csv", rows(300) | {"house": [i // 2 % 60 for i in range(300)]})
    (dataset / "dataset.toml").write_text(HEAD + 'group = "house"\n')
    assert run(dataset).ok
    splits = prepared(dataset)
    houses = [set(csv.read_csv(split.files / "data.csv")["house"].to_pylist()) for split in splits.values()]
    assert sum(map(len, houses)) == len(set.union(*houses)) == 60
    assert "house" not in splits["train"].x


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.booleans())
def test_rows_without_a_key_keep_their_split_when_rows_and_types_change(tmp_path_factory, extra, turned):
    folder = job_folder(tmp_path_factory.mktemp("stable"))
    (folder / "dataset.toml").write_text(HEAD)
    columns = rows()
    columns["mass"] = [float(i) for i in range(120)]  # written as whole numbers until a decimal one joins
    lines = ["mass,legs,colour,tame,kind", *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    whole = [lines[0], *(line.replace(".0,", ",") for line in lines[1:])]
    (folder / "data.csv").write_text("\n".join(whole))
    assert run(folder).ok
    before = {name: set(split.x["mass"][:, 0].tolist()) for name, split in prepared(folder).items()}
    more = [f"{1000.5 + i},2,red,False,cat" for i in range(extra)]
    body = [*more, *whole[1:]]
    (folder / "data.csv").write_text("\n".join([whole[0], *(body[::-1] if turned else body)]))
    run(folder)
    after = {name: set(split.x["mass"][:, 0].tolist()) for name, split in prepared(folder).items()}
    assert all(before[name] == {mass for mass in after[name] if mass < 1000} for name in SPLITS)


def test_missing_values_are_refused_or_dropped(dataset):
    columns = rows()
    columns["mass"][3] = None
    columns["mass"][4] = float("nan")
    columns["colour"][3] = None
    columns["colour"][9] = ""
    write(dataset / "data.csv", columns)
    found = run(dataset)
    assert not found.ok
    (failed,) = found.faults
    assert failed.messages == (
        "column 'mass' is missing in 2 rows, the first: data.csv line 5",
        "column 'colour' is missing in 2 rows, the first: data.csv line 5",
    )
    assert (failed.count, 'missing = "drop"' in failed.hint) == (4, True)
    (dataset / "dataset.toml").write_text(HEAD + 'missing = "drop"\n')
    found = run(dataset)
    assert found.ok
    assert sum(found.samples.values()) == 117
    assert found.notes[0] == "3 of 120 rows are dropped, with a value missing in 'mass' (2), 'colour' (2)"
    spec = prepared(dataset)["train"].spec  # the model has seen no gap: a request may have none either
    assert not any(each.has_missing for each in spec.columns)
    assert not any(each.may_miss for each in spec.inputs)


def test_a_file_in_which_no_row_is_complete(dataset):
    write(dataset / "data.csv", rows() | {"mass": [None] * 119 + [1.0], "legs": [1] * 119 + [None]})
    (dataset / "dataset.toml").write_text(HEAD + 'missing = "drop"\n')
    assert "no row is complete" in messages(run(dataset))


def changed(**columns):
    return lambda folder: write(folder / "data.csv", rows() | columns)


def at(row, value, column):
    values = rows()[column]
    values[row] = value
    return changed(**{column: values})


def dropped(name):
    return lambda folder: write(folder / "data.csv", {k: v for k, v in rows().items() if k != name})


def raw(data):
    return lambda folder: (folder / "data.csv").write_bytes(data)


def settle(text, then=lambda _: None):
    def act(folder):
        (folder / "dataset.toml").write_text(text)
        then(folder)

    return act


BAD = {
    "no file": (settle(HEAD.replace("data", "date")), "[table] file: 'date.csv' matches no file"),
    "pattern": (settle(HEAD.replace("data", "**x")), "[table] file: '**x.csv' matches no file"),
    "empty file": (raw(b""), "data.csv is empty (0 bytes)"),
    "header only": (raw(b"mass,kind\n"), "data.csv has no rows"),
    "lfs pointer": (raw(b"version https://git-lfs.github.com/spec/v1\noid x"), "data.csv is a Git LFS pointer"),
    "short row": (
        raw(b"mass,kind\n1,cat\n2\n3,dog\n"),
        "data.csv has 1 field in line 3, but its first line names 2 columns",
    ),
    "semicolons": (raw(b"mass;kind\n1;cat\n2;dog\n"), 'write delimiter = ";" under [table] in dataset.toml'),
    "latin-1 header": (
        raw("mass,gr\xf6\xdfe,kind\n1,2,x\n".encode("latin-1")),
        "data.csv is not UTF-8 in line 1",
    ),
    "latin-1 label": (raw("mass,kind\n1,caf\xe9\n".encode("latin-1")), "data.csv is not UTF-8 in line 2"),
    "latin-1 feature": (
        raw("mass,a,kind\n1,caf\xe9,x\n".encode("latin-1")),
        'write encoding = "cp1252" under [table] in dataset.toml',
    ),
    "not parquet": (
        settle(HEAD.replace(".csv", ".parquet"), lambda f: (f / "data.parquet").write_bytes(b"PAR1 no")),
        "data.parquet cannot be read",
    ),
    "excel": (
        settle(HEAD.replace(".csv", ".xlsx"), lambda f: (f / "data.xlsx").write_bytes(b"PK")),
        "data.xlsx is something else, not an Excel workbook (.xlsx)",
    ),
    "column twice": (raw(b"a,a,kind\n1,2,x\n2,3,y\n"), "data.csv: column 'a' appears 2 times"),
    "column names that look the same": (
        raw("mass,caf\u00e9,cafe\u0301,kind\n1,2,3,x\n2,3,4,y\n".encode()),
        "columns 'caf\\\\xe9' and 'cafe\\\\u0301' differ only in the Unicode form of their letters",
    ),
    "column with a NUL": (raw(b"a\0,kind\n1,x\n2,y\n"), "data.csv holds a zero byte in line 1"),
    "column without a name": (raw(b"a,,kind\n1,2,x\n2,3,y\n"), "data.csv: a column has no name"),
    "target is missing": (dropped("kind"), "[table] target: there is no column 'kind'"),
    "column in another spelling": (
        settle(HEAD, lambda f: write(f / "data.csv", {k.replace("kind", "kind "): v for k, v in rows().items()})),
        "[table] target: there is no column 'kind', but 'kind '; they differ in blanks",
    ),
    "numeric column is missing": (settle(HEAD + 'numeric = ["mas"]'), "no column 'mas', did you mean 'mass'?"),
    "ignored column is missing": (settle(HEAD + 'ignore = ["id"]'), "[table] ignore: there is no column 'id'"),
    "key is missing": (settle(HEAD + 'key = "id"'), "[table] key: there is no column 'id'"),
    "label is missing": (at(7, None, "kind"), "data.csv line 9 has no 'kind'"),
    "no labels": (changed(kind=[None] * 120), "has no 'kind'"),
    "infinite": (at(5, float("inf"), "mass"), "column 'mass' holds infinity in data.csv line 7"),
    "too large": (at(5, 1e300, "mass"), "holds a number that float32 cannot hold (beyond ±3.4e38) in data.csv line 7"),
    "dates": (
        changed(born=[date(2026, 1, 1)] * 120),
        "column 'born' holds dates or times (like '9999-99-99', in data.csv line 2)",
    ),
    "empty column": (changed(note=[None] * 120), "column 'note' is empty in every row"),
    "slip in a number": (
        changed(mass=[*map(str, rows()["mass"][:11]), "12,5", *map(str, rows()["mass"][12:])]),
        "column 'mass' holds numbers in 119 of 120 rows, but holds text like '99,9' in 1 row (e.g. data.csv line 13)",
    ),
    "text in a numeric column": (
        settle(HEAD + 'numeric = ["colour"]'),
        "column 'colour' is listed as numeric, but holds 'red' in 40 rows (e.g. data.csv line 2)",
    ),
    "no inputs": (
        settle(HEAD + 'ignore = ["mass", "legs", "colour", "tame"]'),
        "no column is left as an input",
    ),
    "long text": (at(2, "x" * 10_001, "colour"), "column 'colour' holds 10,001 characters in data.csv line 4"),
    "decimal classes": (
        settle(HEAD.replace('"kind"', '"mass"')),
        "target 'mass' holds decimal numbers, not classes",
    ),
    "text to regress": (
        settle(HEAD + 'task = "regression"'),
        "target 'kind' is predicted as a number, but holds 'cat' in 60 rows (e.g. data.csv line 2)",
    ),
    "key twice": (
        settle(HEAD + 'key = "id"', changed(id=[0, *range(119)])),
        "'id' is the same in data.csv line 2 and in data.csv line 3",
    ),
    "row without key": (settle(HEAD + 'key = "id"', changed(id=[None, *range(119)])), "data.csv line 2 has no 'id'"),
    "row without group": (settle(HEAD + 'group = "g"', changed(g=[None, *range(119)])), "data.csv line 2 has no 'g'"),
    "vanished class": (
        settle(HEAD.replace("[table]", 'classes = ["cat", "dog", "emu"]\n[table]')),
        "class 'emu' is listed in dataset.toml but has no samples",
    ),
    "new class": (
        settle(HEAD.replace("[table]", 'classes = ["cat", "dgo"]\n[table]')),
        "label 'dog' (60 samples) is not among `classes`, did you mean 'dgo'?",
    ),
    "class in another spelling": (
        settle(HEAD.replace("[table]", 'classes = ["cat ", "dog"]\n[table]')),
        "label 'cat' (60 samples) is 'cat ' in `classes`; they differ in blanks",
    ),
    "label in two spellings": (
        changed(kind=[("cat", "dog", "cat ", "dog")[i % 4] for i in range(120)]),
        (
            "target 'kind' holds one value in 2 spellings: 'cat' (30 samples, the first: data.csv line 2) and 'cat ' "
            "(30 samples, the first: data.csv line 4); they differ in blanks"
        ),
    ),
    "label as a whole number and as a decimal one": (
        changed(kind=[("0", "1", "0.0", "1.0")[i % 4] for i in range(120)]),
        "'0' (30 samples, the first: data.csv line 2) and '0.0' (30 samples, the first: data.csv line 4)",
    ),
    "category in two spellings": (
        changed(colour=[("red", "blue", "red\u00a0", "green")[i % 4] for i in range(120)]),
        "column 'colour' holds one value in 2 spellings: 'red' (30 samples, the first: data.csv line 2)",
    ),
    "rare category in two spellings": (
        at(0, "red ", "colour"),
        (
            "column 'colour' holds one value in 2 spellings: one spelling (1 sample, the first: data.csv line 2) and "
            "another one (39 samples, the first: data.csv line 5); they differ in blanks"
        ),
    ),
    "group in two spellings": (
        settle(HEAD + 'group = "g"', changed(g=[f"h{i % 40}" + " " * (i == 99) for i in range(120)])),
        "column 'g' holds one value in 2 spellings: one spelling (2 samples, the first: data.csv line 21)",
    ),
    "key in two spellings": (
        settle(HEAD + 'key = "id"', changed(id=[*map(str, range(119)), "07"])),
        "column 'id' holds one value in 2 spellings: one spelling (1 sample, the first: data.csv line 9)",
    ),
    "one class": (changed(kind=["cat"] * 120), "at least two classes, there is only 'cat'"),
    "rare class": (at(0, "emu", "kind"), "no sample of class 'emu' (samples of it in all: 1)"),
    "two labels": (
        changed(**{name: [*values[:-1], values[0]] for name, values in rows().items() if name != "kind"}),
        "equal samples: data.csv line 2 (cat), data.csv line 121 (dog)",
    ),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD)
def test_bad_data_are_reported_with_their_place_and_nothing_is_prepared(dataset, act, message):
    act(dataset)
    found = run(dataset)
    assert not found.ok
    assert message.replace('"', '\\"') in messages(found)
    assert all(each.hint for each in found.faults)
    assert not (outputs(dataset) / "data").exists()


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (3, "'id' is the same in data.csv line 5 and in data.csv line 121"),
        (119, "equal samples: data.csv line 2 (cat), data.csv line 121 (dog)"),
    ],
)
def test_no_key_is_shown_to_those_who_read_what_is_wrong(dataset, last, said):
    same = {name: [*values[:-1], values[0]] for name, values in rows().items() if name != "kind"}
    keys = [f"patient {number}" for number in [*range(119), last]]
    settle(HEAD + 'key = "id"', changed(**same, id=keys))(dataset)
    found = messages(run(dataset))
    assert said in found
    assert "patient" not in found


def test_a_second_file_with_other_columns_or_types(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace("data.csv", "*.csv"))
    write(folder / "a.csv", rows())
    write(folder / "b.csv", {k: v for k, v in rows(20, 200).items() if k != "legs"} | {"lags": [1] * 20})
    text = messages(run(folder))
    assert "b.csv lacks column 'legs', which a.csv has" in text
    assert "b.csv has column 'lags', which a.csv lacks" in text
    write(folder / "b.csv", rows(20, 200) | {"mass": ["heavy"] * 20})
    assert "column 'mass' holds numbers in a.csv and text in b.csv" in messages(run(folder))
    write(folder / "b.csv", dict(reversed(rows(20, 200).items())) | {"legs": [2.5] * 20})
    assert run(folder).ok


def test_the_same_row_in_two_splits_is_an_error_unless_it_is_allowed(dataset):
    columns = rows() | {"id": list(range(120))}
    for name in ("mass", "legs", "colour", "tame", "kind"):
        columns[name] = [columns[name][i // 2 * 2] if i < 20 else columns[name][i] for i in range(120)]
    write(dataset / "data.csv", columns)
    (dataset / "dataset.toml").write_text(HEAD + 'key = "id"\n')
    (failed,) = run(dataset).faults
    assert failed.check == "no sample is in two splits"
    assert 'set [table] duplicates = "allow"' in failed.hint
    (dataset / "dataset.toml").write_text(HEAD + 'key = "id"\nduplicates = "allow"\n')
    assert run(dataset).ok


def test_two_spellings_are_two_values_where_the_dataset_says_so(dataset):
    columns = rows(600) | {"kind": [("1", "01")[i % 2] for i in range(600)], "colour": ["red", "red "] * 300}
    write(dataset / "data.csv", columns)
    (dataset / "dataset.toml").write_text(HEAD + 'spellings = "distinct"\n')
    assert run(dataset).ok
    assert prepared(dataset)["train"].spec.classes == ("01", "1")


def test_what_differs_in_case_alone_and_free_text_in_two_spellings_are_noted(dataset):
    texts = [f"text {i}" for i in range(119)] + ["text  5"]
    write(dataset / "data.csv", rows() | {"colour": ["red", "Red", "blue"] * 40, "text": texts})
    found = run(dataset)
    assert found.ok
    assert (
        "column 'colour': a value is there in upper and in lower case, such as 'red' and 'Red', and count as "
        "different ones" in found.notes
    )
    assert "column 'text': a text is there in two spellings, and count as different ones" in found.notes


def coarse(labels):
    """Columns that distinguish six kinds of things, each with both labels."""
    count = len(labels)
    return {"class": [i % 3 for i in range(count)], "sex": ["fm"[i // 3 % 2] for i in range(count)], "kind": labels}


def test_equal_rows_with_two_labels_are_no_reason_to_delete_rows(dataset):
    labels = np.random.default_rng(3).choice(["no", "yes"], 300).tolist()
    write(dataset / "data.csv", coarse(labels))
    (failed,) = run(dataset).faults
    assert failed.check == "no sample has two labels"
    assert failed.hint.startswith('if they are different things that look the same, set [table] duplicates = "allow"')
    assert "delete" not in failed.hint
    (dataset / "dataset.toml").write_text(HEAD + 'duplicates = "allow"\n')
    found = run(dataset)
    assert found.ok  # the hint leads to splits that have all six kinds
    assert sum(found.samples.values()) == 300
    splits = prepared(dataset)
    for split in splits.values():
        assert len({*zip(split.x["class"][:, 0].tolist(), split.x["sex"][:, 0].tolist(), strict=True)}) == 6
    assert splits["train"].spec.split == "holdout 0.15, validation 0.15, by content, equal ones apart"


def test_equal_rows_that_are_allowed_keep_their_splits_when_rows_are_added_and_moved(dataset):
    def contents():
        return {
            name: sorted(zip(*(each[:, 0].tolist() for each in split.x.values()), split.y.tolist(), strict=True))
            for name, split in prepared(dataset).items()
        }

    (dataset / "dataset.toml").write_text(HEAD + 'duplicates = "allow"\n')
    columns = coarse(np.random.default_rng(3).choice(["no", "yes"], 300).tolist())
    write(dataset / "data.csv", columns)
    assert run(dataset).ok
    before = contents()
    write(dataset / "data.csv", {name: values[::-1] + values[:1] for name, values in columns.items()})
    assert run(dataset).ok
    after = contents()
    assert sum(len(set(before[name]) ^ set(after[name])) for name in SPLITS) == 0
    assert sum(len(after[name]) - len(before[name]) for name in SPLITS) == 1
    assert all(0 <= len(after[name]) - len(before[name]) <= 1 for name in SPLITS)


def index_notes(found):
    return [note for note in found.notes if "is the index of a pandas DataFrame, and no input" in note]


def test_the_index_of_a_dataframe_in_parquet_is_no_input(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace("data.csv", "*.parquet"))
    frame = pd.DataFrame(rows(300)).assign(depth=[i / 4 for i in range(300)])
    frame.sort_values("kind").iloc[:200].to_parquet(folder / "a.parquet")  # __index_level_0__
    frame.iloc[200:].reset_index(drop=True).to_parquet(folder / "b.parquet")
    found = run(folder)
    assert found.ok
    assert set(prepared(folder)["train"].x) == {"mass", "legs", "colour", "tame", "depth"}
    (note,) = index_notes(found)
    assert note.startswith("column '__index_level_0__' is")
    (folder / "b.parquet").unlink()
    frame.set_index("mass").to_parquet(folder / "a.parquet")
    assert run(folder).ok
    assert "mass" not in prepared(folder)["train"].x
    (folder / "dataset.toml").write_text(HEAD.replace("data.csv", "*.parquet") + 'numeric = ["mass"]\n')
    found = run(folder)
    assert found.ok
    assert index_notes(found) == []
    assert "mass" in prepared(folder)["train"].x


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_index_of_a_dataframe_in_csv_is_no_input(dataset, name):
    pd.DataFrame(rows()).to_csv(dataset / "data.csv", index_label=name)
    found = run(dataset)
    assert found.ok
    assert set(prepared(dataset)["train"].x) == {"mass", "legs", "colour", "tame"}
    assert len(index_notes(found)) == 1


def test_a_column_without_a_name_that_does_not_number_the_rows_is_refused_without_harm(dataset):
    pd.DataFrame(rows()).set_index("colour").to_csv(dataset / "data.csv", index_label="")
    (failed,) = run(dataset).faults
    assert failed.messages == ("data.csv: a column has no name",)
    assert failed.hint.startswith("delete it if it numbers the rows")


def test_a_column_that_numbers_the_rows_is_noted(dataset):
    write(dataset / "data.csv", rows() | {"id": list(range(1, 121))})
    found = run(dataset)
    assert [note for note in found.notes if note.startswith("column 'id' holds consecutive whole numbers, each once")]


def test_parquet_of_many_types(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace(".csv", ".parquet"))
    columns = rows() | {
        "shade": pa.array(rows()["colour"]).dictionary_encode(),
        "price": pa.array([f"{i}.25" for i in range(120)]).cast(pa.decimal128(10, 2)),
        "size": pa.array([i % 3 for i in range(120)], pa.uint8()),
        "place": pa.array(rows()["colour"], pa.large_string()),
        "kind": [float(i % 2) for i in range(120)],
    }
    write(folder / "data.parquet", columns)
    assert run(folder).ok
    spec = prepared(folder)["train"].spec
    assert spec.classes == ("0", "1")
    assert {column.name: column.kind for column in spec.columns}.items() >= {
        "shade": "categorical",
        "price": "numeric",
        "size": "numeric",
        "place": "categorical",
    }.items()
    assert parquet.read_schema(prepared(folder)["holdout"].files / "data.parquet") == pa.table(columns).schema
    write(folder / "data.parquet", columns | {"seen": [[1, 2]] * 120})
    assert "column 'seen' holds values of type list" in messages(run(folder))


def test_oddities_are_noted(dataset):
    columns = {"same": [1] * 120, "long": [i << 40 for i in range(120)], "name": [f"n{i}" for i in range(120)]}
    write(dataset / "data.csv", rows() | columns)
    found = run(dataset)
    assert found.ok
    assert len(found.notes) == 3


def test_preparing_a_table_loads_neither_pillow_nor_pandas(dataset):
    loaded = packages_loaded(dataset)
    assert "pyarrow" in loaded
    assert not loaded & {"PIL", "pandas", "great_expectations", "tensorflow", "keras", "matplotlib"}


def test_the_rule_of_the_split_is_kept(dataset):
    assert run(dataset).ok
    assert prepared(dataset)["holdout"].spec.split == "holdout 0.15, validation 0.15, by content"


def test_the_same_rows_in_floats_of_another_width_are_in_the_same_split(tmp_path):
    folder = job_folder(tmp_path)
    (folder / "dataset.toml").write_text(HEAD.replace("data.csv", "*.parquet"))
    mass = pa.array(np.random.default_rng(1).normal(size=200))
    for name, kind in (("narrow", pa.float32()), ("wide", pa.float64())):
        write(folder / f"{name}.parquet", {"mass": mass.cast(kind, safe=False), "kind": ["cat", "dog"] * 100})
    found = run(folder)
    assert found.ok
    assert any("200 samples repeat another one of the same split and label" in note for note in found.notes)


def test_what_only_looks_like_a_number_is_not_taken_as_one():
    assert canonical(1) == canonical(1.0) == canonical("1") == canonical("1.0")
    assert canonical("0") == canonical(-0.0)
    different = ["10", "1_0", "\u0661\u0660", "nan", "9007199254740992", "9007199254740993", "0x10", ""]
    assert len(set(map(canonical, different))) == len(different)


def test_whole_numbers_above_what_float64_holds_are_rounded(dataset):
    write(dataset / "data.csv", rows() | {"long": [2**53 + 1 + i for i in range(120)]})
    found = run(dataset)
    assert found.ok
    assert any("'long' holds whole numbers that float32 rounds" in note for note in found.notes)


def test_files_and_keys_of_a_table_are_listed_beside_its_splits(tmp_path):
    folder = job_folder(tmp_path, row_keys=120)
    (folder / "dataset.toml").write_text(HEAD + 'key = "name"\ngroup = "owner"\n')
    columns = rows() | {"name": [f"pet-{i}" for i in range(120)], "owner": [f"owner-{i // 2}" for i in range(120)]}
    write(folder / "data.csv", columns)
    tree = run(folder).tree
    assert (tree.files, tree.keys) == (2, 120 + 60)
    assert {each.path for each in dataset_lists.read_files(outputs(folder) / dataset_lists.FILES)} == {
        "data.csv",
        "dataset.toml",
    }
    splits = prepared(folder)
    for split, loaded in splits.items():
        asked = loaded.names[0]
        owner = f"owner-{int(asked.rpartition('-')[2]) // 2}"
        for key, kind in ((asked, "row"), (owner, "group")):
            found = dataset_lists.splits_with(outputs(folder) / dataset_lists.KEYS, tree.digest, key)
            assert found == [(split, kind)]


def test_no_keys_are_listed_of_more_rows_than_are_wanted(tmp_path):
    folder = job_folder(tmp_path, row_keys=119)
    (folder / "dataset.toml").write_text(HEAD)
    write(folder / "data.csv", rows())
    (outputs(folder) / dataset_lists.KEYS).parent.mkdir(exist_ok=True)
    (outputs(folder) / dataset_lists.KEYS).write_bytes(b"of a killed worker")
    assert run(folder).tree.keys is None
    assert not (outputs(folder) / dataset_lists.KEYS).exists()
