"""The libraries of other tools read what is written for them: opt-in, as they are heavy."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from report_parts import MODEL, Team, accepted, end, evaluation
from versions import candidate

from pipelines.exports import openlineage
from pipelines.mail_facts import collect_facts
from pipelines.report.model_card import card_markdown

PYTHON = os.environ.get("TRAINYARD_TEST_TOOLS", "")
REPOSITORIES = dict.fromkeys(("code", "dataset", "tests"), "https://git.example.org/x.git")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="TRAINYARD_TEST_TOOLS names no Python with openlineage-python and huggingface-hub"
    ),
]
EVENTS = """
import json, sys
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import dataset_version_dataset, error_message_run, source_code_location_job
from openlineage.client.serde import Serde

def bare(values):
    if isinstance(values, dict):
        skip = {"_producer", "_schemaURL", "producer", "schemaURL", "_deleted", "inputFacets", "outputFacets"}
        return {k: bare(v) for k, v in values.items() if k not in skip and v is not None}
    return [bare(each) for each in values] if isinstance(values, list) else values

def dataset(kind, raw):
    version = dataset_version_dataset.DatasetVersionDatasetFacet(**bare(raw["facets"]["version"]))
    return kind(raw["namespace"], raw["name"], facets={"version": version})

for raw in json.load(sys.stdin):
    outcome = raw["run"]["facets"].pop("trainyard_outcome", None)
    facets = {"errorMessage": error_message_run.ErrorMessageRunFacet(**bare(f)) for f in [raw["run"]["facets"].get("errorMessage")] if f}
    code = source_code_location_job.SourceCodeLocationJobFacet(**bare(raw["job"]["facets"]["sourceCodeLocation"]))
    event = RunEvent(
        eventType=RunState[raw["eventType"]], eventTime=raw["eventTime"], producer=raw["producer"],
        run=Run(raw["run"]["runId"], facets=facets),
        job=Job(raw["job"]["namespace"], raw["job"]["name"], facets={"sourceCodeLocation": code}),
        inputs=[dataset(InputDataset, each) for each in raw["inputs"]],
        outputs=[dataset(OutputDataset, each) for each in raw["outputs"]],
    )
    theirs = bare(Serde.to_dict(event))
    assert theirs == bare(raw), (theirs, bare(raw))
    print(raw["eventType"])
"""
CARD = """
import json, sys
from huggingface_hub import ModelCard
data = ModelCard(sys.stdin.read()).data
print(json.dumps([data.model_name, data.tags, [[e.metric_type, e.metric_value, e.task_type, e.dataset_name] for e in data.eval_results]]))
"""


def run(code, text):
    done = subprocess.run([PYTHON, "-W", "ignore", "-c", code], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_of_openlineage_makes_the_same_events(tmp_path):
    (tmp_path / "failed").mkdir()
    team, other = Team(tmp_path), Team(tmp_path / "failed")
    folder, failed = accepted(team), other.run()
    end(failed, "train", "failed", "out of memory")
    events = [openlineage.start_event(folder.run, REPOSITORIES)]
    for context, each, version in ((team.context, folder, 2), (other.context, failed, None)):
        facts = collect_facts(context, each)
        events.append(openlineage.end_event(facts, "2026-11-21T00:50:00Z", REPOSITORIES, "file:///srv/r", version))
    assert run(EVENTS, json.dumps(events)).split() == ["START", "COMPLETE", "FAIL"]


def test_hugging_face_reads_the_model_card():
    text = card_markdown(candidate(MODEL, evaluation=evaluation()), None)
    name, tags, results = json.loads(run(CARD, text))
    assert name == MODEL
    assert "trainyard" in tags
    assert ["accuracy", 0.981, "image-classification"] in [each[:3] for each in results]
