"""`trainyard batch`, as a person types it, with a fenced worker."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from batch_command import batch, write_settings
from batch_models import registered, table_signature
from pyarrow import csv, parquet

from registry.files import sha256_file
from registry.records import TextRules
from registry.s3_client import parse_url
from registry.s3_objects import Objects

COLUMNS = ("a", "b")
ROWS = 3000


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a released model, and three files of rows."""
    folder = tmp_path_factory.mktemp("project")
    url, _ = registered(folder, table_signature(COLUMNS, ("no", "yes"), 0, 100))
    registered(folder, table_signature(COLUMNS, ("no", "yes"), 0, 100), release=False)
    write_settings(folder, url, "rows_per_part = 700")
    table = pa.table({"id": np.arange(ROWS), "a": np.arange(ROWS) % 101 * 1.0, "b": np.arange(ROWS) % 7})
    parquet.write_table(table, folder / "in.parquet")
    csv.write_csv(table.slice(0, 900), folder / "in.csv")
    csv.write_csv(table.slice(0, 900).set_column(1, "a", pa.array(["x"] * 900)), folder / "bad.csv")
    return folder


def ids(output):
    """Of all rows, in the order of the parts' names."""
    parts = sorted((output / "predictions").iterdir())
    return [each for part in parts for each in parquet.read_table(part)["id"].to_pylist()]


def test_a_file_becomes_a_folder_of_parts_with_a_manifest(project, tmp_path):
    done = batch(project, "--input", "in.parquet", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("digits version 1: 3,000 rows, 3,000 predicted, 0 rejected, in ")
    assert ids(tmp_path / "out") == list(range(ROWS))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["rows"], manifest["predicted"], len(manifest["parts"])) == (ROWS, ROWS, 5)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "batch.json", "manifest.json", "predictions", "rejected.jsonl", "shards", "state",
    ]  # fmt: skip
    again = batch(project, "--input", "in.parquet", "--output", tmp_path / "out")
    assert (again.returncode, "there is something already" in again.stderr) == (2, True)
    complete = batch(project, "--input", "in.parquet", "--output", tmp_path / "out", "--resume", "--json")
    assert json.loads(complete.stdout)["complete"], complete.stderr


def test_a_file_is_read_as_the_dataset_is_written_unless_the_settings_say_otherwise(tmp_path):
    european = TextRules(";", ",", encoding="cp1252", na=("-",))
    url, _ = registered(tmp_path, replace(table_signature(COLUMNS, ("no", "yes"), 0, 100), text=european))
    write_settings(tmp_path, url)
    (tmp_path / "in.csv").write_text("Ort;a;b\nZürich;1,5;2\nBern;3;-\n", encoding="cp1252")
    done = batch(tmp_path, "--input", "in.csv", "--output", "out")
    assert (done.returncode, "2 rows, 1 predicted, 1 rejected" in done.stdout) == (0, True), done.stderr
    assert 'read with delimiter = ";", decimal = ",", encoding = "cp1252", na = ["-"]' in done.stdout
    (tmp_path / "in.csv").write_text("Ort;a;b\nZürich;1.5;2\n", encoding="utf-8")
    other = batch(tmp_path, "--input", "in.csv", "--output", "other")
    assert "is encoded as UTF-8, not as cp1252" in other.stderr
    assert 'write encoding = "utf-8" under [batch] in trainyard.toml' in other.stderr
    settings = ("--set", "batch.decimal=.", "--set", "batch.encoding=utf-8")
    given = batch(tmp_path, "--input", "in.csv", "--output", "given", *settings)
    assert "1 rows, 1 predicted" in given.stdout, given.stderr


def test_predictions_are_explained_on_request_and_a_resume_keeps_to_it(project, tmp_path):
    files = ("--input", "in.csv", "--output", tmp_path / "out", "--format", "parquet")
    done = batch(project, *files, "--explain", "--set", "batch.explain_ms=1000", "--set", "batch.rows_per_part=600")
    assert done.returncode == 0, done.stderr
    tables = [parquet.read_table(each) for each in sorted((tmp_path / "out" / "predictions").iterdir())]
    assert [len(each) for each in tables] == [600, 300]
    for each in tables:
        effects = each["effect_of_a"].to_numpy() + each["effect_of_b"].to_numpy()
        assert effects + each["effect_base"].to_numpy() == pytest.approx(each["probability"].to_numpy())
    other = batch(project, *files, "--resume", "--set", "batch.rows_per_part=600")
    assert (other.returncode, "explain_ms: 1000, now 0" in other.stderr) == (2, True), other.stderr


def test_too_many_rejected_rows_end_it_with_3_and_the_first_reason(project, tmp_path):
    out = tmp_path / "out"
    refused = batch(project, "--input", "bad.csv", "--output", out, "--max-rejected", 10)
    assert refused.returncode == 3
    assert "rows are rejected, 10 are allowed, the first: bad.csv row 1: a: 'x' is not a number" in refused.stderr
    assert not (out / "manifest.json").exists()
    allowed = batch(project, "--input", "bad.csv", "--output", out, "--max-rejected", 900, "--resume")
    assert allowed.returncode == 0, allowed.stderr
    lines = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert [(each["file"], each["row"]) for each in lines] == [("bad.csv", row) for row in range(1, 901)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--input", "nothing.csv"), "--input nothing.csv: is not there"),
        (("--input", "trainyard.toml"), "--input trainyard.toml: of an unknown format"),
        (("--input", "in.csv", "--version", "2"), "digits version 2 was never released"),
        (("--input", "in.csv", "--shard", "5/4"), "--shard '5/4': not such as 1/4"),
        (("--input", "in.csv", "--columns", "name"), "in.csv: column 'name' is to be kept, and is missing"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_row(project, tmp_path, arguments, said):
    done = batch(project, *arguments, "--output", tmp_path / "out")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out" / "predictions").exists()


@pytest.mark.slow
def test_a_resume_with_other_settings_is_refused_and_names_them(project, tmp_path):
    for name in ("in.csv", "trainyard.toml"):
        shutil.copy(project / name, tmp_path)
    assert batch(tmp_path, "--input", "in.csv", "--output", "out").returncode == 0
    with (tmp_path / "in.csv").open("a") as file:
        file.write("1,2,3\n")
    other = batch(tmp_path, "--input", "in.csv", "--output", "out", "--resume", "--format", "jsonl")
    assert other.returncode == 2
    assert "was begun with other settings: input: in.csv differ; format: csv, now jsonl" in other.stderr


@pytest.mark.slow
def test_the_last_shard_completes_the_whole(project, tmp_path):
    out = tmp_path / "out"
    for shard in (3, 1):
        done = batch(project, "--input", "in.parquet", "--output", out, "--shard", f"{shard}/3")
        assert (done.returncode, "other shards are not complete" in done.stdout) == (0, True), done.stderr
    twice = batch(project, "--input", "in.parquet", "--output", out, "--shard", "1/3")
    assert twice.returncode == 2
    assert not (out / "manifest.json").exists()
    last = batch(project, "--input", "in.parquet", "--output", out, "--shard", "2/3")
    assert "all shards are complete: 3,000 rows, 0 rejected" in last.stdout, last.stderr
    assert ids(out) == list(range(ROWS))


@pytest.mark.slow
def test_a_bucket_is_read_and_written(project, tmp_path, s3_place, s3_server):
    url, options = s3_place
    objects = Objects(parse_url(url, "test"), options)
    objects.create_file("in/rows.parquet", project / "in.parquet", sha256_file(project / "in.parquet"))
    access = options.access
    write_settings(
        tmp_path,
        f"file://{project / 'registry'}",
        f'rows_per_part = 700\ninput = "{url}/in"\noutput = "{url}/out"',
        f'endpoint = "{access.endpoint}"\nregion = "{access.region}"',
    )
    done = batch(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    names = [name for name, facts in objects.listing("out", deep=True) if facts]
    assert sum(name.startswith("predictions/part-") for name in names) == 5
    assert json.loads(objects.get("out/manifest.json"))["predicted"] == ROWS
    taken = batch(tmp_path)
    assert (taken.returncode, "there is something already" in taken.stderr) == (2, True)
    denied = batch(tmp_path, "--output", "s3://no-such-bucket-of-ours/out")
    assert denied.returncode == 2, denied.stderr
    assert "predict" not in denied.stderr, "before the first row"
