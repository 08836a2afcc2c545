"""A batch that is killed at any moment, again and again, has every row once in the end; its memory does not grow."""

import os
import random
import signal
import subprocess
import time

import numpy as np
import pyarrow as pa
import pytest
from batch_command import command, environment, facts, write_settings
from batch_models import registered, table_signature
from pyarrow import parquet

COLUMNS = tuple(f"p{i}" for i in range(16))
ROWS, SMALL = 200_000, 120_000
QUICK = 1
"""The version without hidden layers."""


def rows(path, count):
    """A file of `count` rows, of which some are rejected."""
    chance = np.random.default_rng(1)
    with parquet.ParquetWriter(
        path, pa.schema([("id", pa.int64()), *((each, pa.float32()) for each in COLUMNS)])
    ) as file:
        for start in range(0, count, 50_000):
            ids = np.arange(start, min(count, start + 50_000))
            columns = {each: chance.uniform(0, 100, len(ids)).astype(np.float32) for each in COLUMNS}
            columns["p0"][ids % 1000 == 7] = 101
            file.write_table(pa.table({"id": ids} | columns))
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    signature = table_signature(COLUMNS, ("no", "yes"), 0, 100)
    registered(folder, signature)
    url, _ = registered(folder, signature, hidden=(256, 256))
    write_settings(folder, url, "rows_per_part = 2000")
    rows(folder / "in.parquet", ROWS)
    return folder


def whole(project, out, *arguments):
    return facts(project, "--input", "in.parquet", "--output", out, *arguments)


def parts(out):
    return list((out / "predictions").glob("*"))


def names(out):
    return sorted(each.name for each in (out / "predictions").iterdir())


@pytest.mark.slow
def test_a_killed_batch_has_every_row_once_when_it_is_resumed(project, tmp_path):
    whole(project, tmp_path / "once")
    wanted = names(tmp_path / "once")
    chance, killed, out = random.Random(3), 0, tmp_path / "killed"
    for _ in range(8):
        process = subprocess.Popen(
            command("--input", "in.parquet", "--output", out, "--resume"), cwd=project, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        more = len(parts(out)) + chance.randint(0, 10)
        while process.poll() is None and len(parts(out)) < more:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)  # its worker ends with it
            killed += 1
        process.wait()
        time.sleep(0.05)
        if (out / "manifest.json").exists():
            break
    deadline = time.monotonic() + 30
    while True:  # the worker of the last one that was killed may still be ending
        try:
            found = whole(project, out, "--resume")
            break
        except AssertionError as error:
            assert "in use by another process" in str(error)
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert killed >= 5
    assert found["complete"]
    assert names(out) == wanted, "the very same bytes, in the same parts"
    lines = [(out / "rejected.jsonl").read_bytes(), (tmp_path / "once" / "rejected.jsonl").read_bytes()]
    assert lines[0] == lines[1]
    ids = sorted(row for name in names(out) for row in parquet.read_table(out / "predictions" / name)["id"].to_pylist())
    assert ids == [row for row in range(ROWS) if row % 1000 != 7]


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_file(project, tmp_path):
    peaks = []
    for count in (SMALL, 20 * SMALL):  # the small one fills the pipeline; the rows of the large one are 170 MB
        rows(tmp_path / "in.parquet", count)
        found = whole(
            project, tmp_path / f"{count}", "--input", tmp_path / "in.parquet", "--version", QUICK,
            "--set", "batch.rows_per_part=20000", "--max-rejected", 10_000,
        )  # fmt: skip
        assert found["rows"] == count
        peaks.append(found["peak_mb"])
    assert peaks[1] <= 300
    assert peaks[1] - peaks[0] < 30
