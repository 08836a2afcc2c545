"""A dashboard for Grafana: what the API answers, how fast, with what, what it uses, and what the monitor has found.

It asks a Prometheus that scrapes the operators' port, and node_exporter for the monitor's file; data source, APIs and models are
chosen on the page. A test runs every
expression against a real one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

UID, FILE = "trainyard-api", "trainyard.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'job=~"$job", instance=~"$instance"'
MONITORED = 'model=~"$model"'
"""Of what the monitor writes, which another job scrapes than that of the APIs: node_exporter's."""
HALF, ROW_HEIGHT = 12, 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: `lines` are (expression, legend); `unit` is one of Grafana's. `number`: only the last value is shown."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    text: str
    number: bool = False
    from_zero: bool = True
    """Nothing here is less."""


def _rate(name: str, labels: str = "") -> str:
    return f"rate({name}{{{CHOSEN}{', ' if labels else ''}{labels}}}[$__rate_interval])"


def _quantiles(name: str, labels: str = "") -> tuple[tuple[str, str], ...]:
    of = _rate(f"{name}_bucket", labels)
    return tuple(
        (f"histogram_quantile({share}, sum by (le) ({of}))", f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)
    )


def _newest(name: str, by: str = "") -> str:
    """The value that the monitor has written last, of each model; an earlier version's file is replaced by the newer one's."""
    return f"max by (model{', ' if by else ''}{by}) (trainyard_monitor_{name}{{{MONITORED}}})"


MONITOR = (
    Panel("Open alarms of the monitor", "short", ((_newest("alarms_open", "kind"), "{{model}}: {{kind}}"),), "`trainyard monitor show` says what to do.", number=True),
    Panel("Since the monitor was last done", "s", ((f"time() - {_newest('last_check_timestamp_seconds')}", "{{model}}"),), "It is a service, or a Jenkins job.", number=True),
    Panel("Accuracy without labels", "percentunit",
          tuple((_newest(f"estimated_accuracy{end}"), f"{{{{model}}}}{said}") for end, said in (("", ""), ("_low", ", at least"), ("_high", ", at most"))),
          "As the model's calibrated confidence suggests, of the newest window. It knows nothing of what is right having changed."),
    Panel("Quality by labels", "short",
          tuple((_newest(f"measured{end}", "metric"), f"{{{{model}}}}: {{{{metric}}}}{said}")
                for end, said in (("", ""), ("_low", ", at least"), ("_high", ", at most"), ("_holdout", " on the holdout"))),
          "The gate's metrics, of the newest window's answers with a label, and on the holdout when the version was accepted.", from_zero=False),
    Panel("Columns that changed most", "percentunit", ((f"topk(10, {_newest('drift_effect', 'column')})", "{{model}}: {{column}}"),),
          "How much a distribution differs from what the version saw on its holdout, 0 to 1."),
    Panel("Checks that failed", "short", ((_newest("checks_failed", "kind"), "{{model}}: {{kind}}"), (_newest("lines_left_out"), "{{model}}: lines that cannot be read")),
          "Of the newest window. An alarm needs several windows in a row."),
    Panel("Predictions in the window", "short",
          ((_newest("rows"), "{{model}}"), (_newest("labelled_rows"), "{{model}}: labelled"), (_newest("requests_failed"), "{{model}}: requests that failed")),
          "With few, drift is not looked for."),
)  # fmt: skip
PANELS = (
    Panel("Version", "short", ((f"sum by (model, version, release) (trainyard_model_info{{{CHOSEN}}})", "{{model}} {{version}}, release {{release}}"),),
          "Server processes per version; two while a release is taken over.", number=True),
    Panel("Ready", "short", ((f'sum(trainyard_workers{{{CHOSEN}, state="ready"}})', "ready"), (f"sum(trainyard_workers_expected{{{CHOSEN}}})", "expected")),
          "Server processes that have a model, and how many there shall be.", number=True),
    Panel("Predictions", "reqps", ((f"sum({_rate('trainyard_predict_instances_sum')})", "samples"), (f"sum({_rate('trainyard_predict_instances_count')})", "requests")),
          "Per second, answered."),
    Panel("Requests by status", "reqps", ((f"sum by (code) ({_rate('trainyard_requests_total')})", "{{code}}"),), "Per second; 503 is retried, 500 is a bug."),
    Panel("Requests by protocol", "reqps", ((f"sum by (protocol) ({_rate('trainyard_requests_total')})", "{{protocol}}"),), "Per second; none: pages."),
    Panel("Requests by caller", "reqps", ((f"sum by (caller) ({_rate('trainyard_requests_total')})", "{{caller}}"),),
          "Per second, by the names of tokens; the first twenty, then other."),
    Panel("Share that failed", "percentunit",
          ((f"""(sum({_rate('trainyard_requests_total', 'code=~"5.."')}) or vector(0)) / sum({_rate('trainyard_requests_total')})""", "5xx"),), "Through us."),
    Panel("Latency", "s", _quantiles("trainyard_request_seconds", 'protocol!="none"'), "Inside a server process, from the head to the answer."),
    Panel("Where the time goes", "s",
          ((f"sum by (phase) ({_rate('trainyard_phase_seconds_sum')}) / sum by (phase) ({_rate('trainyard_phase_seconds_count')})", "{{phase}}"),),
          "Mean per prediction: waiting, reading, the model, writing the answer."),
    Panel("Waiting", "short", ((f"sum by (queue) (trainyard_queue_depth{{{CHOSEN}}})", "{{queue}}"), (f"sum(trainyard_requests_in_flight{{{CHOSEN}}})", "being answered")),
          "Whole requests that wait for a thread, and threads that wait for the engine."),
    Panel("Rows per call of the engine", "short",
          ((f"sum({_rate('trainyard_batch_rows_sum')}) / sum({_rate('trainyard_batch_rows_count')})", "mean"), *_quantiles("trainyard_batch_rows")[1:2]), "Larger ones are faster per row."),
    Panel("Size of bodies", "bytes", _quantiles("trainyard_predict_body_bytes"), "Of answered requests."),
    Panel("Confidence", "percentunit",
          ((f"sum({_rate('trainyard_confidence_sum')}) / sum({_rate('trainyard_confidence_count')})", "mean"),
           (f"""sum({_rate('trainyard_confidence_bucket', 'le="0.6"')}) / sum({_rate('trainyard_confidence_count')})""", "share at most 0.6")),
          "Of the class that was answered. It falls while the version stays: the data has changed."),
    Panel("Refused before they were read", "reqps", ((f"sum by (reason) ({_rate('trainyard_requests_refused_total')})", "{{reason}}"),),
          "Somebody is slow, broken or hostile."),
    Panel("Connections closed", "cps", ((f"sum by (reason) ({_rate('trainyard_connections_closed_total')})", "{{reason}}"),), "Without an answer."),
    Panel("Processor", "short",
          ((f"sum({_rate('trainyard_process_cpu_seconds_total')})", "server processes"), (f"sum({_rate('trainyard_cgroup_cpu_seconds_total')})", "control group")), "Cores in use."),
    Panel("Memory", "bytes",
          ((f"sum(trainyard_process_memory_bytes{{{CHOSEN}}})", "server processes"), (f"sum(trainyard_cgroup_memory_bytes{{{CHOSEN}}})", "control group"),
           (f"sum(trainyard_cgroup_memory_limit_bytes{{{CHOSEN}}})", "its limit")), "What processes share counts for each of them."),
    Panel("Open files", "short",
          ((f"sum(trainyard_process_open_files{{{CHOSEN}}})", "open"), (f"sum(trainyard_process_open_files_limit{{{CHOSEN}}})", "limit")), "Connections are among them."),
    Panel("Lines of logs lost", "cps",
          ((f"sum({_rate('trainyard_log_lines_dropped_total')})", "log"), (f"sum({_rate('trainyard_prediction_log_dropped_total')})", "prediction log")),
          "Mostly the disk is full."),
    Panel("Age of the version", "s", ((f"time() - max by (model, version) (trainyard_model_created_timestamp_seconds{{{CHOSEN}}})", "{{model}} {{version}}"),),
          "Since it was registered.", number=True),
    Panel("Labels reported", "cps", ((f"sum by (outcome) ({_rate('trainyard_feedback_total')})", "{{outcome}}"),), "Per second, of answers; failed: they could not be kept."),
    *MONITOR,
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "uid": UID,
        "title": "Trainyard: prediction API",
        "tags": ["trainyard"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": [_panel(i, each) for i, each in enumerate(PANELS)],
    }


def files() -> dict[str, bytes]:
    """Name → bytes."""
    return {FILE: json.dumps(dashboard(), indent=2).encode() + b"\n"}


def _variables() -> list[dict[str, Any]]:
    def asked(name: str, query: str) -> dict[str, Any]:
        return {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "current": {}},
        asked("job", "label_values(trainyard_workers_expected, job)"),
        asked("instance", 'label_values(trainyard_workers_expected{job=~"$job"}, instance)'),
        asked("model", "label_values(trainyard_monitor_alarms_open, model)"),
    ]


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend, "exemplar": panel.title == "Latency"}
        for i, (expr, legend) in enumerate(panel.lines)
    ]  # fmt: skip
    return {
        "id": index + 1,
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"h": ROW_HEIGHT, "w": HALF, "x": index % 2 * HALF, "y": index // 2 * ROW_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit} | ({"min": 0} if panel.from_zero else {}), "overrides": []},
        "options": {},
        "targets": targets,
    }
