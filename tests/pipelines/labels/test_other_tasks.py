"""What cannot be labelled by one class or number: the review queue, commits to the dataset, and the gate's recent predictions say so."""

from dataclasses import replace

import numpy as np
import pytest
from promotion_parts import NO_MODEL, Project
from versions import candidate, digests

from pipelines.labels.review import fill
from pipelines.steps.validate import _unmarked, _unsuitable
from pipelines.workers.label_files.__main__ import _parts
from registry import candidates
from registry.errors import ConfigError
from registry.records import Policy, Rule, Served, Signature, TensorSpec
from training.data.dataset_toml import load_dataset_file
from training.data.spec import DataSpec

X = TensorSpec("x", (None, 4), "float32")
LABELS = ("rain", "wind", "fog")
SIGNATURES = {
    "multi-label": Signature(
        "multi-label", "array", (X,), (TensorSpec("probabilities", (None, 3), "float32"),), LABELS
    ),
    "anomaly": Signature("anomaly", "array", (X,), (TensorSpec("score", (None, 1), "float32"),), threshold=2.0),
}
GIVES = {"multi-label": "any number of labels at once", "anomaly": "a score"}
DATASETS = {
    "multi-label": 'format = "npz"\nclasses = ["rain", "wind", "fog"]\n[npz]\ntask = "multi-label"\n',
    "anomaly": 'format = "npz"\n[npz]\ntask = "anomaly"\n',
}
tasks = pytest.mark.parametrize("task", SIGNATURES)


def release(project, signature):
    """A version with this signature, live."""
    source = project.folder / "made" / "1"
    source.mkdir(parents=True)
    (source / "model.tflite").write_bytes(NO_MODEL)
    version = candidates.claim(project.store, project.model, "run1")
    served = Served("litert", "model.tflite", "a test")
    made = candidate(project.model, version, "run1", digests(source), signature=signature, parent=None, served=served)
    candidates.publish(project.store, made, source)
    project.test_again(version)
    project.release_by_hand(version)


@tasks
def test_the_review_queue_is_refused_while_such_a_version_is_live(tmp_path, task):
    project = Project(tmp_path)
    release(project, SIGNATURES[task])
    with pytest.raises(
        ConfigError, match=f"gives {GIVES[task]}; the review queue asks for one class or number"
    ) as caught:
        fill(project.config)
    assert "label such samples in the dataset repository" in caught.value.hint


@tasks
def test_no_answer_becomes_a_sample_of_such_a_dataset(tmp_path, task):
    (tmp_path / "dataset.toml").write_text(DATASETS[task])
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4)))
    with pytest.raises(ConfigError, match=f'task = "{task}": a label of an answer says one class or a number'):
        _parts(tmp_path, load_dataset_file(tmp_path), [], "2026-11-30")


@tasks
def test_recent_predictions_are_not_compared_before_anything_is_trained(task):
    spec = DataSpec("npz", task, (X,), SIGNATURES[task].classes)
    metric = {"multi-label": "micro_f1", "anomaly": "roc_auc"}[task]
    asked = Policy(metric=metric, recent=True)
    (said,) = _unsuitable(asked, spec, spec.classes)
    assert said.startswith("[gate] recent: a label is one class")
    assert said.endswith("set it to false")
    assert _unsuitable(replace(asked, recent=False), spec, spec.classes) == []


@pytest.mark.parametrize(
    ("marks", "metric", "rules", "said"),
    [
        ({"anomalous": 3, "not anomalous": 9}, "roc_auc", ["recall"], []),
        ({"anomalous": 0, "not anomalous": 9}, "roc_auc", ["recall"], ["roc_auc", "recall"]),
        ({"anomalous": 3, "not anomalous": 0}, "mean_score", ["average_precision"], ["average_precision"]),
        ({"not marked": 9}, "false_alarms", ["mean_score"], []),
        ({}, "accuracy", [], []),
    ],
)
def test_a_gate_that_needs_marks_is_refused_without_them(marks, metric, rules, said):
    policy = Policy(metric=metric, rule=tuple(Rule(each) for each in rules))
    found = list(_unmarked(policy, marks))
    assert [each.split()[1] for each in found] == said
    assert all("some samples are marked as anomalous, and some as not anomalous" in each for each in found)
