import errno
import gc
import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from prediction_log_parts import image_answer, image_model, log_job, refused, table_answer, table_model

from serving.prediction_log import segments, writer
from serving.prediction_log.images import stored_images
from serving.prediction_log.segments import closed, recover
from serving.prediction_log.writer import PredictionLog

ROOT = Path(__file__).resolve().parents[3]


def lines_of(folder):
    """Headers and lines of all closed segments."""
    headers, lines = [], []
    for each in closed(folder):
        first, *rest = gzip.decompress(each.path.read_bytes()).decode().splitlines()
        headers.append(json.loads(first))
        lines += [json.loads(line) for line in rest]
    return headers, lines


@pytest.fixture
def kept(tmp_path):
    """Gives all answers to a log, and what is in its segments afterwards, with how many lines were dropped."""

    def keep(answers, **settings):
        folder, dropped = tmp_path / "log", []
        log = PredictionLog(log_job(folder, **settings), dropped.append)
        log.start()
        for each in answers:
            log.offer(each)
        log.close()
        return *lines_of(folder), sum(dropped)

    return keep


def test_an_answer_becomes_a_line_for_each_of_its_rows(kept):
    headers, lines, dropped = kept([table_answer(table_model(), rows=2, at=1_790_000_000.25)])
    assert (len(headers), dropped) == (1, 0)
    assert headers[0]["model"] == "m"
    assert headers[0]["release"] == 2
    assert [each["row"] for each in lines] == [0, 1]
    assert lines[1] == {
        "model": "m", "version": 5, "release": 2, "id": "r-1", "row": 1, "time": "2026-09-21T14:13:20.250Z", "status": 200,
        "caller": "ada", "protocol": "instances", "ms": 4.0, "class": "yes", "confidence": 0.75,
        "outputs": {"out": [0.25, 0.75]}, "inputs": {"age": 41.5, "city": "Bern"},
    }  # fmt: skip


def test_a_refused_request_is_kept_without_anything_that_it_held(kept):
    _, lines, _ = kept([table_answer(table_model()), refused(status=413)])
    assert lines[1]["status"] == 413
    assert lines[1]["row"] is None
    assert "inputs" not in lines[1]


def test_refused_requests_do_not_push_out_the_others(kept):
    _, lines, _ = kept([refused() for _ in range(500)])
    assert 1 <= len(lines) <= 2 * writer.REFUSED_PER_SECOND


def test_a_share_of_requests_is_chosen_by_their_ids(kept):
    answers = [table_answer(table_model(), f"r-{i}") for i in range(400)]
    _, lines, dropped = kept(answers, fraction=0.25)
    assert 50 < len(lines) < 150
    assert dropped == 0


def test_a_segment_is_about_one_release(kept):
    headers, lines, _ = kept([table_answer(table_model(release=number), f"r-{number}") for number in (2, 3)])
    assert [each["release"] for each in headers] == [2, 3]
    assert [each["release"] for each in lines] == [2, 3]


def test_releases_that_answer_in_turns_have_one_segment_each(tmp_path):
    dropped, models = [], [table_model(release=number) for number in (2, 3)]
    log = PredictionLog(log_job(tmp_path / "log"), dropped.append)
    log.start()
    for i in range(10):
        log.offer(table_answer(models[i % 2], f"r-{i}"))
        time.sleep(0.05)
    log.close()
    headers, lines = lines_of(tmp_path / "log")
    assert [each["release"] for each in headers] == [2, 3]
    assert len(lines) == 10


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_REQUESTS", 10)
    dropped = []
    log = PredictionLog(log_job(tmp_path / "log"), dropped.append)  # nothing takes from its queue
    for i in range(25):
        log.offer(table_answer(table_model(), f"r-{i}", rows=2))
    assert sum(dropped) == 30


def test_large_answers_are_bounded_by_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_BYTES", 100_000)
    dropped = []
    log, model = PredictionLog(log_job(tmp_path / "log"), dropped.append), image_model(side=64)
    for i in range(100):
        log.offer(image_answer(model, f"r-{i}", rows=2))
    assert 200 - sum(dropped) == 2 * (100_000 // (2 * 64 * 64 + 100))


@pytest.mark.parametrize(("most", "size", "taken"), [(2, 1 << 30, [2, 2, 1]), (200, 1, [1] * 5), (200, 1 << 30, [5])])
def test_those_that_wait_are_formatted_a_few_at_a_time_by_their_number_and_bytes(
    tmp_path, monkeypatch, most, size, taken
):
    monkeypatch.setattr(writer, "MOST_AT_ONCE", most)
    monkeypatch.setattr(writer, "BYTES_AT_ONCE", size)
    log = PredictionLog(log_job(tmp_path / "log"), [].append)  # not started
    for number in range(5):
        log.offer(table_answer(table_model(), f"r-{number}"))
    found = [log._take() for _ in taken]
    assert [len(each) for each in found] == taken
    assert [one.request_id for each in found for one in each] == [f"r-{number}" for number in range(5)]
    assert (log._take(), log._bytes) == ([], 0)


def test_an_offer_waits_for_no_disk(tmp_path, monkeypatch):
    """The writer hangs in a write; offers take no time."""
    hangs, freed = threading.Event(), threading.Event()

    def write(*_):
        hangs.set()
        freed.wait(10)
        return 0

    monkeypatch.setattr(segments.OpenSegment, "append", write)
    log = PredictionLog(log_job(tmp_path / "log"), lambda _: None)
    log.start()
    log.offer(table_answer(table_model()))
    assert hangs.wait(5)
    began = time.perf_counter()
    for i in range(1000):
        log.offer(table_answer(table_model(), f"r-{i}"))
    assert time.perf_counter() - began < 2
    freed.set()
    log.close()


def test_images_themselves_are_kept_only_where_the_settings_say_so(kept, tmp_path):
    model = image_model()
    _, lines, _ = kept([image_answer(model, rows=2)])
    assert set(lines[0]["inputs"]["image"]) >= {"brightness", "contrast", "sharpness", "hash"}
    assert not (tmp_path / "log" / "images").exists()
    kept([image_answer(model, "r/2", rows=2)], images="file")
    (tar,) = (tmp_path / "log" / "images").iterdir()
    assert [name for name, _ in stored_images(tar)] == ["r_2.0.png", "r_2.1.png"]


def test_a_clock_that_is_set_back_neither_stops_the_log_nor_mixes_segments(tmp_path):
    now = time.time()
    times = iter([now + 1e8, now, now - 86_400])
    log = PredictionLog(log_job(tmp_path / "log"), lambda _: None, clock=lambda: next(times))
    log.start()
    for number in (1, 2, 3):
        log.offer(table_answer(table_model(release=number), f"r-{number}", at=now))
    log.close()
    assert sorted(each["id"] for each in lines_of(tmp_path / "log")[1]) == ["r-1", "r-2", "r-3"]


def test_a_missing_key_costs_the_lines_and_nothing_else(tmp_path):
    dropped = []
    job = log_job(tmp_path / "log")
    Path(job.key).unlink()
    log = PredictionLog(job, dropped.append)
    log.start()
    log.offer(table_answer(table_model(), rows=3))
    log.close()
    assert sum(dropped) == 3


WRITER = """
import sys, time
sys.path[:0] = [{root!r}, {helpers!r}]
from pathlib import Path
from prediction_log_parts import log_job, table_answer, table_model
from serving.prediction_log.writer import PredictionLog
dropped = []
log, model, number = PredictionLog(log_job(Path({folder!r})), dropped.append), table_model(), 0
log.start()
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    log.offer(table_answer(model, f"r-{{number}}"))
    print(number, time.time(), flush=True)
    number += 1
    time.sleep(0.002)
log.close()
print("dropped", sum(dropped))
"""


def writing(folder, seconds=60.0, **more):
    """A process that writes a log, and says what it offers and when."""
    code = WRITER.format(root=str(ROOT), helpers=str(ROOT / "tests" / "helpers"), folder=str(folder), seconds=seconds)
    command = [sys.executable, "-P", "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **more)


def test_a_killed_writer_loses_at_most_the_last_second_and_leaves_no_torn_segment(tmp_path):
    folder = tmp_path / "log"
    process = writing(folder)
    offered = [process.stdout.readline().split() for _ in range(700)]
    process.send_signal(signal.SIGKILL)
    offered += [each.split() for each in process.communicate()[0].splitlines()]
    assert closed(folder) == []  # readers see a whole segment, or none
    assert recover(folder) > 0
    _, lines = lines_of(folder)
    last = int(lines[-1]["id"].removeprefix("r-"))
    assert [each["id"] for each in lines] == [f"r-{i}" for i in range(last + 1)]
    assert float(offered[-1][1]) - float(offered[last][1]) <= 1.0
    assert list((folder / "open").iterdir()) == []


def test_a_segment_that_somebody_still_writes_is_left_alone(tmp_path):
    process = writing(tmp_path / "log")
    try:
        for _ in range(300):
            process.stdout.readline()
        assert recover(tmp_path / "log") == 0
        assert len(list((tmp_path / "log" / "open").iterdir())) == 1
    finally:
        process.kill()
        process.communicate()


def test_a_torn_line_is_cut_off(tmp_path):
    (tmp_path / "open").mkdir()
    name = segments.stem(1_790_000_000.0, "a1", 1)
    (tmp_path / "open" / f"{name}.jsonl").write_bytes(b'{"prediction_log":1}\n{"id":"r-1"}\n{"id":"r-')
    assert recover(tmp_path) == 1
    assert lines_of(tmp_path)[1] == [{"id": "r-1"}]


def test_a_segment_that_was_closed_when_its_writer_died_is_not_closed_twice(tmp_path):
    (tmp_path / "open").mkdir()
    name = segments.stem(1_790_000_000.0, "a1", 1)
    left = tmp_path / "open" / f"{name}.jsonl"
    left.write_bytes(b'{"prediction_log":1}\n{"id":"r-1"}\n')
    segments.publish(tmp_path, left, 1)
    left.write_bytes(b'{"prediction_log":1}\n{"id":"r-1"}\n')
    assert recover(tmp_path) == 0
    assert len(lines_of(tmp_path)[1]) == 1


def test_a_full_disk_drops_counts_and_tears_nothing(tmp_path):
    """RLIMIT_FSIZE ends each file as a full disk does: with a short write, then an error."""
    process = writing(
        tmp_path / "log",
        seconds=1.5,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        ),
    )
    out = process.communicate()[0].splitlines()
    dropped, offered = int(out[-1].split()[1]), len(out) - 1
    _, lines = lines_of(tmp_path / "log")
    assert process.returncode == 0
    assert dropped > 0
    assert len(lines) + dropped == offered


def test_others_can_ask_a_writer_to_close_its_segment(tmp_path):
    log = PredictionLog(log_job(tmp_path / "log"), lambda _: None)
    log.start()
    log.offer(table_answer(table_model()))
    until = time.monotonic() + 5
    while not list((tmp_path / "log").glob("open/*")) and time.monotonic() < until:
        time.sleep(0.02)
    segments.ask_to_close(tmp_path / "log")
    assert len(closed(tmp_path / "log")) == 1
    log.close()


def test_the_log_is_bounded_by_whoever_closes_a_segment(tmp_path):
    old = tmp_path / "log" / "segments" / f"{segments.stem(time.time() - 3 * 86_400, 'a1', 1)}-7.v1.jsonl.gz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")
    dropped = []
    log = PredictionLog(log_job(tmp_path / "log", keep_days=2, sent=True), dropped.append)
    log.start()
    log.offer(table_answer(table_model()))
    log.close()
    assert not old.exists()
    assert sum(dropped) == 7  # they should have been sent elsewhere


def test_what_the_log_makes_is_not_for_everybody(tmp_path):
    job = log_job(tmp_path / "log")
    log = PredictionLog(job, lambda _: None)
    log.start()
    log.offer(table_answer(table_model()))
    log.close()
    assert os.stat(job.key).st_mode & 0o777 == 0o600
    assert closed(tmp_path / "log")[0].path.stat().st_mode & 0o007 == 0


def test_a_log_that_is_replaced_goes_on_in_the_new_folder_at_once_and_no_line_is_lost(tmp_path, until):
    dropped, folder, model = [], tmp_path / "log", table_model()
    log = PredictionLog(log_job(folder), dropped.append)
    log.start()
    log.offer(table_answer(model, "r-1", rows=2))
    until(lambda: any((folder / "open").glob("*.jsonl")) if (folder / "open").is_dir() else False)
    until(lambda: b"r-1" in next((folder / "open").glob("*.jsonl")).read_bytes())
    old = folder.rename(tmp_path / "old")
    log.offer(table_answer(model, "r-2"))
    until(lambda: b"r-2" in next((old / "open").glob("*.jsonl")).read_bytes())
    assert not folder.exists(), "who moves one there must not find another"
    folder.mkdir()
    log.offer(table_answer(model, "r-3"))
    log.close()
    assert recover(old) == 3
    assert [each["id"] for each in lines_of(old)[1]] == ["r-1", "r-1", "r-2"]
    assert [each["id"] for each in lines_of(folder)[1]] == ["r-3"]
    assert dropped == []


def test_lines_that_are_removed_with_their_folder_are_counted(tmp_path, until):
    dropped, folder, model = [], tmp_path / "log", table_model()
    log = PredictionLog(log_job(folder), dropped.append)
    log.start()
    log.offer(table_answer(model, "r-1", rows=2))
    until(lambda: b"r-1" in b"".join(each.read_bytes() for each in folder.glob("open/*.jsonl")))
    shutil.rmtree(folder)
    log.offer(table_answer(model, "r-2"))
    log.close()
    assert [each["id"] for each in lines_of(folder)[1]] == ["r-2"]
    assert sum(dropped) == 2


def test_a_segment_whose_header_is_not_one_is_closed_and_keeps_nobody_from_writing(tmp_path):
    """As a machine leaves a file that has lost its power: its blocks were given to it, and not yet written."""
    torn = tmp_path / "log" / "open" / f"{segments.stem(time.time(), 'a1', 1)}.jsonl"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(bytes(16) + b'\n{"model":"m","version":5,"release":2,"id":"r-0","row":0}\n')
    log = PredictionLog(log_job(tmp_path / "log"), lambda _: None)
    log.start()
    log.offer(table_answer(table_model()))
    log.close()
    assert not torn.exists()
    assert [each.lines for each in closed(tmp_path / "log")] == [1, 1]


def test_what_is_too_old_is_removed_also_when_the_disk_is_too_full_to_close_what_others_left(tmp_path, monkeypatch):
    old = tmp_path / "log" / "segments" / f"{segments.stem(time.time() - 3 * 86_400, 'a1', 1)}-7.v1.jsonl.gz"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "recover", full)
    log = PredictionLog(log_job(tmp_path / "log", keep_days=2), lambda _: None)
    log.start()
    log.close()
    assert not old.exists()


def test_a_release_that_answers_for_the_first_time_while_the_log_tidies_up_does_not_end_it(
    tmp_path, monkeypatch, until
):
    log, models = PredictionLog(log_job(tmp_path / "log"), lambda _: None), [table_model(release=n) for n in range(3)]
    knows = writer._Segments.knows

    def meanwhile(kept, model):
        log.offer(table_answer(models[-1], "r-new"))
        return knows(kept, model)

    monkeypatch.setattr(writer._Segments, "knows", meanwhile)
    log.start()
    for each in models[:2]:
        log.offer(table_answer(each, "r-old"))
    until(lambda: len(log._sizes) > 2)
    log.close()
    assert not log._thread.is_alive()
    assert {each["id"] for each in lines_of(tmp_path / "log")[1]} == {"r-old", "r-new"}


class Weights:
    """Of a model; SimpleNamespace knows no weak references."""


def test_the_model_of_a_release_that_answers_no_longer_is_not_held_for_longer_than_its_segment(tmp_path, until):
    log, folder = PredictionLog(log_job(tmp_path / "log"), lambda _: None), tmp_path / "log"
    old, new = table_model(release=2), table_model(release=3)
    old.weights = Weights()
    held = weakref.ref(old.weights)
    log.start()
    log.offer(table_answer(old, "r-1"))
    log.offer(table_answer(new, "r-2"))
    del old
    until(lambda: len(list(folder.glob("open/*.jsonl"))) == 2)
    assert held() is not None
    segments.ask_to_close(folder)
    until(lambda: gc.collect() >= 0 and held() is None)
    log.offer(table_answer(new, "r-3"))
    log.close()
    assert [each["release"] for each in lines_of(folder)[1]] == [2, 3, 3]
