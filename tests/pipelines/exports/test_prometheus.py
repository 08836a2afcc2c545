"""`trainyard export prometheus` and `grafana`: what is written, tried with promtool."""

import argparse
import json
import re
from dataclasses import replace

import pytest
from prometheus_parts import needed, run
from ruamel.yaml import YAML

from pipelines.commands import export as export_command
from pipelines.config.schema import Config, Repositories, Serving
from pipelines.exports import grafana, prometheus
from pipelines.exports.destination import write_folder
from pipelines.monitor import metrics
from registry.errors import ConfigError

SERVING = Serving(admin_port=8501)
REPOSITORIES = Repositories("code", "dataset", "tests")
TRITON = {
    "nv_inference_request_success": 90,
    "nv_inference_request_failure": 10,
    "nv_inference_count": 180,
    "nv_inference_exec_count": 45,
    "nv_inference_queue_duration_us": 2e6,
    "nv_inference_compute_input_duration_us": 1e6,
    "nv_inference_compute_infer_duration_us": 9e6,
    "nv_inference_compute_output_duration_us": 5e5,
    "nv_inference_request_duration_us": 125e5,
    "nv_inference_pending_request_count": 3,
}
SERIES = {
    'trainyard_model_info{job="trainyard", instance="a", model="digits", version="3", release="7"}': "2x90",
    'trainyard_model_info{job="trainyard", instance="a", model="digits", version="2", release="6"}': "_x80 1x10",
    'trainyard_model_created_timestamp_seconds{job="trainyard", instance="a", model="digits", version="3"}': "-7776100x90",
    'trainyard_workers{job="trainyard", instance="a", state="ready"}': "2x40 1x20 0x30",
    'trainyard_workers_expected{job="trainyard", instance="a"}': "2x90",
    'up{job="trainyard", instance="b"}': "1x10 0x80",
    'trainyard_requests_total{job="trainyard", instance="a", code="200", protocol="v2", route="/v2/models/{model}/infer"}': "90+90x90",
    'trainyard_requests_total{job="trainyard", instance="a", code="500", protocol="v2", route="/v2/models/{model}/infer"}': "10+10x90",
    'trainyard_request_seconds_bucket{job="trainyard", instance="a", protocol="v2", le="0.5"}': "0+0x90",
    'trainyard_request_seconds_bucket{job="trainyard", instance="a", protocol="v2", le="1.0"}': "0+60x90",
    'trainyard_request_seconds_bucket{job="trainyard", instance="a", protocol="v2", le="+Inf"}': "0+60x90",
    'trainyard_predict_instances_count{job="trainyard", instance="a"}': "90x90",
    'trainyard_predict_instances_sum{job="trainyard", instance="a"}': "180x90",
    'trainyard_batch_rows_count{job="trainyard", instance="a"}': "45x90",
    'trainyard_phase_seconds_sum{job="trainyard", instance="a", phase="queue", protocol="v2"}': "2x90",
    'trainyard_phase_seconds_sum{job="trainyard", instance="a", phase="read", protocol="v2"}': "1x90",
    'trainyard_phase_seconds_sum{job="trainyard", instance="a", phase="infer", protocol="v2"}': "9x90",
    'trainyard_phase_seconds_sum{job="trainyard", instance="a", phase="write", protocol="v2"}': "0.5x90",
    'trainyard_phase_seconds_count{job="trainyard", instance="a", phase="infer", protocol="v2"}': "90x90",
    'trainyard_queue_depth{job="trainyard", instance="a", queue="thread"}': "3x45 50x45",
    'trainyard_queue_depth{job="trainyard", instance="a", queue="engine"}': "0x90",
    'trainyard_requests_refused_total{job="trainyard", instance="a", code="503", reason="memory"}': "0x40 0+1x50",
    'trainyard_log_lines_dropped_total{job="trainyard", instance="a"}': "0x40 0+5x50",
    'trainyard_prediction_log_dropped_total{job="trainyard", instance="a"}': "0x40 0+5x50",
    'trainyard_feedback_total{job="trainyard", instance="a", outcome="failed"}': "0x40 0+5x50",
    'trainyard_feedback_total{job="trainyard", instance="a", outcome="added"}': "0+5x90",
    'trainyard_cgroup_memory_bytes{job="trainyard", instance="a"}': "95x90",
    'trainyard_cgroup_memory_limit_bytes{job="trainyard", instance="a"}': "100x90",
    'trainyard_process_open_files{job="trainyard", instance="a"}': "9x90",
    'trainyard_process_open_files_limit{job="trainyard", instance="a"}': "10x90",
    'trainyard_monitor_alarms_open{job="node", instance="a", model="digits", kind="drift"}': "0x40 1x50",
    'trainyard_monitor_last_check_timestamp_seconds{job="node", instance="a", model="digits"}': "-7000x90",
}
FIRES = {
    "TrainyardDown": ("5m", "20m"),
    "TrainyardNotReady": ("30m", "65m"),
    "TrainyardProcessesMissing": ("30m", "55m"),
    "TrainyardErrors": (None, "10m"),
    "TrainyardSlow": ("5m", "30m"),
    "TrainyardQueue": ("40m", "70m"),
    "TrainyardRefuses": ("40m", "60m"),
    "TrainyardNoPredictions": ("20m", "89m"),
    "TrainyardModelOld": ("30m", "80m"),
    "TrainyardReleasesDiffer": ("80m", None),
    "TrainyardLogDropped": ("40m", "50m"),
    "TrainyardPredictionLogDropped": ("40m", "50m"),
    "TrainyardLabelsNotKept": ("40m", "50m"),
    "TrainyardMemory": ("5m", "20m"),
    "TrainyardOpenFiles": ("2m", "20m"),
    "TrainyardMonitorAlarm": ("40m", "50m"),
    "TrainyardMonitorStopped": ("2m", "20m"),
}
"""Per alert, a time at which it is quiet, and one at which it fires."""


@pytest.fixture
def folder(tmp_path):
    needed()
    write_folder(tmp_path / "prometheus", prometheus.files(SERVING, "digits"), {})
    return tmp_path / "prometheus"


def alerts(folder):
    found = YAML(typ="safe").load((folder / prometheus.ALERTS).read_text())
    return {each["alert"]: each for group in found["groups"] for each in group["rules"]}


def groups(folder):
    """Their names, in the order of the files."""
    files = [YAML(typ="safe").load((folder / name).read_text()) for name in (prometheus.RULES, prometheus.ALERTS)]
    return [group["name"] for each in files for group in each["groups"]]


def test_promtool_takes_what_is_written(folder):
    run("promtool", "check", "config", str(folder / "prometheus.yml"))
    for name in (prometheus.RULES, prometheus.ALERTS):
        run("promtool", "check", "rules", str(folder / name))


def test_every_alert_fires_when_it_should_and_not_before_and_the_other_servers_names_are_recorded(folder):
    known = alerts(folder)
    assert set(FIRES) == set(known)
    when = []
    for name, (quiet, fires) in FIRES.items():
        for time, expected in ((quiet, []), (fires, [{"exp_labels": {}}])):
            if time:
                when.append((name, time, expected))
    samples = [
        {"expr": name, "eval_time": "0m", "exp_samples": [{"labels": f'{name}{{instance="a", job="trainyard", model="digits", version="3"}}', "value": value}]}
        for name, value in TRITON.items()
    ]  # fmt: skip
    samples.append(
        {
            "expr": "request_predict_seconds_sum",
            "eval_time": "0m",
            "exp_samples": [
                {"labels": 'request_predict_seconds_sum{instance="a", job="trainyard", model="digits", model_name="digits"}', "value": 9}
            ],
        }
    )  # fmt: skip
    quiet_or_not = [
        {"expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)', "eval_time": time,
         "exp_samples": [{"labels": "{}", "value": len(expected)}]}
        for name, time, expected in when
    ]  # fmt: skip
    tests = {
        "rule_files": [prometheus.RULES, prometheus.ALERTS],
        "evaluation_interval": "1m",
        "group_eval_order": groups(folder),  # the later ones read what the first records; else promtool takes any order
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in SERIES.items()],
                "promql_expr_test": samples + quiet_or_not,
            }
        ],
    }
    (folder / "tests.yml").write_text(json.dumps(tests))
    run("promtool", "test", "rules", str(folder / "tests.yml"))


def test_an_alert_says_what_to_do(folder):
    for name, each in alerts(folder).items():
        assert each["labels"]["severity"] in {"page", "ticket"}, name
        assert {"summary", "description"} == set(each["annotations"]), name


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"admin_host": "0.0.0.0"}, ['targets: ["127.0.0.1:8501"]']),
        ({"admin_host": "::1"}, ['targets: ["[::1]:8501"]']),
        (
            {"admin_host": "10.0.0.7", "auth": "tokens", "certfile": "a", "keyfile": "b"},
            ['targets: ["10.0.0.7:8501"]', "scheme: https", "credentials_file: trainyard.token"],
        ),
    ],
)
def test_it_asks_where_the_operators_port_is_and_as_it_wants_to_be_asked(settings, lines):
    text = prometheus.files(replace(SERVING, **settings), "digits")["prometheus.yml"].decode()
    assert [each for each in lines if each not in text] == []
    YAML(typ="safe").load(text)


def export(tmp_path, what, **settings):
    args = argparse.Namespace(what=what, model=None, version=None, to=str(tmp_path / "made"), json=False)
    return export_command.main(args, Config("digits", REPOSITORIES, serving=Serving(**settings)))


def test_a_port_that_changes_at_each_start_cannot_be_watched(tmp_path):
    with pytest.raises(ConfigError, match="admin_port is 0"):
        export(tmp_path, "prometheus")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("what", ["prometheus", "grafana"])
def test_the_command_writes_a_folder_and_touches_none_that_is_there(tmp_path, capsys, what):
    assert export(tmp_path, what, admin_port=8501) == 0
    names = {
        "prometheus": {"prometheus.yml", "trainyard.rules.yml", "trainyard.alerts.yml"},
        "grafana": {"trainyard.json"},
    }
    assert {each.name for each in (tmp_path / "made").iterdir()} == names[what]
    assert str(tmp_path / "made") in capsys.readouterr().out
    with pytest.raises(ConfigError, match="there is something already"):
        export(tmp_path, what, admin_port=8501)


def test_version_and_what_needs_none_are_distinguished(tmp_path):
    args = argparse.Namespace(what="version", model="digits", version=None, to=str(tmp_path / "made"), json=False)
    with pytest.raises(ConfigError, match="MODEL and N are missing"):
        export_command.main(args, Config("digits", REPOSITORIES))
    args = argparse.Namespace(what="grafana", model="digits", version=3, to=str(tmp_path / "made"), json=False)
    with pytest.raises(ConfigError, match="one argument too many"):
        export_command.main(args, Config("digits", REPOSITORIES))


class TestDashboard:
    made = grafana.dashboard()

    def test_it_has_what_grafana_needs_and_nothing_of_one_installation(self):
        assert {"uid", "title", "schemaVersion", "panels", "templating"} <= set(self.made)
        assert "id" not in self.made
        for panel in self.made["panels"]:
            assert panel["targets"]
            assert all(each["datasource"]["uid"] == "${datasource}" for each in (panel, *panel["targets"]))

    def test_panels_do_not_overlap_and_have_names_of_their_own(self):
        panels = self.made["panels"]
        places = {(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels}
        assert (
            len(places)
            == len({each["id"] for each in panels})
            == len({each["title"] for each in panels})
            == len(panels)
        )

    def test_every_expression_can_be_narrowed_to_one_api(self):
        for panel in self.made["panels"]:
            for target in panel["targets"]:
                of_monitor = len(re.findall(r"trainyard_monitor_\w+", target["expr"]))
                of_apis = len(re.findall(r"trainyard_\w+", target["expr"])) - of_monitor
                assert of_apis == target["expr"].count('instance=~"$instance"'), target["expr"]
                assert of_monitor == target["expr"].count('model=~"$model"'), target["expr"]
                assert of_apis + of_monitor

    def test_it_shows_all_that_the_monitor_writes_of_a_window(self):
        shown = {
            name
            for panel in self.made["panels"]
            for each in panel["targets"]
            for name in re.findall(r"trainyard_monitor_(\w+)", each["expr"])
        }
        assert metrics.ABOUT.keys() - shown == {"window_end_timestamp_seconds", "checks"}
