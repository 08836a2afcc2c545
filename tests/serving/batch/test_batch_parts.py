"""Parts are the same wherever reading begins, and whoever makes them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from batch_models import Worker, rejected, table_of, table_signature
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, parquet

from serving.batch.job import makes, part_id, reads
from serving.batch.tables import cut

COLUMNS = ("a", "b")
ROWS = 5000


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return Worker(tmp_path_factory.mktemp("table"), table_signature(COLUMNS, ("no", "yes"), 0, 100))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    numbers = {"a": np.arange(ROWS) % 102, "b": np.arange(ROWS) % 7}  # two of 102 rows are out of range
    table = pa.table({"id": np.arange(ROWS)} | numbers)
    parquet.write_table(table, folder / "in.parquet", row_group_size=900)
    csv.write_csv(table, folder / "in.csv")
    (folder / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in table.to_pylist()))
    np.savez(folder / "in.npz", **{each: table[each].to_numpy() for each in table.column_names})
    return folder


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl", "in.npz"])
def test_the_parts_of_all_shards_are_those_of_the_whole_byte_by_byte(worker, files, name):
    whole, folder, _ = worker.run(files / name, rows_per_part=600)
    assert len(whole) == 9
    assert sum(each.rejected for each in whole) == len(rejected(folder, whole)) == 49
    parts = [
        each for shard in (1, 2, 3) for each in worker.run(files / name, rows_per_part=600, shard=shard, shards=3)[0]
    ]
    assert sorted(parts, key=lambda each: each.id) == whole


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl", "in.npz"])
def test_what_is_left_is_the_same_as_if_nothing_had_been_there(worker, files, name):
    whole, _, _ = worker.run(files / name, rows_per_part=600)
    done = tuple(part_id(0, part) for part in (0, 3, 4, 7))
    left, _, result = worker.run(files / name, rows_per_part=600, done=done)
    assert left == [each for each in whole if each.id not in done]
    assert result.rows == {"0": ROWS}
    none, _, result = worker.run(files / name, rows_per_part=600, done=tuple(each.id for each in whole))
    assert (none, result.rows) == ([], {"0": ROWS})


def test_several_files_are_one_input(worker, files):
    records, folder, result = worker.run(files / "in.parquet", files / "in.parquet", rows_per_part=2000)
    assert table_of(folder, records)["id"].to_pylist() == 2 * [each for each in range(ROWS) if each % 102 <= 100]
    assert result.rows == {"0": ROWS, "1": ROWS}


@given(files=st.integers(1, 6), shards=st.integers(1, 6), part=st.integers(0, 20))
def test_each_part_has_exactly_one_shard(files, shards, part):
    for file in range(files):
        owners = [
            shard
            for shard in range(1, shards + 1)
            if reads(file, files, shard, shards) and makes(file, part, files, shard, shards)
        ]
        assert len(owners) == 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 10), st.integers(1, 10), st.integers(0, 5))
def test_blocks_hold_all_wanted_rows_once_and_do_not_depend_on_the_pieces(sizes, per_part, per_block, skipped):
    rows = sum(sizes)
    table = pa.table({"id": np.arange(rows)})
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pieces = ((int(at), table.slice(at, size)) for at, size in zip(starts, sizes, strict=False))
    blocks = list(cut(pieces, lambda part: part != skipped, per_part, per_block))
    found = [(each.part, each.first, each.rows) for each in blocks]
    alone = [
        (e.part, e.first, e.rows) for e in cut(iter([(0, table)]), lambda part: part != skipped, per_part, per_block)
    ]
    assert found == alone
    ids = [row for each in blocks for row in each.body["id"].to_pylist()]
    assert ids == [row for row in range(rows) if row // per_part != skipped]
    assert all(each.first // per_part == (each.first + each.rows - 1) // per_part == each.part for each in blocks)
