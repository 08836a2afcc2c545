"""From the rows of a table to three splits: which rows are in which, and what a model gets of each."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from registry.records import TensorSpec
from training.data.checks import SPELLINGS, TWO_LABELS, TWO_SPLITS, Checks
from training.data.dataset_toml import DatasetFile, Fractions, Table
from training.data.spec import SPLITS, Column, PrepareJob, load_split
from training.data.split import apart, split_of
from training.data.table.prepare import FINITE, GROUPS, KEYS, MISSING, prepare
from training.data.table.statistics import levels

ROWS = 60
HALVES = Fractions(holdout=0.3, validation=0.3)


class Prepared:
    """What has come out."""

    def __init__(self, folder, columns, classes=(), files=True, **settings):
        self.output, self.checks = folder / "out", Checks()
        self.output.mkdir()
        self.settings = DatasetFile("table", Table(("*.parquet",), **{"target": "kind"} | settings), classes, HALVES)
        parquet.write_table(pa.table(columns), folder / "data.parquet")
        self.samples = prepare(folder, self.settings, self.output, self.checks, PrepareJob(files=files))

    @property
    def notes(self):
        return self.checks.notes

    @property
    def said(self):
        return [message for each in self.checks.failed for message in each.messages]

    def split(self, name):
        return load_split(self.output / name)

    def rows(self):
        """Split → the numbers of its rows, from 0, in their order; for tables without a key."""
        return {name: [int(each.rpartition(" ")[2]) for each in self.split(name).names] for name in SPLITS}


@pytest.fixture
def made(tmp_path):
    return lambda columns, **settings: Prepared(tmp_path, columns, **settings)


def columns(count=ROWS, **more):
    return {
        "mass": [0.1 + i for i in range(count)],
        "colour": [("red", "blue", "green")[i % 3] for i in range(count)],
        "kind": [("cat", "dog")[i % 2] for i in range(count)],
    } | more


def digest(*texts):
    return hashlib.sha256("\x1f".join(texts).encode()).digest()


class TestSplits:
    def test_the_key_of_a_row_is_the_hash_of_its_inputs_as_the_model_gets_them(self, made):
        found = made(columns())
        assert found.said == []
        row = digest("colour=red", "mass=0.10000000149011612")  # by the names of columns; float32
        assert found.samples.digests[0] == row
        assert found.samples.splits[0] == split_of(row, HALVES)
        assert found.samples.splits == [split_of(each, HALVES) for each in found.samples.digests]
        assert found.samples.labels == columns()["kind"]
        assert found.samples.classes == ("cat", "dog")

    def test_it_is_not_moved_by_the_order_of_columns_or_by_their_types(self, made, tmp_path):
        (tmp_path / "second").mkdir()
        first = made({"a": [1.0 + i for i in range(ROWS)], "b": ["1"] * ROWS, "kind": columns()["kind"]})
        second = Prepared(
            tmp_path / "second",
            {"b": pa.array(["1"] * ROWS).dictionary_encode(), "a": range(1, ROWS + 1), "kind": columns()["kind"]},
        )
        assert first.samples.digests == second.samples.digests
        assert len(set(first.samples.digests)) == ROWS

    def test_a_key_of_the_table_decides_where_there_is_one(self, made):
        found = made(columns(id=[f"k{i}" for i in range(ROWS)]), key="id")
        assert found.samples.names[:2] == ["k0", "k1"]
        assert found.samples.splits == [split_of(f"k{i}", HALVES) for i in range(ROWS)]
        assert found.samples.called(1) == "data.parquet row index 1"
        assert len(found.samples.digests) == ROWS

    def test_a_group_decides_where_there_is_one_and_is_in_one_split(self, made):
        groups = [f"g{i // 3}" for i in range(ROWS)]
        found = made(columns(g=groups, id=[f"k{i}" for i in range(ROWS)]), group="g", key="id")
        assert found.said == []
        assert found.samples.splits == [split_of(each, HALVES) for each in groups]
        assert {each.name for each in found.split("train").spec.inputs} == {"mass", "colour"}

    def test_equal_rows_that_are_different_things_have_keys_of_their_own_and_are_not_compared(self, made):
        same = {"mass": [1.5 + i // 4 for i in range(ROWS)], "kind": columns()["kind"]}
        found = made(same, duplicates="allow")
        assert found.said == []
        digests = [digest(f"mass={each}") for each in same["mass"]]
        assert found.samples.splits == [split_of(each, HALVES) for each in apart(digests, same["kind"])]
        assert found.samples.digests == []

    def test_with_a_key_equal_rows_that_are_allowed_have_their_own(self, made):
        same = {"mass": [1.5] * ROWS, "kind": columns()["kind"], "id": [f"k{i}" for i in range(ROWS)]}
        found = made(same, duplicates="allow", key="id")
        assert found.samples.splits == [split_of(f"k{i}", HALVES) for i in range(ROWS)]
        assert found.samples.digests == []

    def test_equal_rows_are_refused_in_two_splits_and_under_two_labels(self, made):
        found = made(columns(mass=[1.5] * ROWS, colour=["red"] * ROWS))
        assert {each.check for each in found.checks.failed} == {TWO_LABELS}
        assert list(found.output.iterdir()) == []

    def test_equal_rows_with_two_keys_in_two_splits_are_refused(self, made):
        same = {"mass": [i // 2 for i in range(ROWS)], "kind": [("cat", "dog")[i // 2 % 2] for i in range(ROWS)]}
        found = made(same | {"id": [f"k{i}" for i in range(ROWS)]}, key="id")
        assert {each.check for each in found.checks.failed} == {TWO_SPLITS}


class TestArrays:
    def test_every_row_is_in_one_split_in_an_order_that_follows_no_column(self, made):
        found = made(columns())
        rows = found.rows()
        assert sorted(row for each in rows.values() for row in each) == list(range(ROWS))
        for name in SPLITS:
            assert set(rows[name]) == {i for i in range(ROWS) if found.samples.splits[i] == name}
            assert rows[name] != sorted(rows[name])
            digests = [hashlib.sha256(found.samples.digests[row]).digest() for row in rows[name]]
            assert digests == sorted(digests)

    def test_numbers_are_float32_categories_texts_and_labels_the_numbers_of_their_classes(self, made):
        found = made(columns(), classes=("dog", "cat"))
        data, all_rows = columns(), found.rows()
        for name in SPLITS:
            split, rows = found.split(name), all_rows[name]
            assert split.x["mass"].dtype == np.float32
            np.testing.assert_array_equal(split.x["mass"], np.array([[data["mass"][row]] for row in rows], np.float32))
            assert split.x["colour"].dtype.kind == "U"
            assert split.x["colour"].tolist() == [[data["colour"][row]] for row in rows]
            assert split.y.dtype == np.int64
            assert split.y.tolist() == [("dog", "cat").index(data["kind"][row]) for row in rows]

    def test_what_is_predicted_as_a_number_is_float32(self, made):
        found = made(columns(kind=[0.1 * i for i in range(ROWS)]), task="regression")
        rows = found.rows()["train"]
        split = found.split("train")
        assert (split.y.dtype, split.spec.classes, found.samples.labels, found.samples.classes) == (
            np.float32,
            (),
            [],
            (),
        )
        np.testing.assert_array_equal(split.y, np.array([0.1 * row for row in rows], np.float32))

    def test_the_description_is_of_the_train_split_alone(self, made):
        found = made(columns())
        data, rows, spec = columns(), found.rows()["train"], found.split("holdout").spec
        seen = np.array([data["mass"][row] for row in rows], np.float32).astype(np.float64)
        assert spec.columns[0] == Column("mass", "numeric", float(seen.mean()), float(seen.var()), levels=levels(seen))
        assert spec.columns[1].vocabulary == ("blue", "green", "red")
        assert spec.inputs == (TensorSpec("mass", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string"))
        assert (spec.format, spec.task, spec.target, spec.train_samples) == (
            "table",
            "classification",
            "kind",
            len(rows),
        )
        assert spec.split == "holdout 0.3, validation 0.3, by content"

    def test_the_rows_themselves_are_written_where_they_are_read(self, made, tmp_path):
        found = made(columns())
        assert parquet.read_table(found.split("train").files / "data.parquet").num_rows == len(found.rows()["train"])
        (tmp_path / "second").mkdir()
        without = Prepared(tmp_path / "second", columns(), files=False)
        assert not (without.output / "train" / "files").exists()
        assert without.rows() == found.rows()


@pytest.mark.parametrize(("rows", "common"), [(5, True), (4, False)])
def test_a_category_of_fewer_than_five_training_rows_is_not_common(made, rows, common):
    colours, keys = columns()["colour"], [f"k{i}" for i in range(ROWS)]
    for row in [i for i in range(ROWS) if split_of(keys[i], HALVES) == "train"][:rows]:
        colours[row] = "rare"
    found = made(columns(colour=colours, id=keys), key="id")
    column = found.split("train").spec.columns[1]
    assert column.vocabulary == ("blue", "green", "rare", "red")
    assert ("rare" in column.common) == common


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "settings", "message", "check", "count"),
        [
            ({"id": ["a", "b", "a", *map(str, range(57))]}, {"key": "id"},
             "'id' is the same in data.parquet row index 0 and in data.parquet row index 2", KEYS, 1),
            ({"id": [None, "b", *map(str, range(58))]}, {"key": "id"}, "data.parquet row index 0 has no 'id'", KEYS, 1),
            ({"g": [None, *map(str, range(59))]}, {"group": "g"}, "data.parquet row index 0 has no 'g'", GROUPS, 1),
            ({"x": [1.0, float("inf"), -float("inf")] + [0.5] * 57}, {},
             "column 'x' holds infinity in data.parquet row index 1", FINITE, 2),
            ({"x": [1.0, 1e39] + [0.5] * 58}, {},
             "column 'x' holds a number that float32 cannot hold (beyond ±3.4e38) in data.parquet row index 1", FINITE, 1),
            ({"kind": [1.0, float("inf")] + [0.5] * 58}, {"task": "regression"},
             "target 'kind' holds infinity in data.parquet row index 1", FINITE, 1),
            ({"x": [None, 2.5, None] + [0.5] * 57}, {},
             "column 'x' is missing in 2 rows, the first: data.parquet row index 0", MISSING, 2),
            ({"g": ["h1", "h1 ", *(f"h{i}" for i in range(2, 60))]}, {"group": "g"},
             "column 'g' holds one value in 2 spellings: one spelling (1 sample, the first: data.parquet row index 0)", SPELLINGS, 1),
            ({"id": ["h1", "h1 ", *(f"h{i}" for i in range(2, 60))]}, {"key": "id"},
             "column 'id' holds one value in 2 spellings: one spelling (1 sample", SPELLINGS, 1),
            ({"colour": ["red", "red "] * 30}, {},
             "column 'colour' holds one value in 2 spellings: 'red' (30 samples, the first: data.parquet row index 0)", SPELLINGS, 30),
            ({"kind": ["cat", "cat "] * 30}, {}, "target 'kind' holds one value in 2 spellings: 'cat' (30 samples", SPELLINGS, 30),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named_and_nothing_is_written(self, made, more, settings, message, check, count):
        found = made(columns(**more), **settings)
        (failed, *_) = found.checks.failed
        assert (failed.check, failed.count) == (check, count)
        assert failed.messages[0].startswith(message)
        assert failed.hint
        assert list(found.output.iterdir()) == []

    def test_two_spellings_are_two_values_where_that_is_declared(self, made):
        more = {
            "kind": ["cat", "cat "] * 30,
            "colour": ["red", "red ", "blue"] * 20,
            "g": [f"g{i % 30}" for i in range(59)] + ["g1 "],
        }
        found = made(columns(**more), spellings="distinct", group="g")
        assert found.said == []
        assert found.samples.classes == ("cat", "cat ")

    def test_a_column_that_is_named_and_not_there(self, made):
        found = made(columns(), key="id", classes=("cat", "dog"))
        assert found.said == ["[table] key: there is no column 'id', did you mean 'kind'?"]
        assert (found.samples.names, found.samples.classes) == ([], ("cat", "dog"))

    def test_the_checks_that_were_made_are_reported(self, made):
        found = made(columns(id=[f"k{i}" for i in range(ROWS)], g=[f"g{i}" for i in range(ROWS)]), key="id", group="g")
        names = [each.name for each in found.checks.report().cases]
        assert {FINITE, KEYS, GROUPS, MISSING, SPELLINGS, TWO_SPLITS, TWO_LABELS} <= set(names)
        assert found.said == []


class TestMissing:
    def test_rows_with_gaps_are_dropped_where_that_is_declared_and_no_others(self, made):
        mass, colour = columns()["mass"], columns()["colour"]
        mass[3] = mass[5] = colour[5] = colour[7] = None
        found = made(columns(mass=mass, colour=colour), missing="drop")
        assert found.said == []
        assert found.notes[0] == "3 of 60 rows are dropped, with a value missing in 'mass' (2), 'colour' (2)"
        assert sorted(row for each in found.rows().values() for row in each) == [
            i for i in range(ROWS) if i not in {3, 5, 7}
        ]
        assert len(found.samples.names) == len(found.samples.digests) == 57
        assert found.samples.names[3] == "data.parquet row index 4"

    def test_a_gap_is_not_another_spelling_of_none(self, made):
        assert made(columns(colour=["None", "red", None] * 20), missing="drop").said == []

    def test_a_gap_that_is_refused_leaves_the_classes_that_are_declared(self, made):
        found = made(columns(mass=[None] + [1.5] * 59), classes=("cat", "dog"))
        assert (found.samples.names, found.samples.classes) == ([], ("cat", "dog"))

    def test_nothing_is_said_where_nothing_is_missing(self, made):
        assert made(columns(), missing="drop").notes == []

    def test_all_rows_with_gaps_are_no_table(self, made):
        found = made(columns(mass=[None] + [1.5] * 59, colour=["red"] + [None] * 59), missing="drop")
        assert found.said == ["no row is complete"]
        assert found.checks.failed[0].count == ROWS

    @pytest.mark.parametrize(
        ("settings", "hint"),
        [
            ({}, "; where 'NA' is a value: categorical = [\"colour\"]"),
            ({"na": ("NA",)}, ""),
        ],
    )
    def test_which_texts_were_taken_for_gaps_is_shown(self, tmp_path, settings, hint):
        colour = ["NA", "red", "blue"] * 20
        csv.write_csv(pa.table(columns(colour=colour)), tmp_path / "data.csv")
        checks = Checks()
        (tmp_path / "out").mkdir()
        settings = DatasetFile("table", Table(("data.csv",), "kind", **settings), (), HALVES)
        prepare(tmp_path, settings, tmp_path / "out", checks, PrepareJob())
        (failed,) = checks.failed
        assert failed.messages == ("column 'colour' is missing in 20 rows ('NA' in 20), the first: data.csv line 2",)
        advice = (
            'fill the values in, or set [table] missing = "drop" to leave such rows out, or "impute" to have them filled in '
            "with what the train split measures"
        )
        assert failed.hint == advice + hint


class TestNotes:
    @pytest.mark.parametrize(
        ("values", "note"),
        [
            ([2.5] * ROWS, "column 'x' is 2.5 in every row of the train split"),
            (list(range(5, 65)), "column 'x' holds consecutive whole numbers, each once: if it numbers the rows"),
            (list(range(64, 4, -1)), "column 'x' holds consecutive whole numbers, each once: if it numbers the rows"),
            ([*range(59), 60], None),
            ([*range(58), 57, 59], None),
            ([0.5 + i for i in range(ROWS)], None),
            ([(1 << 24) + i % 7 * 2 + 2 for i in range(ROWS)], "column 'x' holds whole numbers that float32 rounds"),
            ([-(1 << 24) - 2 - i % 7 for i in range(ROWS)], "column 'x' holds whole numbers that float32 rounds"),
            ([(1 << 24) - i % 7 for i in range(ROWS)], None),
            ([(1 << 24) + 0.5 + i % 7 for i in range(ROWS)], None),
            ([f"name {i}" for i in range(ROWS)], "column 'x' has "),
        ],
    )  # fmt: skip
    def test_an_input_that_may_not_be_meant_as_one_is_noted(self, made, values, note):
        notes = made(columns(x=values)).notes
        assert len(notes) == (note is not None)
        assert all(each.startswith(note) for each in notes)

    def test_values_that_only_other_splits_have_are_counted_and_shown_where_a_handful_of_rows_has_them(self, made):
        keys = [f"k{i}" for i in range(ROWS)]
        others = [i for i in range(ROWS) if split_of(keys[i], HALVES) != "train"]
        colours = columns()["colour"]
        wanted = [f"new{i // 5}" for i in range(5)] + ["few"] * 4
        for row, value in zip(others, wanted, strict=False):
            colours[row] = value
        found = made(columns(colour=colours, id=keys), key="id")
        assert found.notes == ["column 'colour': 2 values are not in the train split (new0)"]

    def test_free_text_in_two_spellings_is_noted_and_not_refused(self, made):
        texts = [f"text {i}" for i in range(ROWS - 2)] + ["text  5", "text  6"]
        found = made(columns(x=texts))
        assert found.said == []
        assert found.notes[0] == "column 'x': 2 texts are there in two spellings, and count as different ones"

    def test_one_free_text_in_two_spellings_is_noted(self, made):
        texts = [f"text {i}" for i in range(ROWS - 1)] + ["text  5"]
        assert made(columns(x=texts)).notes[0].startswith("column 'x': a text is there in two spellings")

    @pytest.mark.parametrize(
        ("different", "rows", "free"), [(21, 41, True), (20, 30, False), (21, 42, False), (22, 43, True)]
    )
    def test_more_than_twenty_texts_that_are_more_than_half_of_the_rows_are_free_text(
        self, made, different, rows, free
    ):
        texts = [f"t {i % (different - 1)}" for i in range(rows - 1)] + ["t  0"]
        found = made(columns(count=rows, x=texts))
        assert any("a text is there in two spellings" in each for each in found.notes) == free
        assert any(each.check == SPELLINGS for each in found.checks.failed) == (not free)
