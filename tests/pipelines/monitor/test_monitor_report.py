"""The report of a window: columns then and now, quality over time, and the same numbers for Prometheus."""

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_parts import at, columns, config, decay, drift, failing, health, looking, passing
from prometheus_parts import needed
from prometheus_parts import run as promtool

from pipelines.monitor import metrics
from pipelines.monitor.charts import draw_column, file_name
from pipelines.monitor.report import MOST_CHARTS
from pipelines.monitor.service import monitor_once
from pipelines.monitor.state import MonitorState
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.timeline import TIMES, draw_timeline
from pipelines.monitor.trend import MOST_POINTS, Point, extended, point
from pipelines.report.files import MAX_ALL
from registry.records.monitoring import Histogram
from retraining.monitoring.histograms import histogram
from retraining.monitoring.sketches import numbers

ROOT = Path(__file__).parents[3]
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def page(settings):
    return (MonitorStore(settings).folder / "report" / "index.html").read_text()


def texts(drawing):
    """The words in an SVG file."""
    return [each.text for each in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]


def test_the_columns_that_failed_come_first(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1, "confidence"), failing(2, "confidence"), histograms=columns()))
    shown = re.findall(r'<img src="(columns/\w+\.svg)"', page(settings))
    assert shown[0] == file_name("confidence")
    assert set(shown) == {file_name(each.column) for each in columns()}
    drawing = (MonitorStore(settings).folder / "report" / shown[0]).read_bytes()
    assert "distribution" in texts(drawing)
    assert "inputs.mass" not in texts(drawing)


def test_of_very_many_columns_a_bounded_number_has_a_chart(tmp_path):
    settings, sample = config(tmp_path), np.arange(100.0)
    many = [histogram(f"inputs.{n}", numbers(sample), sample) for n in range(MOST_CHARTS + 20)]
    checks = [drift(f"inputs.{n}", "failed" if n == 55 else "passed") for n in range(MOST_CHARTS + 20)]
    monitor_once(settings, looking(health(1, *checks), histograms=many))
    shown = re.findall(r'<img src="(columns/\w+\.svg)"', page(settings))
    assert len(shown) == MOST_CHARTS
    assert shown[0] == file_name("inputs.55")
    assert "20 more columns have no chart" in page(settings)
    folder = MonitorStore(settings).folder / "report"
    assert sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) < MAX_ALL / 8


def test_the_page_says_what_to_do_only_while_an_alarm_is_open(tmp_path):
    settings = config(tmp_path)
    monitor_once(settings, looking(failing(1)))
    assert "not often enough in a row for an alarm" in page(settings)
    assert "What to do now" not in page(settings)
    monitor_once(settings, looking(failing(2)))
    assert "What to do now" in page(settings)
    monitor_once(settings, looking(passing(3)))
    assert "All checks passed" in page(settings)
    assert "over at" in page(settings)


def test_quality_is_drawn_from_window_to_window(tmp_path):
    settings = config(tmp_path)
    for number in range(1, 5):
        monitor_once(
            settings, looking(health(number, decay(), decay(what="estimated accuracy", now=0.9 + number / 100)))
        )
    points = MonitorStore(settings).charts().points
    assert [(each.until, each.now, each.estimated) for each in points] == [
        (at(n), 0.93, 0.9 + n / 100) for n in range(1, 5)
    ]
    words = texts((MonitorStore(settings).folder / "report" / "timeline.svg").read_bytes())
    assert {"accuracy, with labels", "estimated accuracy, without labels", "on the holdout", "limit"} <= set(words)


def test_a_window_that_is_found_again_has_one_point_and_points_are_bounded():
    first = extended((), [health(1, decay()), health(2, decay())])
    again = extended(first, [health(2, decay(now=0.5))])
    assert [each.now for each in again] == [0.93, 0.5]
    assert len(extended((), [health(n, decay()) for n in range(MOST_POINTS + 5)])) == MOST_POINTS


def test_what_is_not_known_is_not_drawn():
    unknown = point(health(1, decay("unknown"), decay("unknown", what="estimated accuracy")))
    assert math.isnan(unknown.now)
    assert math.isnan(unknown.estimated)
    assert not {"limit", "on the holdout"} & set(texts(draw_timeline([unknown])))
    assert draw_timeline([]) == b""


@pytest.mark.parametrize("minutes", [0, 15, 60, 60 * 24, 60 * 24 * 7, 60 * 24 * 400])
def test_the_axis_of_time_has_a_few_round_marks(minutes):
    first = point(health(1, decay()))
    last = (
        replace(first, until="2028-03-01T00:00:00Z")
        if minutes > 60 * 24 * 300
        else point(health(1 + minutes // 15, decay()))
    )
    marks = [each for each in texts(draw_timeline([first, last])) if re.fullmatch(r"\d+ \w{3} \d\d:\d\d", each)]
    assert 1 <= len(marks) <= TIMES


@given(
    st.lists(
        st.tuples(FINITE, st.integers(0, 10**9), FINITE | st.just(math.nan), st.integers(1, 3)), min_size=1, max_size=20
    ),
    FINITE | st.just(math.nan),
)
def test_any_numbers_make_a_timeline(values, limit):
    points = [
        Point(at(n), release, rows, 0, 0, "mae", now=now, low=now, high=high, estimated=high)
        for n, (now, rows, high, release) in enumerate(values, 1)
    ]
    ET.fromstring(draw_timeline(points, limit))


@given(st.lists(st.floats(), max_size=30), st.lists(st.floats(), max_size=30), st.text(max_size=20))
def test_any_column_makes_a_chart(old, new, name):
    drawing = draw_column(histogram(name, numbers(old), np.array(new, dtype=float)), [drift(name)])
    assert b"nan" not in re.sub(rb"<t\w+[^>]*>.*?</t\w+>", b"", drawing)
    ET.fromstring(drawing)


def test_a_column_without_a_value_has_a_chart_that_says_so():
    empty = Histogram("x", (), (), (), (), 1.0, 1.0, 40)
    assert "no value at all, then and now" in texts(draw_column(empty))
    assert "missing: 100.0% then, 100.0% now; 40 rows" in texts(draw_column(empty))


def test_metrics_have_each_name_once_and_escape_what_is_foreign():
    found = health(1, drift('a"b\\c\nd'), decay(), decay(what="estimated accuracy"))
    text = metrics.text("digits", MonitorState(looked=at(1)), found)
    helps = re.findall(r"^# HELP (\w+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps))
    assert r'column="a\"b\\c\nd"} 0.31' in text
    labels = '{model="digits",version="7",release="4"'
    assert f'trainyard_monitor_measured{labels},metric="accuracy"}} 0.93' in text
    assert f"trainyard_monitor_estimated_accuracy{labels}}} 0.93" in text
    assert f'trainyard_monitor_checks_failed{labels},kind="drift"}} 1' in text


def test_metrics_before_the_first_window_are_those_of_the_monitor_alone():
    text = metrics.text("digits", MonitorState(), None)
    assert {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")} == {
        "trainyard_monitor_alarms_open"
    }


def test_the_series_of_columns_are_bounded_to_those_that_changed_most():
    many = [replace(drift(f"inputs.{n}"), effect=n / 1000) for n in range(300)]
    text = metrics.text("digits", MonitorState(), health(1, *many))
    assert text.count("trainyard_monitor_drift_effect{") == metrics.MOST_COLUMNS
    assert 'column="inputs.299"' in text
    assert 'column="inputs.0"' not in text


def every_sample():
    """Of a window that has all there is."""
    found = health(1, drift(), decay(), decay(what="estimated accuracy"))
    return metrics.text("digits", MonitorState(looked=at(1)), found)


def test_promtool_takes_the_metrics():
    needed()
    promtool("promtool", "check", "metrics", stdin=every_sample().encode())


def test_every_metric_is_in_the_reference_with_its_labels():
    found = {}
    for name, labels in re.findall(r"^(trainyard_monitor_\w+){(.*)}", every_sample(), re.MULTILINE):
        found[name] = set(re.findall(r'(\w+)="', labels))
    lines = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| `trainyard_monitor_")]
    assert {name.strip(" `"): set(re.findall(r"`(\w+)`", labels)) for name, _, labels, _ in rows} == found
