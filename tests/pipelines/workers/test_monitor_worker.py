"""The worker of the monitor, over logs that a real writer has written."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from watched_parts import (
    HOURS_AGO,
    MINUTE,
    Pets,
    answered,
    job,
    monitored,
    pet_model,
    refused,
    traffic,
    write_log,
)

from pipelines.workers import monitor, monitored_log
from pipelines.workers.jobs import MonitorRules
from registry import codec
from registry.errors import Corrupt
from registry.records.monitoring import Looked
from retraining.monitoring.names import CONFIDENCE
from retraining.monitoring.sketches import categories
from serving.prediction_log import segments
from serving.prediction_log.losses import Losses
from serving.prediction_log.manifest import read_manifest

GOOD = Pets(4000, 99)


@pytest.fixture
def release(tmp_path):
    return monitored(tmp_path, reference=GOOD.reference())


def failed(health):
    return [(each.kind, each.column or each.what) for each in health.failed]


def check(health, cause):
    return next(each for each in health.checks if each.cause == cause)


def span(health):
    since, until = (datetime.fromisoformat(each).timestamp() for each in (health.window.since, health.window.until))
    return (since - HOURS_AGO) / MINUTE, (until - HOURS_AGO) / MINUTE


def test_a_log_like_the_holdout_passes_every_check(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 60))
    found = monitor.look(job(tmp_path, [release]))
    assert [span(each) for each in found.health] == [(0, 15), (15, 30), (30, 45), (45, 60)]
    for each in found.health:
        assert each.window.rows == 300
        assert failed(each) == []
        causes = {check.cause for check in each.checks if check.outcome == "passed"}
        assert {"drift inputs.age", "drift inputs.city.bin", "drift class", "drift confidence"} <= causes
        assert {"drift outputs.out", "decay estimated accuracy", "service error share"} <= causes
        assert not any("inputs" in note for note in each.notes)
    assert {each.column for each in found.histograms} >= {"inputs.age", "class"}
    assert found.health[0].window.model == "m"
    assert (found.health[0].window.version, found.health[0].window.release) == (5, 2)


def test_what_has_changed_is_found_and_said_in_numbers_that_people_know(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15, shift=1.0, bern=0.9))
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    assert {("drift", "inputs.age"), ("drift", "inputs.city.bin")} <= set(failed(health))
    age = check(health, "drift inputs.age")
    assert age.then == pytest.approx(40, abs=1)
    assert age.now == pytest.approx(50, abs=2)
    assert "on the holdout the median was" in age.reason
    assert (
        "'Thun' was 5" in check(health, "drift inputs.city.bin").reason
        or "'Bern' was" in check(health, "drift inputs.city.bin").reason
    )
    assert check(health, "drift inputs.mass").outcome == "passed"


def test_confidence_that_falls_lowers_the_estimated_accuracy(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15, sure=0.7))
    good = Pets(4000, 5, sure=0.8)
    good.confidence = np.random.default_rng(1).uniform(0.5, 0.99, 4000)
    good.right = np.random.default_rng(2).random(4000) < good.confidence
    known = monitored(tmp_path, reference=good.reference())
    (health,) = monitor.look(job(tmp_path, [known], until=HOURS_AGO + 15 * MINUTE)).health
    estimate = check(health, "decay estimated accuracy")
    assert estimate.outcome == "failed"
    assert estimate.now == pytest.approx(0.7, abs=0.04)
    assert "does not see that" in estimate.reason


def test_a_window_with_few_rows_says_so_and_grows(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 60, rows=5))
    assert [span(each) for each in monitor.look(job(tmp_path, [release])).health] == [(0, 45)]
    rules = MonitorRules(longest_hours=0.25)
    health = monitor.look(job(tmp_path, [release], rules=rules)).health[0]
    assert health.window.rows == 75
    assert health.notes[0] == "75 rows: drift and confidence are checked from 200 on"
    assert {each.kind for each in health.checks} == {"service"}


@pytest.mark.parametrize("there", [True, False])
def test_without_a_line_there_is_a_record_all_the_same(tmp_path, release, there):
    if there:
        write_log(tmp_path / "log", [])
    rules = MonitorRules(longest_hours=1, no_traffic_hours=0.5)
    (health,) = monitor.look(job(tmp_path, [release], rules=rules)).health
    assert health.window.rows == 0
    assert [(each.cause, each.outcome) for each in health.checks] == [("service traffic", "unknown")]


def test_when_requests_stop_the_window_does_not_grow(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 20))
    rules = MonitorRules(no_traffic_hours=0.5)
    found = monitor.look(job(tmp_path, [release], rules=rules)).health
    assert [span(each) for each in found] == [(0, 15), (15, 60)]
    assert failed(found[1]) == [("service", "traffic")]
    again = monitor.look(
        job(tmp_path, [release], since=HOURS_AGO + 3600, until=HOURS_AGO + 3600 + 15 * MINUTE, rules=rules)
    )
    assert [failed(each) for each in again.health] == [[("service", "traffic")]]
    assert check(again.health[0], "service traffic").now == pytest.approx(56 / 60, abs=0.01)


def test_a_column_of_nothing_but_nan_is_missing(tmp_path, release):
    pets = Pets(300)
    pets.age[:] = np.nan
    write_log(tmp_path / "log", [answered(pet_model(), pets, HOURS_AGO, "r-1")])
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    age = check(health, "drift inputs.age")
    assert (age.what, age.outcome, age.now) == ("missing", "failed", 1.0)
    assert age.reason.startswith("inputs.age: in 100 % of the rows it is missing; on the holdout in 0 %")


def test_columns_that_are_gone_new_or_of_another_type_are_notes(tmp_path, release):
    model = pet_model(names=("age", "mass", "town"), text=True)
    write_log(tmp_path / "log", [answered(model, Pets(300), HOURS_AGO, "r-1")])
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    notes = " | ".join(health.notes)
    assert "inputs.city.bin: the reference has it, and the log does not" in notes
    assert "inputs.mass.bin, inputs.town.bin: the log has it, and the reference does not" in notes
    assert failed(health) == []
    value = monitored(tmp_path, reference=replace(GOOD.reference(), columns={"inputs.age": categories(["1"] * 500)}))
    (health,) = monitor.look(job(tmp_path, [value], until=HOURS_AGO + 15 * MINUTE)).health
    assert any("inputs.age: numbers in one, and other values in the other" in each for each in health.notes)


def test_what_is_kept_as_a_hash_is_not_compared(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15), columns={"age": "hash", "mass": "no"})
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    assert "inputs.age: the log keeps a hash only, which cannot be compared" in health.notes
    assert any(each.startswith("inputs.mass: the reference has it, and the log does not") for each in health.notes)


def test_ignored_columns_are_not_looked_at(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15, shift=2.0))
    rules = MonitorRules(ignore=("age", "out"))
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE, rules=rules)).health
    assert {each.column for each in health.checks} == {"inputs.mass", "inputs.city.bin", "class", "confidence", ""}
    assert not any("age" in each for each in health.notes)


def test_a_class_that_the_holdout_never_had_is_found(tmp_path, release):
    columns = dict(GOOD.reference().columns) | {"class": categories(["cat"] * 1000 + ["dog"] * 1000)}
    known = monitored(tmp_path, reference=replace(GOOD.reference(), columns=columns))
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    (health,) = monitor.look(job(tmp_path, [known], until=HOURS_AGO + 15 * MINUTE)).health
    (new,) = [each for each in health.failed if each.what == "new values"]
    assert "('owl')" in new.reason


def test_torn_and_foreign_segments_are_counted_and_harm_nothing(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    (segment,) = segments.closed(tmp_path / "log")
    content = b"".join(segments.blocks(segment.path)).splitlines(keepends=True)
    segments.replace_compressed(segment.path, iter([*content[:-2], b'{"id": 7}}\n', b"\0\n"]))
    (segment.path.parent / f"{segments.stem(HOURS_AGO, 'ff', 1)}-7{segments.SUFFIX}").write_bytes(b"not gzip")
    now = segment.path.stat().st_mtime + 60
    found = monitor.look(job(tmp_path, [release], until=now, rules=MonitorRules(longest_hours=20, window_minutes=600)))
    assert found.health == ()  # ten hours are not over
    rules = MonitorRules(window_minutes=(now - HOURS_AGO) / MINUTE)
    (health,) = monitor.look(job(tmp_path, [release], until=now + 1, rules=rules)).health
    assert (health.window.rows, health.window.left_out) == (298, 9)
    assert "9 lines of the prediction log cannot be read, and are left out" in health.notes
    assert failed(health) == []


def test_a_version_without_a_reference_says_why(tmp_path):
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    bare = monitored(tmp_path, note="version 5 has no reference: it was made before versions had one")
    (health,) = monitor.look(job(tmp_path, [bare], until=HOURS_AGO + 15 * MINUTE)).health
    assert "version 5 has no reference: it was made before versions had one" in health.notes
    assert {each.kind for each in health.checks} == {"service"}


@pytest.mark.parametrize("data", [b"", b"no reference", None])
def test_a_damaged_or_vanished_reference_is_a_note(tmp_path, release, data):
    path = tmp_path / "reference-2.npz"
    path.write_bytes(data) if data is not None else path.unlink()
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    assert any(each.startswith("the reference of version 5 cannot be used: ") for each in health.notes)


def test_a_release_change_ends_a_window_and_others_are_counted(tmp_path, release):
    later = monitored(tmp_path, 3, at=HOURS_AGO + 20 * MINUTE, reference=GOOD.reference())
    write_log(tmp_path / "log", traffic(pet_model(2), 22, every=0.5))
    write_log(tmp_path / "log", traffic(pet_model(3), 30, seed=2, start=HOURS_AGO + 20.5 * MINUTE))
    found = monitor.look(job(tmp_path, [release, later], until=HOURS_AGO + 40 * MINUTE)).health
    assert [span(each) for each in found] == [(0, 15), (15, 20.5), (20.5, 35.5)]
    assert [(each.window.release, each.window.rows, each.window.others) for each in found] == [
        (2, 600, 0), (2, 220, 0), (3, 300, 60),
    ]  # fmt: skip
    assert any("other releases than 3 have answered 60 instances" in each for each in found[2].notes)


def test_lines_from_the_future_wait_and_are_mentioned(tmp_path, release):
    write_log(tmp_path / "log", [*traffic(pet_model(), 15), *traffic(pet_model(), 3, seed=2, start=HOURS_AGO + 86_400)])
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 20 * MINUTE)).health
    assert health.window.rows == 300
    assert any(each.startswith("60 lines have a time after") for each in health.notes)


def test_however_it_is_called_every_line_is_in_one_window(tmp_path, release):
    """While segments are closed, compacted, and lines of other releases come between."""
    folder = tmp_path / "log"
    minutes = [0, 7, 16, 40, 41, 44, 90]
    ends = [*minutes[1:], 120]
    found, position = [], HOURS_AGO
    for number, (start, end) in enumerate(zip(minutes, ends, strict=True)):
        write_log(
            folder, traffic(pet_model(2 + number % 2), end - start, 7, number + 1, start=HOURS_AGO + start * MINUTE)
        )
        looked = monitor.look(
            job(
                tmp_path,
                [release, monitored(tmp_path, 3, at=HOURS_AGO + 7 * MINUTE)],
                position,
                HOURS_AGO + end * MINUTE,
            )
        )
        found += looked.health
        position = datetime.fromisoformat(found[-1].window.until).timestamp() if found else position
    spans = [span(each) for each in found]
    assert [each[0] for each in spans] == [0, *(each[1] for each in spans[:-1])]
    everything = 7 * 120
    seen = sum(each.window.rows + each.window.others for each in found)
    assert everything - 7 * (120 - spans[-1][1]) == seen
    assert len(read_manifest(folder).parts) >= 2


def test_requests_that_fail_and_answers_that_are_slow_are_found(tmp_path, release):
    slow = [replace_seconds(each, 0.8) for each in traffic(pet_model(), 14, every=0.25)]
    bad = [refused(HOURS_AGO + i) for i in range(5)] + [refused(HOURS_AGO + i, 400) for i in range(3)]
    write_log(tmp_path / "log", [*slow, *bad])
    rules = MonitorRules(max_latency_ms=500, max_error_share=0.01)
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE, rules=rules)).health
    assert health.window.refused == 8
    assert {("service", "error share"), ("service", "latency")} <= set(failed(health))
    assert check(health, "service error share").reason.startswith("5 of 64 requests ended with 5xx")
    assert check(health, "service latency").now == pytest.approx(800)


def replace_seconds(each, seconds):
    return each._replace(seconds=seconds)


def test_lines_that_the_api_lost_are_found(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    losses = Losses(tmp_path / "log", lambda _: None, lambda: HOURS_AGO + 60)
    losses.add(30)
    losses.note(now=True)
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    assert failed(health) == [("service", "dropped lines")]
    assert check(health, "service dropped lines").now == pytest.approx(30 / 330, abs=1e-4)


def test_of_a_large_window_every_few_rows_are_compared(tmp_path, release, monkeypatch):
    monkeypatch.setattr(monitored_log, "MOST_ROWS", 100)
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    rules = MonitorRules(min_rows=50)
    (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE, rules=rules)).health
    assert health.window.rows == 300
    assert check(health, "drift inputs.age").rows == 100
    assert "of 300 rows, 100 were compared, evenly spread" in health.notes


def test_two_compactions_at_once_do_not_stop_a_look(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    with segments.exclusive(tmp_path / "log"):
        (health,) = monitor.look(job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)).health
    assert health.window.rows == 300
    assert any(each.startswith("the prediction log was not compacted: ") for each in health.notes)


def test_confidence_that_the_log_never_has_is_named(tmp_path):
    """Outputs that are scores, and no probabilities, have none."""
    model = pet_model()
    answers = [each._replace(probabilities=None) for each in traffic(model, 15)]
    write_log(tmp_path / "log", answers)
    known = monitored(tmp_path, reference=GOOD.reference())
    (health,) = monitor.look(job(tmp_path, [known], until=HOURS_AGO + 15 * MINUTE)).health
    assert check(health, f"drift {CONFIDENCE}").what == "missing"
    assert not any(each.what == "estimated accuracy" for each in health.checks)


def test_it_is_a_process_that_speaks_json(tmp_path, release):
    write_log(tmp_path / "log", traffic(pet_model(), 15))
    wanted = job(tmp_path, [release], until=HOURS_AGO + 15 * MINUTE)
    done = call(wanted)
    assert done.returncode == 0, done.stderr
    found = codec.from_json(Looked, done.stdout, "result")
    assert found.health[0].window.rows == 300
    (tmp_path / "log" / "parquet" / "manifest.json").write_text("{")
    broken = call(wanted)
    assert broken.returncode == Corrupt.exit_code
    assert "manifest.json" in json.loads(broken.stdout)["error"]


def call(wanted):
    command = [sys.executable, "-P", "-m", "pipelines.workers.monitor"]
    return subprocess.run(command, input=codec.to_json(wanted), capture_output=True, check=False)


def test_a_long_time_that_nobody_has_looked_at_is_read_in_parts(tmp_path, release, monkeypatch):
    """The windows are the same, and no more at once than a call may have."""
    write_log(tmp_path / "log", [*traffic(pet_model(), 60, 5), *traffic(pet_model(), 50, 5, 2, start=HOURS_AGO + 3900)])
    rules = MonitorRules(longest_hours=0.5, min_rows=100, no_traffic_hours=0.2)
    wanted = job(tmp_path, [release], until=HOURS_AGO + 130 * MINUTE, rules=rules)
    at_once = monitor.look(wanted).health
    assert len(at_once) >= 4
    monkeypatch.setattr(monitor, "DAY", 60_000)
    in_parts = monitor.look(wanted).health
    assert [replace(each, at="") for each in in_parts] == [replace(each, at="") for each in at_once]
    monkeypatch.setattr(monitor, "MOST_WINDOWS", 2)
    some = monitor.look(wanted).health
    assert [each.window for each in some] == [each.window for each in at_once[:2]]
    assert "these are 2 windows; later ones are checked by the next call" in some[-1].notes
