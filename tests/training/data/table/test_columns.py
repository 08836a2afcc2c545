"""What each column of a table is to a model: a number, a category, the label, the key, the group, or nothing it can use."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from training.data.checks import Checks
from training.data.dataset_toml import Table
from training.data.table.columns import LABELS, THERE, USABLE, ColumnReader
from training.data.table.dialect import Dialect
from training.data.table.read import Part, Rows


def reader(columns, index=(), more=(), **settings):
    """Of a file `a`, and of more; columns of texts alone are those of a text file, any other table is Parquet."""
    table = Table(("a",), **{"target": "kind", **settings})
    tables = [pa.table(each) for each in (columns, *more)]
    texts = [all(pa.types.is_string(each.type) for each in one.schema) for one in tables]
    parts = [
        Part("abc"[i], one, *((Dialect(",", "utf-8"), range(2, 2 + one.num_rows)) if texts[i] else ()))
        for i, one in enumerate(tables)
    ]
    return ColumnReader(Rows(parts, table, index), table, checks := Checks()), checks


def said(checks):
    return [message for each in checks.failed for message in each.messages]


def made(checks):
    return [each.name for each in checks.report().cases]


def column(values, **settings):
    """How one input column is read, and what is said of it."""
    read, checks = reader({"a": values, "kind": ["cat"] * len(values)}, **settings)
    features = read.features()
    return (features[0] if features else None), checks


class TestNamed:
    def test_every_column_that_the_settings_name_has_to_be_there(self):
        read, checks = reader({"a": ["1"], "kind": ["x"]}, key="a", numeric=("a",))
        assert read.check_named() is True
        assert (said(checks), made(checks)) == ([], [THERE])

    @pytest.mark.parametrize(
        ("role", "value"),
        [
            ("target", "zzzz"), ("key", "zzzz"), ("group", "zzzz"),
            ("numeric", ("a", "zzzz")), ("categorical", ("zzzz",)), ("ignore", ("zzzz",)),
        ],
    )  # fmt: skip
    def test_one_that_is_not_there_is_named_with_its_role(self, role, value):
        read, checks = reader({"a": ["1"], "kind": ["x"]}, **{role: value})
        assert read.check_named() is False
        assert said(checks) == [f"[table] {role}: there is no column 'zzzz'"]

    @pytest.mark.parametrize(
        ("wanted", "hint"),
        [
            ("mas", "'mas', did you mean 'mass'?"),
            ("mass ", "'mass ', but 'mass'; they differ in blanks"),
            ("zzzz", "'zzzz'"),
        ],
    )
    def test_the_nearest_name_is_suggested(self, wanted, hint):
        read, checks = reader({"legs": ["1"], "masque": ["1"], "mass": ["1"], "kind": ["x"]}, key=wanted)
        read.check_named()
        assert said(checks) == [f"[table] key: there is no column {hint}"]


class TestInputs:
    def test_are_all_columns_without_another_role_in_the_order_of_the_file(self):
        names = ["z", "key", "a", "group", "kind", "no", "index", "b"]
        read, checks = reader(
            {name: ["1.5"] for name in names}, key="key", group="group", ignore=("no",), index=("index",)
        )
        assert [each.name for each in read.features()] == ["z", "a", "b"]
        assert made(checks) == [USABLE]
        assert checks.notes == [
            (
                "column 'index' is the index of a pandas DataFrame, and no input; to use it all the same, list it under "
                "[table] numeric or categorical"
            )
        ]

    def test_an_index_without_a_name_is_noted_without_a_way_to_use_it(self):
        read, checks = reader({"": ["1"], "a": ["1"], "kind": ["x"]}, index=("",))
        assert [each.name for each in read.features()] == ["a"]
        assert checks.notes == ["the first column, which has no name, is the index of a pandas DataFrame, and no input"]

    def test_there_has_to_be_one(self):
        read, checks = reader({"kind": ["x"], "no": ["1"]}, ignore=("no",))
        assert read.features() == []
        assert said(checks) == ["no column is left as an input"]

    def test_one_that_cannot_be_used_is_left_out_and_the_others_are_read(self):
        read, checks = reader({"a": [date(2026, 1, 1)], "b": [1.5], "kind": ["x"]})
        assert [each.name for each in read.features()] == ["b"]
        assert said(checks) == ["column 'a' holds dates or times (date32[day])"]


READ = {
    "texts of numbers": (["1", "2.5", "NA"], {}, "numeric", [1.0, 2.5, np.nan]),
    "numbers": ([1, 2, None], {}, "numeric", [1.0, 2.0, np.nan]),
    "floating numbers": ([0.5, None, float("nan")], {}, "numeric", [0.5, np.nan, np.nan]),
    "large whole numbers": ([2**53 + 1, 1], {}, "numeric", [2.0**53, 1.0]),
    "numbers that are declared categories": ([1, 2, None], {"categorical": ("a",)}, "categorical", ["1", "2", None]),
    "texts of numbers that are declared categories": (
        ["01", "NA", ""], {"categorical": ("a",)}, "categorical", ["01", "NA", None],
    ),
    "texts": (["red", "NA", ""], {}, "categorical", ["red", None, None]),
    "truth": ([True, None, False], {}, "categorical", ["true", None, "false"]),
    "truth that is declared numeric": ([True, None, False], {"numeric": ("a",)}, "numeric", [1.0, np.nan, 0.0]),
    "the longest text": (["x" * 10_000, None], {}, "categorical", ["x" * 10_000, None]),
    "categories without any value": ([None, ""], {"categorical": ("a",)}, "categorical", [None, None]),
}  # fmt: skip


class TestOneInput:
    @pytest.mark.parametrize(("values", "settings", "kind", "read"), READ.values(), ids=READ)
    def test_is_numbers_or_categories_with_gaps_where_a_value_is_missing(self, values, settings, kind, read):
        feature, checks = column(pa.array(values), **settings)
        assert said(checks) == []
        assert (feature.name, feature.kind) == ("a", kind)
        if kind == "numeric":
            assert feature.values.dtype == np.float64
            np.testing.assert_array_equal(feature.values, np.array(read, np.float64))
        else:
            assert [feature.texts[place] for place in feature.values] == [each or "" for each in read]
        gaps = [each is None or each != each for each in read]  # noqa: PLR0124 (NaN)
        assert (feature.missing.tolist(), feature.missing.dtype) == (gaps, bool)

    @pytest.mark.parametrize(
        ("values", "settings", "message", "count"),
        [
            (pa.nulls(2), {}, "column 'a' is empty in every row", 1),
            (["", "NA"], {}, "column 'a' is empty in every row", 1),
            ([[1], [2]], {}, "column 'a' holds values of type list<item: int64>", 1),
            ([b"x", b"y"], {}, "column 'a' holds bytes, not text (binary)", 1),
            (["1", "2", "3,5"], {}, "column 'a' holds numbers in 2 of 3 rows, but holds text like '9,9'", 1),
            (["red", "2"], {"numeric": ("a",)}, "column 'a' is listed as numeric, but holds text like 'xxx'", 1),
            (["ok", "x" * 10_001], {}, "column 'a' holds 10,001 characters in a line 3", 1),
        ],
        ids=["nothing", "gaps alone", "lists", "bytes", "a slip", "no number", "a long text"],
    )
    def test_that_cannot_be_used_is_refused_with_what_it_holds(self, values, settings, message, count):
        feature, checks = column(pa.array(values) if isinstance(values, list) else values, **settings)
        assert feature is None
        (failed,) = checks.failed
        assert (failed.check, failed.count, len(failed.messages)) == (USABLE, count, 1)
        assert failed.messages[0].startswith(message)

    def test_whose_files_disagree_is_refused_with_a_file_of_each_kind(self):
        read, checks = reader(
            {"a": [1.5], "kind": ["x"]},
            more=({"a": ["red"], "kind": pa.array(["x"]).dictionary_encode()}, {"a": [2], "kind": ["x"]}),
        )
        assert read.features() == []
        assert said(checks) == ["column 'a' holds numbers in a and text in b"]

    @pytest.mark.parametrize(
        ("values", "settings", "notes"),
        [
            (["007", "008"], {}, ["column 'a' holds numbers with leading zeros in 2 rows"]),
            (["007", "008"], {"numeric": ("a",)}, []),
            (["07.5", "08"], {}, []),
            (["007", "008"], {"categorical": ("a",)}, []),
            (["red", "?"], {}, ["column 'a' holds '?' in 1 rows, as values of their own"]),
            (["red", "NA"], {}, ["column 'a': 'NA' in 1 rows are read as missing; categorical = [\"a\"]"]),
            (["red", "?", "NA"], {"categorical": ("a",)}, []),
        ],
    )
    def test_is_noted_where_its_texts_may_mean_something_else(self, values, settings, notes):
        feature, checks = column(values, **settings)
        assert feature
        assert len(checks.notes) == len(notes)
        assert all(found.startswith(wanted) for found, wanted in zip(checks.notes, notes, strict=True))


class TestLabels:
    @pytest.mark.parametrize(
        ("values", "settings", "read"),
        [
            (["cat", "dog"], {}, ["cat", "dog"]),
            (["1", "02"], {}, ["1", "02"]),
            (["1.0", "2.0"], {}, ["1.0", "2.0"]),
            ([1.0, 2.0], {"decimal": ","}, ["1", "2"]),
            ([1, 2], {}, ["1", "2"]),
            ([1.0, 2.0], {}, ["1", "2"]),
            ([10.0, 100.0], {}, ["10", "100"]),
            ([True, False], {}, ["true", "false"]),
        ],
    )
    def test_classes_are_texts_and_whole_numbers_have_no_decimals(self, values, settings, read):
        found, checks = reader({"a": [1, 2], "kind": values}, **settings)
        assert found.labels().tolist() == read
        assert (said(checks), made(checks)) == ([], [LABELS])

    @pytest.mark.parametrize("values", [["1.5", "2"], [1.5, 2.0], [1, 2]])
    def test_what_is_predicted_as_a_number_is_numbers(self, values):
        found, checks = reader({"a": [1, 2], "kind": values}, task="regression")
        assert found.labels().tolist() == [float(each) for each in values]
        assert said(checks) == []

    @pytest.mark.parametrize(
        ("values", "settings", "message", "count"),
        [
            (["", "NA"], {"na": ("NA",), "task": "regression"}, "target 'kind' is empty in every row", 2),
            (pa.nulls(2), {}, "target 'kind' is empty in every row", 2),
            ([1.5, 2.0], {}, "target 'kind' holds decimal numbers, not classes", 1),
            ([1.5, None], {}, "target 'kind' holds decimal numbers, not classes", 1),
            (["1.5", "2"], {}, "target 'kind' holds decimal numbers, not classes", 1),
            ([[1], [2]], {}, "target 'kind' holds values of type list", 1),
            ([date(2026, 1, 1)] * 2, {}, "target 'kind' holds dates or times", 1),
            ([date(2026, 1, 1)] * 2, {"task": "regression"}, "target 'kind' holds dates or times (date32[day]), not", 2),
            ([True, False], {"task": "regression"}, "target 'kind' holds values of type bool, not numbers", 2),
            (["cat", "2"], {"task": "regression"}, "target 'kind' is predicted as a number, but holds text like 'xxx'", 1),
        ],
    )  # fmt: skip
    def test_a_target_that_cannot_be_used_gives_none_and_says_why(self, values, settings, message, count):
        read, checks = reader({"a": [1, 2], "kind": values}, **settings)
        assert read.labels() is None
        (failed,) = checks.failed
        assert failed.messages[0].startswith(message)
        assert failed.count == count
        assert failed.hint

    def test_what_is_no_number_is_named_with_both_ways_out(self):
        read, checks = reader({"a": ["1"] * 3, "kind": ["1", "x", "3"]}, task="regression")
        assert read.labels() is None
        (failed,) = checks.failed
        assert failed.hint == (
            'correct the values, or delete these rows; for classes, set [table] task = "classification"'
        )

    def test_a_target_whose_files_disagree_is_refused_once(self):
        read, checks = reader({"a": [1], "kind": [1]}, more=({"a": [2], "kind": ["x"]},))
        assert read.labels() is None
        assert said(checks) == ["column 'kind' holds numbers in a and text in b"]

    @pytest.mark.parametrize(
        ("values", "settings", "hint"),
        [
            (["cat", "", "dog"], {}, "fill in the label, or delete the row"),
            ([1.5, None, 2.5], {"task": "regression"}, "fill in the label, or delete the row"),
            (["1.5", "NA", "2.5"], {"task": "regression"}, "fill in the label, or delete the row"),
            (
                ["cat", "NA", "dog"], {},
                ("fill in the label, or delete the row; 'NA' in 1 rows is read as missing: where it is a class, write "
                "na = [] under [table] in dataset.toml"),
            ),
        ],
    )  # fmt: skip
    def test_a_row_without_a_label_is_refused_with_its_place(self, values, settings, hint):
        read, checks = reader(
            {"a": ["1", "2", "3"] if isinstance(values[0], str) else [1, 2, 3], "kind": values}, **settings
        )
        assert read.labels() is not None
        (failed,) = checks.failed
        place = "a line 3" if isinstance(values[0], str) else "a row index 1"
        assert (failed.check, failed.messages, failed.hint) == (LABELS, (f"{place} has no 'kind'",), hint)


class TestKeysAndGroups:
    @pytest.mark.parametrize(
        ("values", "read"), [(["007", "NA"], ["007", "NA"]), ([7, 8], ["7", "8"]), ([True, False], ["true", "false"])]
    )
    def test_are_texts_as_they_are(self, values, read):
        columns = {"id": values, "kind": ["x", "y"]}
        found, checks = reader(columns, key="id")
        assert found.texts("id", "check") == read
        assert (said(checks), made(checks)) == ([], ["check"])

    def test_a_row_without_one_is_refused_with_its_place(self):
        read, checks = reader({"id": ["a", " ", "b"], "kind": ["x"] * 3}, group="id")
        assert read.texts("id", "check") == ["a", "", "b"]
        assert said(checks) == ["a line 3 has no 'id'"]

    def test_there_are_none_where_the_files_disagree(self):
        read, checks = reader({"id": [1], "kind": [1]}, more=({"id": [date(2026, 1, 1)], "kind": [2]},), key="id")
        assert read.texts("id", "check") == []
        assert said(checks) == ["column 'id' holds numbers in a and dates or times (date32[day]) in b"]
