"""expectations.json goes through Great Expectations; what could not be checked is kept apart from what is bad."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from data_makers import images, job_folder, outputs, run

from registry import codec
from registry.errors import ConfigError
from registry.records import TestReport
from training.data.dataset_toml import load_dataset_file
from training.data.expectations import load_suite, read_frames
from training.worker.protocol import load_failure

TABLE = 'format = "table"\n[table]\nfile = ["a.csv", "b.csv"]\ntarget = "kind"\nignore = ["seen"]\n'
HEAD = "mass,name,kind,seen\n"

SUITE = {
    "met": {"type": "expect_column_values_to_be_between", "kwargs": {"column": "mass", "min_value": 1}},
    "bad": {"type": "expect_column_values_to_be_between", "kwargs": {"column": "mass", "min_value": 2}},
    "no column": {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "weight"}},
    "unknown": {"type": "expect_the_unexpected", "kwargs": {}},
    "wrong argument": {"type": "expect_column_values_to_be_between", "kwargs": {"column": "mass", "minimum": 2}},
    "object is str": {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "name", "type_": "object"}},
    "str is str": {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "name", "type_": "str"}},
    "str in list": {
        "type": "expect_column_values_to_be_in_type_list",
        "kwargs": {"column": "name", "type_list": ["object", "int64"]},
    },
    "number is not a str": {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "mass", "type_": "str"}},
    "rows": {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 7}, "meta": {"why": "a test"}},
    "columns": {"type": "expect_table_columns_to_match_set", "kwargs": {"column_set": ["mass", "sum"]}},
    "warning": {
        "type": "expect_column_max_to_be_between",
        "kwargs": {"column": "mass", "max_value": 2},
        "severity": "warning",
    },
    "twice": {"type": "expect_column_values_to_be_between", "kwargs": {"column": "mass", "min_value": 2}},
    "regex": {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "name", "regex": "("}},
    "another case": {"type": "expect_column_values_to_be_between", "kwargs": {"column": "MASS", "min_value": 2}},
    "both cases": {
        "type": "expect_column_pair_values_to_be_equal",
        "kwargs": {"column_A": "MASS", "column_B": "mass"},
    },
}
OUTCOMES = {
    "met": ("passed", ""),
    "bad": ("failed", "1 of 4 values are unexpected (the first: a.csv line 2): 1"),
    "no column": ("error", 'could not be checked: Error: The column "weight" in BatchData does not exist.'),
    "unknown": ("error", "could not be checked: expect_the_unexpected not found"),
    "wrong argument": ("error", "could not be checked: "),
    "object is str": ("passed", ""),
    "str is str": ("passed", ""),
    "str in list": ("passed", ""),
    "number is not a str": ("failed", "observed int64"),
    "rows": ("failed", "observed 4"),
    "columns": ("failed", "observed ['MASS', 'kind', 'mass', 'name', 'seen'], {"),
    "warning": ("skipped", "not met, warning only: observed 4"),
    "twice": ("failed", "1 of 4 values are unexpected (the first: a.csv line 2): 1"),
    "regex": ("error", "could not be checked: Invalid regular expression"),
    "another case": ("passed", ""),
    "both cases": (
        "error",
        "could not be checked: Great Expectations does not distinguish the columns 'MASS' and 'mass'",
    ),
}


def work(folder):
    worker = [sys.executable, "-P", "-m", "training.data.expectations"]
    done = subprocess.run(worker, cwd=folder, capture_output=True, text=True, check=False)
    assert "Calculating Metrics" not in done.stderr  # no progress bars in the log
    return done


@pytest.fixture(scope="module")
def table_job(tmp_path_factory):
    dataset = job_folder(tmp_path_factory.mktemp("expectations"))
    (dataset / "dataset.toml").write_text(TABLE)
    (dataset / "a.csv").write_text("mass,name,kind,seen,MASS\n1,x,cat,2026-01-01,9\n2,y,dog,2026-01-02,9\n")
    (dataset / "b.csv").write_text("mass,name,kind,seen,MASS\n3,x,cat,,9\n4,z,dog,2026-01-02,9\n")
    (dataset / "expectations.json").write_text(json.dumps({"name": "pets", "expectations": [*SUITE.values()]}))
    done = work(dataset.parent.parent)
    assert done.returncode == 0, done.stderr
    return dataset.parent.parent


@pytest.mark.parametrize("which", SUITE)
def test_each_expectation_has_its_outcome(table_job, which):
    case = codec.read(TestReport, table_job / "result.json").cases[list(SUITE).index(which)]
    outcome, message = OUTCOMES[which]
    assert case.name.startswith(SUITE[which]["type"] + "(")
    assert case.outcome == outcome, case.message
    assert case.message.startswith(message)


@pytest.mark.slow
def test_a_suite_that_cannot_be_run_is_reported_in_every_case(tmp_path):
    dataset = job_folder(tmp_path)
    (dataset / "dataset.toml").write_text(TABLE)
    for name in "ab":
        (dataset / f"{name}.csv").write_text(HEAD + "1,x,cat,2026-01-01\n")
    between = {"column": "mass", "min_value": {"$PARAMETER": "x"}}
    suite = [SUITE["met"], SUITE["unknown"], {"type": "expect_column_values_to_be_between", "kwargs": between}]
    (dataset / "expectations.json").write_text(json.dumps({"expectations": suite}))
    assert work(tmp_path / "job").returncode == 0
    cases = codec.read(TestReport, tmp_path / "job" / "result.json").cases
    assert [case.outcome for case in cases] == ["error"] * 3
    assert cases[0].message == cases[2].message == "the suite could not be run: No value found for $PARAMETER x"
    assert "expect_the_unexpected not found" in cases[1].message


def test_junit_has_one_case_per_expectation(table_job):
    suite = ET.parse(table_job / "outputs" / "junit.xml").getroot()[0]
    assert [suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")] == [
        "expectations",
        str(len(SUITE)),
        "5",
        "5",
        "1",
    ]


@pytest.mark.slow
def test_for_images_it_is_about_the_index_that_prepare_writes(tmp_path):
    dataset = images(job_folder(tmp_path))
    (dataset / "dataset.toml").write_text('format = "images"\n')
    suite = [
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "label", "value_set": ["cat", "dog"]}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "bytes", "max_value": 10}},
        {"type": "expect_column_pair_values_to_be_equal", "kwargs": {"column_A": "width", "column_B": "height"}},
    ]
    (dataset / "expectations.json").write_text(json.dumps({"expectations": suite}))
    assert run(dataset).ok
    job = tmp_path / "second"
    (job / "inputs").mkdir(parents=True)
    os.symlink(dataset, job / "inputs" / "dataset")
    os.symlink(outputs(dataset) / "index.parquet", job / "inputs" / "index")
    assert work(job).returncode == 0
    cases = codec.read(TestReport, job / "result.json").cases
    assert [case.outcome for case in cases] == ["passed", "failed", "passed"]
    assert cases[1].message.startswith("60 of 60 values are unexpected (the first: cat/000.png): ")


MALFORMED = {
    "no file": (None, "expectations.json is missing"),
    "not json": ("{", "expectations.json: not JSON"),
    "a list": ("[]", "expectations.json: expectations: a list with at least one expectation is wanted"),
    "empty": ('{"expectations": []}', "expectations: a list with at least one"),
    "text": ('{"expectations": ["a"]}', "expectations[0]: 'a' is not an object"),
    "no type": ('{"expectations": [{"kwargs": {}}]}', "expectations[0].type: None is not the name of an expectation"),
    "kwargs": ('{"expectations": [{"type": "a", "kwargs": 1}]}', "expectations[0].kwargs: 1 is not an object"),
    "severity": ('{"expectations": [{"type": "a", "severity": 1}]}', "expectations[0].severity: 1 is not critical"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_suite_is_reported_with_its_field(tmp_path, text, message):
    if text is not None:
        (tmp_path / "expectations.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_suite(tmp_path / "expectations.json")
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_suite_of_the_old_kind_is_reported_as_such(tmp_path):
    path = tmp_path / "expectations.json"
    path.write_text('{"expectations": [{"expectation_type": "expect_a", "kwargs": {}}]}')
    with pytest.raises(ConfigError) as caught:
        load_suite(path)
    assert "`expectation_type` is `type`" in caught.value.hint


def test_a_malformed_suite_ends_the_worker_before_great_expectations_is_loaded(tmp_path):
    dataset = job_folder(tmp_path)
    (dataset / "expectations.json").write_text("[]")
    assert work(dataset.parent.parent).returncode == 2
    assert isinstance(load_failure(dataset.parent.parent), ConfigError)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('format = "npz"', "are about tables and images, this dataset is npz"),
        ('format = "images"', "inputs/index: the table of the images is missing"),
        (TABLE, "'a.csv' matches no file"),
    ],
    ids=["npz", "no index", "no table"],
)
def test_data_that_no_suite_can_be_about(tmp_path, toml, message):
    (tmp_path / "dataset.toml").write_text(toml)
    with pytest.raises(ConfigError, match=message):
        read_frames(tmp_path, load_dataset_file(tmp_path), Path(tmp_path / "index"))


def test_a_table_that_cannot_be_read(tmp_path):
    (tmp_path / "dataset.toml").write_text(TABLE.replace('"a.csv", "b.csv"', '"a.csv"'))
    (tmp_path / "a.csv").write_text('a,b\n1,2,3\n"')
    with pytest.raises(ConfigError, match=r"a\.csv has 3 fields in line 2, but its first line names 2 columns"):
        read_frames(tmp_path, load_dataset_file(tmp_path), tmp_path / "index")


ZIPS = 'format = "table"\n[table]\nfile = "a.csv"\ntarget = "good"\ncategorical = ["zip"]\nna = ["?"]\n'


def column(kind, name="zip", **kwargs):
    return {"type": f"expect_column_{kind}", "kwargs": {"column": name, **kwargs}}


VIEWS = {
    "leading zeros are kept": (column("value_lengths_to_equal", value=5), "passed"),
    "a text is compared with texts": (column("values_to_be_in_set", value_set=["00001", "00002"]), "passed"),
    "texts of digits are compared with numbers": (column("values_to_be_between", min_value=1, max_value=2), "passed"),
    "classes of digits are compared with numbers": (column("values_to_be_in_set", "good", value_set=[0, 1]), "passed"),
    "classes of digits are texts": (column("values_to_be_in_set", "good", value_set=["0", "1"]), "passed"),
    "a declared text is of type str": (column("values_to_be_of_type", type_="str"), "passed"),
    "a number is matched as it is written": (column("values_to_match_regex", "mass", regex=r"^\d\.\d0$"), "passed"),
    "a number is a number": (column("values_to_be_of_type", "mass", type_="float64"), "passed"),
    "what is declared as missing is missing": (column("values_to_not_be_null", "mass"), "failed"),
    "two rows have the same zip": (column("values_to_be_unique"), "failed"),
}


@pytest.fixture(scope="module")
def zip_job(tmp_path_factory):
    dataset = job_folder(tmp_path_factory.mktemp("zips"))
    (dataset / "dataset.toml").write_text(ZIPS)
    (dataset / "a.csv").write_text("mass,zip,good\n1.50,00001,0\n2.50,00002,1\n?,00001,1\n")
    (dataset / "expectations.json").write_text(json.dumps({"expectations": [suite for suite, _ in VIEWS.values()]}))
    done = work(dataset.parent.parent)
    assert done.returncode == 0, done.stderr
    return dataset.parent.parent


@pytest.mark.parametrize("which", VIEWS)
def test_a_suite_is_about_the_table_that_training_reads(zip_job, which):
    case = codec.read(TestReport, zip_job / "result.json").cases[list(VIEWS).index(which)]
    assert case.outcome == VIEWS[which][1], case.message
