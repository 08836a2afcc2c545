"""Requests are found by their ids, in every kind of file of the prediction log, also when their data are gone."""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from prediction_log_parts import log_job, refused, table_answer, table_model

from registry.errors import Corrupt
from registry.label_store import LabelStore
from registry.records.labels import Label
from serving.prediction_log import bounds, ids, segments
from serving.prediction_log import purge as purging
from serving.prediction_log.compact import compact
from serving.prediction_log.find import MOST_HELD, Finder
from serving.prediction_log.key import read_key
from serving.prediction_log.purge import Purge, purge
from serving.prediction_log.writer import PredictionLog

KEEP = (30, 1024)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(purging, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


def write(folder, answers, **settings):
    job = log_job(folder, **settings)
    log = PredictionLog(job, lambda _: None)
    log.start()
    for each in answers:
        log.offer(each)
    log.close()
    return job


def states(finder, *requests, **choice):
    return [each.state for each in finder.find(requests, **choice).values()]


def answers(*names, rows=2):
    model = table_model()
    return [table_answer(model, each, rows) for each in names]


def test_closed_segments_say_how_many_instances_a_request_had_and_of_which_version(folder):
    job = write(folder, [*answers("r-1"), *answers("r-2", rows=5), refused("bad")])
    found = Finder(job).find(["r-1", "r-2", "bad", "never"])
    assert {name: (each.state, each.rows) for name, each in found.items()} == {
        "r-1": ("answered", 2), "r-2": ("answered", 5), "bad": ("refused", 0), "never": ("unknown", 0),
    }  # fmt: skip
    about = found["r-1"].about
    assert (about["version"], about["release"], about["classes"]) == (5, 2, ["no", "yes"])


def test_what_is_being_written_is_found_a_moment_later(folder, until):
    job = log_job(folder)
    log, finder = PredictionLog(job, lambda _: None), Finder(job)
    log.start()
    log.offer(answers("r-1")[0])
    until(lambda: states(finder, "r-1") == ["answered"])
    log.offer(answers("r-2")[0])
    until(lambda: states(finder, "r-2") == ["answered"])
    assert states(finder, "r-1") == ["answered"]
    log.close()
    assert states(finder, "r-1", "r-2") == ["answered"] * 2
    assert not finder._open


def test_a_torn_line_is_not_there_yet(folder, until):
    job = log_job(folder)
    log, finder = PredictionLog(job, lambda _: None), Finder(job)
    log.start()
    log.offer(answers("r-1", rows=1)[0])
    until(lambda: states(finder, "r-1") == ["answered"])
    (path,) = (folder / "open").iterdir()
    line = path.read_bytes().splitlines(keepends=True)[1].replace(b'"r-1"', b'"r-9"')
    with path.open("ab") as file:
        file.write(line[:-9])
        file.flush()
        assert states(finder, "r-9") == ["unknown"]
        file.write(line[-9:])
    assert states(finder, "r-9") == ["answered"]
    log.close()


def test_compaction_keeps_every_request_findable(folder):
    job = write(folder, [*answers("r-1", rows=3), refused("bad")])
    finder = Finder(job)
    assert states(finder, "r-1") == ["answered"]
    compact(folder, *KEEP)
    write(folder, answers("r-2"))
    found = finder.find(["r-1", "r-2", "bad", "never"])
    assert [(each.state, each.rows) for each in found.values()] == [
        ("answered", 3), ("answered", 2), ("refused", 0), ("unknown", 0),
    ]  # fmt: skip
    for each in segments.closed(folder)[:1]:  # as when its grace is over
        each.path.unlink()
    assert states(finder, "r-1", "bad") == ["answered", "refused"]


def test_instances_are_counted_once_also_while_a_compacted_segment_is_still_there(folder):
    job = write(folder, answers("r-1", "r-2"))
    assert Finder(job).instances() == 4
    compact(folder, *KEEP)
    assert len(segments.closed(folder)) == 1
    assert Finder(job).instances() == 4


def test_compaction_makes_the_ids_of_a_log_that_has_none(folder):
    job = write(folder, answers("r-1"))
    compact(folder, *KEEP)
    for path in (folder / "ids").iterdir():
        path.unlink()
    assert states(Finder(job), "r-1") == ["unknown"]
    compact(folder, *KEEP)
    assert states(Finder(job), "r-1") == ["answered"]


def test_what_the_bounds_have_removed_is_gone_and_later_unknown(folder):
    job = write(folder, answers("r-1"), keep_days=2)
    finder = Finder(job)
    soon, later = (datetime.now(UTC) + timedelta(days=each) for each in (3, 5))
    assert states(finder, "r-1", now=soon) == ["gone"]  # it is old, though nobody has removed it yet
    assert bounds.enforce(folder, 2, 1024, now=soon)
    assert states(finder, "r-1", now=soon) == ["gone"]
    bounds.enforce(folder, 2, 1024, now=later)
    assert states(finder, "r-1", now=later) == ["unknown"]
    assert not list((folder / "ids").iterdir())


def test_what_was_too_much_is_gone(folder):
    job = write(folder, answers("r-1"))
    assert bounds.enforce(folder, 30, 0.000001)
    assert states(Finder(job), "r-1") == ["unknown"]  # a tenth of that is less than an ids file
    write(folder, answers("r-2"))
    for each in segments.closed(folder):
        each.path.unlink()
    assert states(Finder(job), "r-2") == ["gone"]


def test_what_was_sent_elsewhere_is_known_for_as_long_as_it_would_have_been_kept(folder):
    job = write(folder, answers("r-1"), sent=True, keep_days=2)
    for each in segments.closed(folder):
        each.path.unlink()
    assert states(Finder(job), "r-1") == ["answered"]
    assert states(Finder(job), "r-1", now=datetime.now(UTC) + timedelta(days=3)) == ["gone"]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize(("kind", "value"), [("request", "r-1"), ("caller", "ada")])
def test_a_purged_request_is_gone_its_labels_too_and_no_file_names_it(folder, tmp_path, kind, value, compacted):
    model = table_model()
    job = write(folder, [table_answer(model, "r-1", 2, caller="ada"), table_answer(model, "r-2", 2, caller="bo")])
    finder = Finder(job)
    assert states(finder, "r-1") == ["answered"]
    if compacted:
        compact(folder, *KEEP)
    with LabelStore(tmp_path / "labels" / "labels.sqlite") as labels:
        said = [Label(each, 0, "yes", None, "ann", "2026-11-30T00:00:00Z", "feedback") for each in ("r-1", "r-2")]
        labels.add(said)
        done = purge(folder, Purge(kind, value, "eve"), read_key(segments.Path(job.key)), labels)
        assert (done.lines, done.labels) == (2, 1)
        assert list(labels.all()) == said[1:]
    assert states(finder, "r-1", "r-2") == ["gone", "answered"]
    assert states(Finder(job), "r-1", "r-2") == ["gone", "answered"]
    hashes = ids.digest("r-1").to_bytes(8, "little"), b"r-1"
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        assert not any(each in path.read_bytes() for each in hashes), path


def test_a_purge_that_was_killed_before_a_file_lost_its_lines_finds_them_again(folder, monkeypatch):
    job = write(folder, answers("r-1", "r-2"))
    key = read_key(segments.Path(job.key))
    with monkeypatch.context() as patched:

        def die(*_):
            raise KeyboardInterrupt

        patched.setattr(purging, "replace_compressed", die)
        with pytest.raises(KeyboardInterrupt):
            purge(folder, Purge("caller", "ada", "eve"), key)
    assert states(Finder(job), "r-1") == ["gone"]
    assert purge(folder, Purge("caller", "ada", "eve"), key).lines == 4


def test_a_damaged_ids_file_is_reported_and_the_others_are_read(folder, caplog):
    job = write(folder, answers("r-1"))
    write(folder, answers("r-2"))
    path = next(each for each in (folder / "ids").iterdir() if ids.IdFile(each).rows(ids.digest("r-1")))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="checksum mismatch"):
        ids.IdFile(path)
    assert states(Finder(job), "r-1", "r-2") == ["unknown", "answered"]
    assert "trainyard log compact" in caplog.text


@given(
    rows=some.dictionaries(some.integers(0, 2**64 - 1), some.integers(0, 2**32 - 1), max_size=40),
    other=some.integers(0, 2**64 - 1),
)
def test_an_ids_file_gives_back_what_was_written(tmp_path_factory, rows, other):
    path = tmp_path_factory.mktemp("ids") / "x.ids"
    ids.write(path, b'{"version":3}', rows)
    found = ids.IdFile(path)
    assert dict(found.items()) == rows
    assert all(found.rows(key) == count for key, count in rows.items())
    assert found.rows(other) == rows.get(other)
    assert (found.about, found.instances) == ({"version": 3}, sum(rows.values()))


def test_inputs_that_look_like_an_id_are_not_taken_for_one(folder):
    model = table_model(names=("row", "id", "note"))
    job = write(folder, [table_answer(model, "r-1", 1, city="r-7")], columns={"id": "value"})
    assert states(Finder(job), "r-1", "r-7") == ["answered", "unknown"]


def test_many_files_with_many_requests_are_searched_quickly(folder):
    """A month of five-minute segments that nobody has compacted, 1,000 requests each: some 8.6 million."""
    job = log_job(folder)
    rows = {ids.digest(f"r-{i}"): 1 for i in range(1000)}
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S000Z}-a-{{:06d}}-1000.v1.jsonl.gz"
    ids.write(ids.path_of(folder, f"segments/{name.format(0)}"), b"{}", rows)
    first = ids.path_of(folder, f"segments/{name.format(0)}")
    for i in range(1, 1500):
        ids.path_of(folder, f"segments/{name.format(i)}").hardlink_to(first)
    finder = Finder(job)
    finder.find(["warm"])
    began = time.process_time()
    finder.find([f"never-{i}" for i in range(100)])
    assert time.process_time() - began < 2.0


def test_a_segment_that_its_writer_closes_and_one_that_is_recovered_have_the_same_ids(folder):
    model = table_model()
    several = [table_answer(model, name, rows) for name, rows in (("r-1", 3), ("r-2", 3), ("r-1", 2))]
    write(folder, [*several, refused("bad"), refused("r-2")])
    (path,) = (folder / "ids").iterdir()
    by_writer = path.read_bytes()
    (segment,) = segments.closed(folder)
    (folder / "open" / f"{segment.stem}.jsonl").write_bytes(b"".join(segments.blocks(segment.path)))
    segment.path.unlink()
    path.unlink()
    assert segments.recover(folder) == 10
    assert path.read_bytes() == by_writer


def test_many_requests_are_found_by_one_pass_and_few_by_a_search_each(folder):
    path = folder / "x.ids"
    rows = {ids.digest(f"r-{i}"): i for i in range(1000)}
    ids.write(path, b"{}", rows)
    file = ids.IdFile(path)
    for count in (1, 10, 39, 40, 41, 900):
        wanted = {ids.digest(f"r-{i}") for i in range(count)} | {ids.digest("never")}
        assert dict(file.among(wanted)) == {key: rows[key] for key in wanted if key in rows}


def test_a_log_that_nobody_compacts_does_not_take_all_files_that_a_process_may_open(folder):
    job, began = log_job(folder), datetime.now(UTC) - timedelta(hours=1)
    for i in range(MOST_HELD + 40):
        name = f"{began + timedelta(seconds=i):%Y%m%dT%H%M%S000Z}-a-{i:06d}-1.v1.jsonl.gz"
        (folder / "segments").mkdir(parents=True, exist_ok=True)
        (folder / "segments" / name).touch()
        ids.write(ids.path_of(folder, f"segments/{name}"), b"{}", {ids.digest(f"r-{i}"): 1})
    finder, before = Finder(job), len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        asked = [f"r-{i}" for i in range(MOST_HELD + 40)]
        assert set(states(finder, *asked, "never")) == {"answered", "unknown"}
        assert len(os.listdir("/proc/self/fd")) <= before + MOST_HELD
    assert finder.instances() == MOST_HELD + 40
