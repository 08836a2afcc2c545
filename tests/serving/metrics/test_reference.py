"""docs/reference/metrics.md and log.md list what there is: no metric, label or field more or less."""

import io
import json
import logging
import os
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from serving.metrics import page as page_module
from serving.metrics.process_facts import cgroup
from serving.server import logs

DOCS = Path(__file__).parents[3] / "docs" / "reference"
BODY = json.dumps({"instances": [[[0] * 8] * 8]})


def rows(name):
    """The cells of every table's row in a page."""
    for line in (DOCS / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def cgroup_folder(tmp_path):
    for name, text in {
        "memory.current": "1000\n",
        "memory.max": "2000\n",
        "cpu.stat": "usage_usec 5000000\nuser_usec 1\nnr_throttled 2\nthrottled_usec 1500000\n",
        "cpu.max": "150000 100000\n",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_metric_is_in_the_reference_with_its_kind_and_labels(clients, cgroup_folder, monkeypatch):
    monkeypatch.setattr(page_module, "cgroup", lambda: cgroup(cgroup_folder))
    api = clients("digits")
    api.post("/predict", data=BODY)
    worker = {"version": 3, "release": 2, "state": "ready", "created": "2026-11-29T10:00:00Z"}
    made = page_module.MetricsPage(
        api.table,
        "m",
        lambda: {"expected": 1, "workers": [worker]},
    )
    found = {}
    for family in parse_text(made.page("")[0].decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
    listed = {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in rows("metrics.md")
        if not name.startswith("`trainyard_monitor_")  # in the text file of the monitor
    }
    assert found == listed


def test_the_control_group_of_a_container_is_shown_and_one_that_says_nothing_is_not(cgroup_folder, tmp_path):
    facts = {each.name: each.value for each in cgroup(cgroup_folder)}
    assert facts == {
        "memory_bytes": 1000,
        "memory_limit_bytes": 2000,
        "cpu_seconds": 5,
        "cpu_throttled_seconds": 1.5,
        "cpu_limit_cores": 1.5,
    }
    (cgroup_folder / "memory.max").write_text("max\n")
    (cgroup_folder / "cpu.max").write_text("max 100000\n")
    assert not {"memory_limit_bytes", "cpu_limit_cores"} & {each.name for each in cgroup(cgroup_folder)}
    assert cgroup(tmp_path / "nothing") == []


def line_of(write):
    read, written = os.pipe()
    kept = os.dup(1)
    os.dup2(written, 1)
    try:
        write()
    finally:
        os.dup2(kept, 1)
        for each in (kept, written):
            os.close(each)
    with os.fdopen(read, "rb") as file:
        return json.loads(file.read())


def test_every_field_of_a_line_is_in_the_reference(clients):
    environ = {}
    api = clients("digits")
    api.post("/predict", data=BODY, environ_overrides={"REMOTE_ADDR": "127.0.0.1"}, headers={"X-Request-Id": "mine"})
    line = line_of(lambda: logs.write_access(environ, 200, 10, 0.001))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    try:
        raise ValueError
    except ValueError:
        handler.emit(
            logging.getLogger("x").makeRecord("x", logging.ERROR, "x", 1, "it failed", (), __import__("sys").exc_info())
        )
    listed = {name for first, *_ in rows("log.md") for name in re.findall(r"`(\w+)`", first)}
    assert listed == set(line) | set(json.loads(stream.getvalue()))


def test_a_line_says_who_asked_how_and_where_the_time_went(clients):
    api = clients("digits")
    seen = {}
    app = api.application
    inner = app.wsgi_app

    def remember(environ, start_response):
        answer = inner(environ, start_response)
        seen["line"] = line_of(lambda: logs.write_access(environ, 200, 10, 0.001))
        return answer

    app.wsgi_app = remember
    try:
        api.post("/predict", data=BODY, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"})
    finally:
        app.wsgi_app = inner
    line = seen["line"]
    assert (line["protocol"], line["rows"], line["trace_id"], line["caller"]) == ("instances", 1, "a" * 32, None)
    assert min(line[f"{phase}_ms"] for phase in ("read", "infer", "write")) > 0
    assert line["queue_ms"] == 0  # there is no server here
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
