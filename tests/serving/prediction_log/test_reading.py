"""Compaction, reading, bounds and purges, over segments that a real writer has made."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from prediction_log_parts import image_answer, image_model, log_job, table_answer, table_model

from registry.errors import Corrupt, TryAgain
from serving.prediction_log import compact as compacting
from serving.prediction_log import purge as purging
from serving.prediction_log import segments
from serving.prediction_log.bounds import File, enforce, to_remove
from serving.prediction_log.compact import compact
from serving.prediction_log.images import stored_images
from serving.prediction_log.key import read_key
from serving.prediction_log.manifest import read_manifest
from serving.prediction_log.purge import Purge, purge
from serving.prediction_log.rules import criterion_hash
from serving.prediction_log.tables import Wanted, _groups, header_of, left_out, read
from serving.prediction_log.writer import PredictionLog

KEEP = (30, 1024)
NOW = time.time()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(purging, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


def write(folder, answers, **settings):
    """One closed segment per release among the answers; gives the job."""
    job = log_job(folder, **settings)
    log = PredictionLog(job, lambda _: None)
    log.start()
    for each in answers:
        log.offer(each)
    log.close()
    return job


def ids(folder, **wanted):
    return sorted(f"{row['id']}.{row['row']}" for table in read(folder, Wanted(**wanted)) for row in table.to_pylist())


def several(release=2, first=0, count=5, caller="ada", at=NOW):
    model = table_model(release=release)
    return [table_answer(model, f"r-{i}", 2, caller, at) for i in range(first, first + count)]


def test_segments_and_parquet_hold_the_same(folder):
    write(folder, several())
    before = list(read(folder))
    found = compact(folder, *KEEP)
    assert (found.segments, found.lines, found.parts) == (1, 10, 1)
    (after,) = read(folder)
    assert after.to_pylist() == before[0].to_pylist()
    assert header_of(after.schema)["inputs"]["city"] == {"kept": "bin", "type": "text"}
    row = after.to_pylist()[0]
    assert row["inputs"] == {"age": 41.5, "city": "Bern"}
    assert row["outputs"] == {"out": [0.25, 0.75]}


def test_parquet_is_by_day_and_release(folder):
    write(folder, [*several(2, at=NOW - 86_400), *several(2, 5), *several(3, 10)])
    compact(folder, *KEEP)
    days = [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for at in (NOW - 86_400, NOW)]
    found = sorted("/".join(each.split("/")[1:3]) for each in read_manifest(folder).parts)
    assert found == [f"day={days[0]}/release=2", f"day={days[1]}/release=2", f"day={days[1]}/release=3"]
    assert len(ids(folder)) == 30
    assert len(ids(folder, release=3)) == 10
    assert len(ids(folder, since=datetime.fromtimestamp(NOW - 3600, UTC))) == 20
    assert len(ids(folder, until=datetime.fromtimestamp(NOW - 3600, UTC))) == 10


def test_columns_can_be_chosen(folder):
    write(folder, several())
    compact(folder, *KEEP)
    write(folder, several(first=5))
    assert {tuple(table.schema.names) for table in read(folder, Wanted(columns=("class", "confidence")))} == {
        ("class", "confidence")
    }


def test_a_line_is_read_once_at_every_moment_of_a_compaction(folder, monkeypatch):
    """Killed after any of its steps, too: the manifest alone says what counts."""
    write(folder, several())
    everything = ids(folder)

    def die(*_):
        assert ids(folder) == everything
        raise KeyboardInterrupt

    monkeypatch.setattr(compacting, "write_manifest", die)
    with pytest.raises(KeyboardInterrupt):
        compact(folder, *KEEP)
    assert ids(folder) == everything
    monkeypatch.undo()
    for _ in range(2):
        compact(folder, *KEEP)
        assert ids(folder) == everything


def test_what_compaction_replaced_goes_when_no_reader_can_need_it(folder, monkeypatch):
    write(folder, several())
    compact(folder, *KEEP)
    assert len(segments.closed(folder)) == 1
    monkeypatch.setattr("serving.prediction_log.manifest.time.time", lambda: NOW + 3600)
    compact(folder, *KEEP)
    assert segments.closed(folder) == []
    assert len(ids(folder)) == 10


def test_many_small_parquet_files_become_one(folder, monkeypatch):
    monkeypatch.setattr(compacting, "MOST_PARTS", 2)
    for i in range(4):
        write(folder, several(first=5 * i))
        compact(folder, *KEEP)
    assert len(read_manifest(folder).parts) <= 2
    assert len(set(ids(folder))) == len(ids(folder)) == 40


def test_readers_see_a_whole_segment_or_none_while_it_is_being_written(folder):
    """A reader runs beside a writer that closes many segments."""
    seen, ended = [], threading.Event()

    def watch():
        while not ended.is_set():
            for table in read(folder):
                seen.append(table.num_rows)

    reader = threading.Thread(target=watch)
    reader.start()
    for number in range(1, 6):
        write(folder, several(release=number, first=10 * number))
    ended.set()
    reader.join()
    assert set(seen) <= {10}
    assert len(ids(folder)) == 50


def test_lines_that_are_not_as_the_header_says_are_left_out(folder):
    write(folder, several(count=2))
    (segment,) = segments.closed(folder)
    header, *lines = b"".join(segments.blocks(segment.path)).splitlines(keepends=True)
    bad = [b"\0\0\0\0\n", b'{"id":7,"row":"x"}\n', b"{\n", b"[]\n"]
    segments.replace_compressed(segment.path, iter([header, lines[0], *bad, *lines[1:]]))
    assert len(ids(folder)) == 4


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08\x00torn"])
def test_a_foreign_or_torn_segment_stays_and_spoils_nothing(folder, content):
    write(folder, several())
    name = segments.stem(NOW, "ff", 1)
    (folder / "segments" / f"{name}-3.v1.jsonl.gz").write_bytes(content)
    assert len(ids(folder)) == 10
    assert compact(folder, *KEEP).unreadable == 1
    assert len(ids(folder)) == 10


def test_a_corrupted_manifest_is_reported(folder):
    write(folder, several())
    compact(folder, *KEEP)
    (folder / "parquet" / "manifest.json").write_text("{")
    with pytest.raises(Corrupt, match=r"manifest\.json"):
        ids(folder)


def test_only_one_compacts_at_a_time(folder):
    with segments.exclusive(folder), pytest.raises(TryAgain, match="another process"):
        compact(folder, *KEEP)


def test_the_oldest_files_go_first():
    now = datetime(2026, 11, 30, tzinfo=UTC)
    files = [File(folder, now - timedelta(days=days), 10) for days, folder in ((40, "a"), (3, "c"), (5, "b"), (1, "d"))]
    assert [each.path for each in to_remove(files, 30, 1000, now)] == ["a"]
    assert [each.path for each in to_remove(files, 30, 20, now)] == ["a", "b"]
    assert [each.path for each in to_remove(files, 30, 0, now)] == ["a", "b", "c", "d"]


def test_parquet_files_are_bounded_too(folder):
    write(folder, several())
    compact(folder, *KEEP)
    enforce(folder, 30, 1024, datetime.now(UTC) + timedelta(days=60))
    assert ids(folder) == []
    assert list((folder / "parquet").glob("day=*")) == []


@pytest.mark.parametrize("kind", ["request", "caller"])
def test_a_purge_removes_every_line_and_says_so_without_the_name(folder, kind):
    job = write(folder, several(caller="ada"))
    compact(folder, *KEEP)
    write(folder, [*several(3, 5, caller="ada"), *several(3, 10, caller="bo")])
    value = "ada" if kind == "caller" else "r-12"
    gone = 20 if kind == "caller" else 2
    key = read_key(segments.Path(job.key))
    assert purge(folder, Purge(kind, value, "eve"), key).lines == gone
    assert len(ids(folder)) == 30 - gone
    found = [json.loads(line) for line in (folder / "purges.jsonl").read_text().splitlines()]
    assert [each["state"] for each in found] == ["begun", "done"]
    assert found[1] | {"at": ""} == {
        "at": "", "by": "eve", "kind": kind, "criterion": criterion_hash(key, kind, value), "state": "done", "lines": gone,
    }  # fmt: skip
    assert value not in (folder / "purges.jsonl").read_text()
    assert purge(folder, Purge(kind, value, "eve"), key).lines == 0
    for path in folder.rglob("*"):
        if path.is_file() and path.name.endswith(".gz"):
            assert f'"{value}"'.encode() not in b"".join(segments.blocks(path))


def test_a_purge_takes_the_images_along(folder):
    model = image_model()
    job = write(folder, [image_answer(model, name, 2) for name in ("r-1", "r-2")], images="file")
    purge(folder, Purge("request", "r-1", "eve"), read_key(segments.Path(job.key)))
    (tar,) = (folder / "images").iterdir()
    assert [name for name, _ in stored_images(tar)] == ["r-2.0.png", "r-2.1.png"]


def test_a_purge_reaches_what_a_server_process_has_not_closed_yet(folder):
    job = log_job(folder)
    log = PredictionLog(job, lambda _: None)
    log.start()
    for each in several():
        log.offer(each)
    until = time.monotonic() + 5
    while not list(folder.glob("open/*")) and time.monotonic() < until:
        time.sleep(0.02)
    assert purge(folder, Purge("request", "r-3", "eve"), read_key(segments.Path(job.key))).lines == 2
    log.close()
    assert len(ids(folder)) == 8


def test_a_killed_purge_leaves_each_file_whole_and_can_be_repeated(folder, monkeypatch):
    job = write(folder, [*several(2), *several(3, 5)])
    key = read_key(segments.Path(job.key))
    done = []

    def die(path, parts):
        done.append(path)
        if len(done) == 2:
            raise KeyboardInterrupt
        segments.replace_compressed(path, parts)

    monkeypatch.setattr(purging, "replace_compressed", die)
    with pytest.raises(KeyboardInterrupt):
        purge(folder, Purge("caller", "ada", "eve"), key)
    monkeypatch.undo()
    monkeypatch.setattr(purging, "SETTLE_SECONDS", 0.0)
    assert len(ids(folder)) == 10
    assert purge(folder, Purge("caller", "ada", "eve"), key).lines == 10
    assert ids(folder) == []


def test_live_readers_see_what_is_being_written(folder):
    log = PredictionLog(log_job(folder), lambda _: None)
    log.start()
    for each in several():
        log.offer(each)
    until = time.monotonic() + 5
    while len(ids(folder, live=True)) < 10 and time.monotonic() < until:
        time.sleep(0.02)
    assert ids(folder) == []
    assert len(ids(folder, live=True)) == 10
    log.close()


LONG_AGO, SOON = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)


def with_bad_lines(folder, bad=(b"\0\0\n", b'{"id":7,"row":"x"}\n', b"{\n")):
    """A segment whose name says that it has two lines more than what can be read of it."""
    write(folder, several(count=2))
    (segment,) = segments.closed(folder)
    header, *lines = b"".join(segments.blocks(segment.path)).splitlines(keepends=True)
    name = segment.path.with_name(f"{segment.stem}-{len(lines) + len(bad)}{segments.SUFFIX}")
    segments.replace_compressed(name, iter([header, lines[0], *bad, *lines[1:]]))
    segment.path.unlink()
    return segments.closed(folder)[0]


def test_lines_that_are_left_out_are_counted_once_before_and_after_they_are_compacted(folder):
    segment = with_bad_lines(folder)
    closed_at = datetime.fromtimestamp(int(segments.closed_at(segment)), UTC)
    assert left_out(folder, LONG_AGO, SOON) == 3
    assert compact(folder, *KEEP).left_out == 3
    assert left_out(folder, LONG_AGO, SOON) == 3
    assert left_out(folder, LONG_AGO, closed_at) == 0
    assert left_out(folder, closed_at, closed_at + timedelta(seconds=1)) == 3
    assert left_out(folder, closed_at + timedelta(seconds=1), SOON) == 0
    assert compact(folder, *KEEP).left_out == 0
    assert left_out(folder, LONG_AGO, SOON) == 3


def test_what_was_left_out_is_remembered_as_long_as_lines_are_kept(folder, monkeypatch):
    with_bad_lines(folder)
    compact(folder, *KEEP)
    monkeypatch.setattr(compacting.time, "time", lambda: NOW + 31 * 86_400)
    write(folder, several(first=5))
    compact(folder, *KEEP)
    monkeypatch.undo()
    assert read_manifest(folder).left_out == {}


def test_the_lines_behind_a_torn_end_count_as_left_out_and_purged_ones_do_not(folder):
    job = write(folder, several(count=2000))
    (segment,) = segments.closed(folder)
    purge(folder, Purge("request", "r-3", "eve"), read_key(segments.Path(job.key)))
    assert left_out(folder, LONG_AGO, SOON) == 0
    content = segment.path.read_bytes()
    segment.path.write_bytes(content[: len(content) // 2])
    found = len(ids(folder))
    assert 0 < found < 3998
    assert left_out(folder, LONG_AGO, SOON) == 4000 - found


def test_a_line_is_read_once_while_its_segment_is_being_closed(folder, monkeypatch):
    log = PredictionLog(log_job(folder), lambda _: None)
    log.start()
    for each in several():
        log.offer(each)
    until = time.monotonic() + 5
    while len(ids(folder, live=True)) < 10 and time.monotonic() < until:
        time.sleep(0.02)

    def close_first(place):
        log.close()
        compact(folder, *KEEP)
        return read_manifest(place)

    monkeypatch.setattr("serving.prediction_log.tables.read_manifest", close_first)
    assert len(ids(folder, live=True)) == 10
    monkeypatch.undo()
    (segment,) = segments.closed(folder)
    (folder / "open" / f"{segment.stem}.jsonl").write_bytes(b"".join(segments.blocks(segment.path)))
    assert len(ids(folder, live=True)) == 10  # closed, and the name it had while open not yet gone


def test_row_groups_of_another_time_are_not_read(folder, monkeypatch):
    monkeypatch.setattr(compacting, "GROUP_ROWS", 4)
    model = table_model()
    day = datetime(2026, 11, 20, tzinfo=UTC)
    times = [day + timedelta(minutes=i) for i in range(20)]
    write(
        folder, [table_answer(model, f"r-{i}", at=each.timestamp()) for i, each in enumerate(times)], keep_days=36_500
    )
    compact(folder, 36_500, 1024)
    (name,) = read_manifest(folder).parts
    with pq.ParquetFile(folder / name) as file:
        assert _groups(file, Wanted(since=times[4], until=times[9])) == [1, 2]
        assert _groups(file, Wanted()) == [0, 1, 2, 3, 4]
    assert len(ids(folder, since=times[5], until=times[9])) == 4
    assert ids(folder, since=times[19] + timedelta(seconds=1)) == []
