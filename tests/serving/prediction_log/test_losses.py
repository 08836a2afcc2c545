"""What the log lacks is noted in the log."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from prediction_log_parts import log_job, table_answer, table_model

from serving.prediction_log import losses as noting
from serving.prediction_log.bounds import enforce
from serving.prediction_log.losses import Losses, dropped_lines
from serving.prediction_log.writer import PredictionLog

DAY = datetime(2026, 11, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self, at=DAY):
        self.at = at

    def __call__(self):
        return self.at.timestamp()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


def test_losses_are_counted_at_once_and_noted_with_their_time(folder):
    counted, clock = [], Clock()
    losses = Losses(folder, counted.append, clock)
    losses.add(3)
    losses.add(4)
    losses.note()
    assert counted == [3, 4]
    clock.at = DAY + HOUR
    losses.add(1)
    losses.note()  # too soon after the first
    assert dropped_lines(folder, DAY, DAY + 2 * HOUR) == 7
    losses.note(now=True)
    assert dropped_lines(folder, DAY, DAY + 2 * HOUR) == 8
    assert dropped_lines(folder, DAY, DAY + HOUR) == 7
    assert dropped_lines(folder, DAY + HOUR, DAY + 2 * HOUR) == 1
    assert dropped_lines(folder / "other", DAY, DAY + HOUR) == 0


def test_nothing_is_written_where_nothing_was_lost(folder):
    Losses(folder, lambda _: None, Clock()).note(now=True)
    assert not folder.exists()


def test_what_a_full_disk_refused_is_noted_later(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    losses = Losses(folder, lambda _: None, Clock())
    losses.add(5)
    monkeypatch.setattr(noting, "_append", full)
    losses.note(now=True)
    monkeypatch.undo()
    losses.add(2)
    losses.note(now=True)
    assert dropped_lines(folder, DAY, DAY + HOUR) == 7


def test_a_torn_line_harms_no_other(folder):
    losses = Losses(folder, lambda _: None, Clock())
    losses.add(5)
    losses.note(now=True)
    path = folder / "dropped" / "2026-11-30.jsonl"
    path.write_bytes(b'{"at": 17\n[]\n{"at": null, "lines": 3}\n' + path.read_bytes())
    assert dropped_lines(folder, DAY, DAY + HOUR) == 5


def test_many_threads_lose_no_loss(folder):
    losses = Losses(folder, lambda _: None, Clock())
    threads = [threading.Thread(target=lambda: [losses.add(1) for _ in range(500)]) for _ in range(8)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        losses.note(now=True)
    losses.note(now=True)
    assert dropped_lines(folder, DAY, DAY + HOUR) == 4000


def test_they_are_kept_as_long_as_lines(folder):
    losses = Losses(folder, lambda _: None, Clock())
    losses.add(1)
    losses.note(now=True)
    enforce(folder, 30, 1024, DAY + timedelta(days=20))
    assert dropped_lines(folder, DAY, DAY + HOUR) == 1
    enforce(folder, 30, 1024, DAY + timedelta(days=32))
    assert dropped_lines(folder, DAY, DAY + HOUR) == 0


def test_a_writer_whose_queue_is_full_notes_what_it_drops(folder, monkeypatch):
    monkeypatch.setattr("serving.prediction_log.writer.MOST_REQUESTS", 3)
    dropped, model = [], table_model()
    log = PredictionLog(log_job(folder), dropped.append, Clock())
    for i in range(5):
        log.offer(table_answer(model, f"r-{i}", 2))
    log.start()
    log.close()
    assert dropped == [2, 2]
    assert dropped_lines(folder, DAY, DAY + HOUR) == 4
