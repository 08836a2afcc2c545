"""A real API under load, scraped by a real Prometheus with our rules, whose alerts a real Alertmanager sends."""

import json
import re
import threading
from urllib.parse import urlsplit

import pytest
from monitor_parts import at, decay, drift, health
from prometheus_parts import alertmanager, needed, prometheus, run, textfile, webhook
from serving_parts import Client, ask

from pipelines.config.schema import Serving
from pipelines.exports import grafana
from pipelines.exports import prometheus as exported
from pipelines.monitor import metrics
from pipelines.monitor.state import MonitorState
from serving.access import tokens
from serving.server import control

BODY = json.dumps({"instances": [[[0] * 8] * 8] * 3})
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
ONLY_WITH_A_LIMIT = "trainyard_cgroup_"
"""What the control group of this machine may not say."""


@pytest.fixture
def watched(registry, start, tmp_path):
    """A real API with tokens, and the folder of a Prometheus that watches it, in seconds instead of minutes."""
    needed()
    token = tokens.make(tmp_path / "tokens.json", "shop", ["predict"])
    registry.release(registry.put("digits"))
    url, api = start(registry, workers=2, auth="tokens", tokens=str(tmp_path / "tokens.json"))
    control.await_release(api, 1, 20)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    for name, data in exported.files(Serving(admin_port=urlsplit(control.admin(api)).port), "m").items():
        text = (
            data.decode()
            .replace("_interval: 15s", "_interval: 500ms")
            .replace("scrape_timeout: 5s", "scrape_timeout: 400ms")
        )
        (folder / name).write_text(re.sub(r"for: \d+[mh]", "for: 1s", text))
    return url, api, folder, {"Authorization": f"Bearer {token}"} | HEADERS


class Load:
    """Clients that ask until the end, some of them badly."""

    def __init__(self, url, headers):
        self._url, self._headers, self._ends = url, headers, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(6)]

    def __enter__(self):
        for each in self._threads:
            each.start()

    def __exit__(self, *_):
        self._ends.set()
        for each in self._threads:
            each.join()

    def _ask(self):
        with Client(self._url) as client:
            while not self._ends.wait(0.01):
                client.ask("POST", "/predict", BODY, self._headers)
                client.ask("POST", "/predict", "{", self._headers)
                client.ask("POST", "/predict", BODY, {})
                client.ask("GET", "/version", None, self._headers)


def expressions(page):
    """Of the dashboard, by title; without those whose metric this machine does not have."""
    for panel in grafana.dashboard()["panels"]:
        for target in panel["targets"]:
            expr = target["expr"]
            name = re.search(r"trainyard_\w+", expr)[0]
            if name in page or not name.startswith(ONLY_WITH_A_LIMIT):
                filled = expr.replace("$__rate_interval", "5s")
                for chosen in ("$job", "$instance", "$model"):
                    filled = filled.replace(chosen, ".*")
                yield f"{panel['title']}: {target['legendFormat']}", filled


def is_there(asked, expr):
    """Whether the answer has samples that are numbers."""
    found = asked.query(expr)
    return bool(found) and all(each["value"][1] != "NaN" for each in found)


@pytest.mark.slow
def test_everything_is_there_under_load_and_an_alert_reaches_the_webhook(watched, until):
    url, api, folder, headers = watched
    checks = (drift(), decay(), decay(what="estimated accuracy"))
    written = metrics.text("m", MonitorState(looked=at(1)), health(1, *checks))
    with webhook() as hook, alertmanager(folder, hook.url) as manager, textfile(written) as node:
        config = (folder / "prometheus.yml").read_text()
        config += f'  - {{job_name: node, static_configs: [{{targets: ["{node}"]}}]}}\n'
        target = f'alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{manager}"]}}]}}]}}'
        (folder / "prometheus.yml").write_text(re.sub(r"# alerting:\n(#.*\n)+", f"{target}\n", config))
        with prometheus(folder) as asked:
            with Load(url, headers):
                page = ask(control.admin(api), "GET", "/metrics")[2]
                run("promtool", "check", "metrics", stdin=page)
                wanted = dict(expressions(page.decode()))
                assert len(wanted) > 30
                until(lambda: all(is_there(asked, expr) for expr in wanted.values()), 20)
                assert asked.query(
                    'trainyard_requests_total{caller="shop", code="200", protocol="instances", status="200"}'
                )
                until(lambda: asked.query('nv_inference_count{model="m", version="1"} > 0'))
                until(lambda: asked.query('request_predict_seconds_bucket{model_name="m", le="+Inf"} > 0'))
                until(lambda: asked.get("query_exemplars", query="trainyard_request_seconds_bucket", start=0, end=2e9))
            found = asked.get("query_exemplars", query="trainyard_request_seconds_bucket", start=0, end=2e9)
            assert {each["labels"]["trace_id"] for series in found for each in series["exemplars"]} == {TRACE}
            rules = [each for group in asked.get("rules")["groups"] for each in group["rules"]]
            assert len(rules) > 40
            assert {each["name"]: each["lastError"] for each in rules if each["health"] != "ok"} == {}
            firing = {
                each["labels"]["alertname"] for each in asked.get("alerts")["alerts"] if each["state"] == "firing"
            }
            busy = {"TrainyardSlow", "TrainyardProcessesMissing", "TrainyardNoPredictions"}  # as a machine may be
            assert firing <= busy | {"TrainyardMonitorStopped"}, "it looked once, some minutes ago on such a machine"
            control.stop(api, 5.0)
            until(lambda: any(each["labels"]["alertname"] == "TrainyardDown" for each in hook.alerts))
    (down,) = [each for each in hook.alerts if each["labels"]["alertname"] == "TrainyardDown"][:1]
    assert (down["status"], down["labels"]["severity"]) == ("firing", "page")
    assert down["annotations"]["summary"].endswith("does not answer")
