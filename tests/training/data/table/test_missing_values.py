"""`[table] missing = "keep"` and "impute": rows with holes are samples, and the spec says what the train split measured."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from training.data.checks import HANDFUL, Checks
from training.data.dataset_toml import DatasetFile, Fractions, Table
from training.data.spec import SPLITS, PrepareJob, load_split
from training.data.table.prepare import MISSING, prepare
from training.data.table.statistics import median

ROWS = 90


def columns():
    return {
        "mass": [None if i % 7 == 0 else float(i) for i in range(ROWS)],
        "length": [0.5 + i for i in range(ROWS)],
        "colour": [None if i % 9 == 0 else ("red", "blue", "red")[i % 3] for i in range(ROWS)],
        "kind": [("cat", "dog")[i % 2] for i in range(ROWS)],
    }


@pytest.fixture
def made(tmp_path):
    count = itertools.count()

    def make(missing, given):
        folder = tmp_path / str(next(count))
        (folder / "out").mkdir(parents=True)
        parquet.write_table(pa.table(given), folder / "data.parquet")
        settings = DatasetFile(
            "table", Table(("data.parquet",), "kind", missing=missing), split=Fractions(holdout=0.3, validation=0.3)
        )
        checks = Checks()
        samples = prepare(folder, settings, folder / "out", checks, PrepareJob(files=False))
        return checks, samples, lambda name: load_split(folder / "out" / name)

    return make


@pytest.mark.parametrize("missing", ["keep", "impute"])
def test_every_row_is_a_sample_and_its_holes_are_holes(made, missing):
    checks, samples, split = made(missing, columns())
    assert not checks.failed
    assert sum(samples.per_split().values()) == ROWS
    x = [split(name).x for name in SPLITS]
    assert sum(int(np.isnan(each["mass"]).sum()) for each in x) == 13
    assert sum(int((each["colour"] == "").sum()) for each in x) == 10
    assert "rows have missing values, which" in checks.notes[0]


@pytest.mark.parametrize("missing", ["keep", "impute"])
def test_the_spec_says_which_columns_have_holes_and_what_the_train_split_measured(made, missing):
    split = made(missing, columns())[2]("train")
    by_name = {each.name: each for each in split.spec.columns}
    assert split.spec.missing == missing
    assert {name: each.has_missing for name, each in by_name.items()} == {"mass": True, "length": False, "colour": True}
    assert [each.may_miss for each in split.spec.inputs] == [True, False, True]
    mass = split.x["mass"][~np.isnan(split.x["mass"])]
    assert by_name["mass"].mean == pytest.approx(mass.mean())
    assert by_name["mass"].variance == pytest.approx(mass.var(), rel=1e-5)
    assert abs(by_name["mass"].median - np.median(mass)) <= 5
    assert by_name["colour"].mode == "red"
    assert by_name["colour"].vocabulary == ("blue", "red")


def test_rows_without_a_hole_keep_their_split(made):
    """Whatever `missing` says: a row is known by its content."""
    whole = {name: values for name, values in columns().items() if name in {"length", "kind"}}
    assert made("keep", whole)[1].splits == made("refuse", whole)[1].splits
    dropped, kept = (made(each, columns()) for each in ("drop", "keep"))
    where = dict(zip(kept[1].names, kept[1].splits, strict=True))
    assert dropped[1].splits == [where[name] for name in dropped[1].names]


def test_two_rows_with_the_same_holes_are_twins(made):
    given = columns()
    for values in given.values():
        values[7] = values[0]
    given["kind"][7] = "dog"
    checks, _, _ = made("keep", given)
    assert [each.check for each in checks.failed] == ["no sample has two labels"]


def test_a_column_without_a_value_in_the_train_split_is_refused(made):
    _, samples, _ = made("keep", columns())
    first = next(i for i, split in enumerate(samples.splits) if split != "train")
    given = columns()
    given["few"] = [1.5 if i == first else None for i in range(ROWS)]
    for extra in range(20):  # the new column moves rows: some row outside of the train split is found
        checks, _, _ = made("keep", given)
        if checks.has_failed(MISSING):
            break
        given["few"] = [1.5 if i == extra else None for i in range(ROWS)]
    (failed,) = checks.failed
    assert failed.messages == ("column 'few' has no value in any row of the train split",)
    assert failed.hint == "list it under [table] ignore"


@given(st.lists(st.integers(0, 40).map(float), min_size=1, max_size=60))
def test_the_median_is_the_median_where_many_share_it_and_else_near(values):
    array = np.array(values)
    found, exact = median(array), float(np.median(array))
    if np.count_nonzero(array == exact) >= HANDFUL:
        assert found == exact
    ordered = np.sort(array)
    middle = ordered[max(0, (len(array) - HANDFUL) // 2) :][: HANDFUL + 1]
    assert middle[0] - 1e-3 <= found <= middle[-1] + 1e-3 or found == exact
