"""`trainyard log`: a controller that loads nothing heavy, and a worker that does."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prediction_log_parts import table_answer, table_model

from pipelines.config.load import load_config
from pipelines.deploy.serve_job import serve_job, staging_job
from pipelines.exports.prediction_sink import send
from registry.errors import ConfigError, TryAgain
from serving.prediction_log.key import make_key
from serving.prediction_log.segments import closed
from serving.prediction_log.writer import PredictionLog

CONFIG = """
model = "m"
[repositories]
code = "c"
dataset = "d"
tests = "t"
[prediction_log]
enabled = true
keep_days = 7
columns = { age = "bin", "a b" = "hash" }
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "trainyard.toml").write_text(CONFIG)
    return load_config(tmp_path / "trainyard.toml", {})


@pytest.fixture
def job(config):
    """Of a log with five requests."""
    job = serve_job(config).prediction_log
    make_key(Path(job.key))
    log, model = PredictionLog(job, lambda _: None), table_model()
    log.start()
    for i in range(5):
        log.offer(table_answer(model, f"r-{i}", at=time.time() + i))
    log.close()
    return job


def call(folder, *arguments):
    command = [sys.executable, "-P", "-m", "pipelines", "log", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_api_gets_the_settings_as_values_and_a_candidate_under_test_keeps_nothing(config):
    job = serve_job(config).prediction_log
    assert (job.columns, job.keep_days, job.images) == ({"age": "bin", "a b": "hash"}, 7, "features")
    assert staging_job(config).prediction_log is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('columns = { age = "bim" }', "'age': 'bim' is not one of 'value', 'hash', 'bin', 'no'"),
        ('columns = "age"', "'age' is not a table of names"),
        ("fraction = 1.5", "is not between 0 and 1"),
        ('sink = "http"', "prediction_log.url: missing"),
        ('sink = "http"\nurl = "https://a:b@c"', "holds a user name or a password"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, setting, words):
    file = tmp_path / "trainyard.toml"
    file.write_text(CONFIG.partition("enabled")[0] + setting)
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        load_config(file, {})


def test_lines_are_shown_compacted_exported_and_purged(job, tmp_path):
    shown = call(tmp_path, "show", "--last", "2", "--json")
    assert [each["id"] for each in json.loads(shown.stdout)] == ["r-3", "r-4"], shown.stderr
    assert call(tmp_path, "compact").stdout.startswith("m: 1 segments with 5 lines in 1 Parquet files")
    assert call(tmp_path, "purge", "--request", "r-3", "--by", "eve").stdout.startswith(
        "m: 1 lines and 0 labels of this request"
    )
    exported = call(tmp_path, "export", "--to", "out.jsonl")
    assert exported.returncode == 0, exported.stderr
    found = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == ["r-0", "r-1", "r-2", "r-4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["purge"], "name a request or a caller"),
        (["export", "--to", "x.csv"], ".jsonl, .jsonl.gz or .parquet"),
        (["show", "--since", "soon"], "'soon' is not a time"),
        (["send"], 'sink is "file"'),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_next_action(config, tmp_path, arguments, words):
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


class Receiver:
    """A server that takes CloudEvents, and answers with these statuses in turn, then with 202."""

    def __init__(self, *statuses):
        self.events, self.kinds, statuses = [], set(), list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = statuses.pop(0) if statuses else 202
                if status == 202:
                    receiver.events += body
                    receiver.kinds.add(self.headers["Content-Type"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    made = []

    def make(*statuses):
        made.append(Receiver(*statuses))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_lines_are_sent_as_cloud_events_in_batches_and_removed(job, receiver):
    server, pauses = receiver(503, 429), []
    found = send(Path(job.folder), server.url, "", pauses.append)
    assert (found.lines, found.dropped, pauses) == (5, 0, [1.0, 2.0])
    assert server.kinds == {"application/cloudevents-batch+json"}
    assert [each["id"] for each in server.events] == [f"r-{i}/0" for i in range(5)]
    assert {each["specversion"] for each in server.events} == {"1.0"}
    assert server.events[0]["data"]["class"] == "yes"
    assert closed(Path(job.folder)) == []


def test_tries_are_bounded_and_nothing_is_lost(job, receiver):
    server, pauses = receiver(*[500] * 5), []
    with pytest.raises(TryAgain, match="after 5 tries"):
        send(Path(job.folder), server.url, "", pauses.append)
    assert len(pauses) == 4
    assert send(Path(job.folder), server.url, "").lines == 5


def test_what_a_server_will_never_take_is_dropped_and_counted(job, receiver):
    assert send(Path(job.folder), receiver(422).url, "").dropped == 5


def test_a_wrong_address_loses_nothing(job, receiver):
    with pytest.raises(ConfigError, match="404"):
        send(Path(job.folder), receiver(404).url, "")
    assert len(closed(Path(job.folder))) == 1
